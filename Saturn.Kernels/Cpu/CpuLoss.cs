using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Softmax and cross entropy on the host, in double precision by row.</summary>
internal sealed unsafe class CpuLoss(WorkerTeam team) : ILossKernels
{
    /// <inheritdoc/>
    public void SoftmaxCrossEntropyForward(
        int rows, int classes, float labelSmoothing, DeviceBuffer logits, DeviceBuffer labels, DeviceBuffer loss, DeviceBuffer probabilities, DeviceBuffer correct)
    {
        int* label = (int*)labels.Address;
        for (int row = 0; row < rows; row++)
        {
            if ((uint)label[row] >= (uint)classes)
            {
                throw new ArgumentOutOfRangeException(
                    nameof(labels), $"The label of row {row} is {label[row]}, but there are {classes} classes; labels must lie in 0 … {classes - 1}.");
            }
        }

        SoftmaxForward(rows, classes, logits, probabilities);
        int pitch = Shape.PitchOf(classes);
        double total = 0;
        int right = 0;
        for (int row = 0; row < rows; row++)
        {
            float* x = (float*)logits.Address + (long)row * pitch;
            int best = 0;
            for (int c = 1; c < classes; c++)
            {
                if (x[c] > x[best])
                {
                    best = c;
                }
            }

            double maximum = x[best];
            double sum = 0;
            double mean = 0;
            for (int c = 0; c < classes; c++)
            {
                sum += Math.Exp(x[c] - maximum);
                mean += x[c];
            }

            // −Σ target·ln softmax = ln Σ e^x − (1 − s)·x[label] − s·mean(x)
            total += maximum + Math.Log(sum) - (1 - (double)labelSmoothing) * x[label[row]] - labelSmoothing * (mean / classes);
            right += best == label[row] ? 1 : 0;
        }

        *(float*)loss.Address = (float)(total / rows);
        if (!correct.IsNone)
        {
            *(int*)correct.Address = right;
        }
    }

    /// <inheritdoc/>
    public void SoftmaxCrossEntropyBackward(
        int rows, int classes, float labelSmoothing, DeviceBuffer probabilities, DeviceBuffer labels, DeviceBuffer lossGradient, DeviceBuffer logitsGradient,
        GradientMode mode)
    {
        int pitch = Shape.PitchOf(classes);
        int* label = (int*)labels.Address;
        double scale = *(float*)lossGradient.Address / (double)rows;
        double off = labelSmoothing / (double)classes;
        for (int row = 0; row < rows; row++)
        {
            float* p = (float*)probabilities.Address + (long)row * pitch;
            float* target = (float*)logitsGradient.Address + (long)row * pitch;
            for (int c = 0; c < pitch; c++)
            {
                float value = c >= classes ? 0 : (float)((p[c] - off - (c == label[row] ? 1 - (double)labelSmoothing : 0)) * scale);
                target[c] = mode == GradientMode.Accumulate ? target[c] + value : value;
            }
        }
    }

    /// <inheritdoc/>
    public void SoftmaxForward(int rows, int classes, DeviceBuffer input, DeviceBuffer output)
    {
        SoftmaxJob job = new() { Classes = classes, Pitch = Shape.PitchOf(classes), Input = (float*)input.Address, Output = (float*)output.Address };
        team.Run(ref job, rows);
    }

    /// <inheritdoc/>
    public void SoftmaxBackward(int rows, int classes, DeviceBuffer output, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        SoftmaxBackwardJob job = new()
        {
            Classes = classes,
            Pitch = Shape.PitchOf(classes),
            Output = (float*)output.Address,
            Gradient = (float*)outputGradient.Address,
            InputGradient = (float*)inputGradient.Address,
            Accumulate = mode == GradientMode.Accumulate,
        };
        team.Run(ref job, rows);
    }

    private struct SoftmaxJob : IParallelJob
    {
        public int Classes;
        public int Pitch;
        public float* Input;
        public float* Output;

        public readonly void Run(int item, int worker)
        {
            float* x = Input + (long)item * Pitch;
            float* y = Output + (long)item * Pitch;
            float maximum = float.NegativeInfinity;
            for (int c = 0; c < Classes; c++)
            {
                maximum = Math.Max(maximum, x[c]);
            }

            double sum = 0;
            for (int c = 0; c < Classes; c++)
            {
                sum += Math.Exp(x[c] - maximum);
            }

            for (int c = 0; c < Pitch; c++)
            {
                y[c] = c < Classes ? (float)(Math.Exp(x[c] - maximum) / sum) : 0;
            }
        }
    }

    private struct SoftmaxBackwardJob : IParallelJob
    {
        public int Classes;
        public int Pitch;
        public float* Output;
        public float* Gradient;
        public float* InputGradient;
        public bool Accumulate;

        public readonly void Run(int item, int worker)
        {
            float* y = Output + (long)item * Pitch;
            float* dy = Gradient + (long)item * Pitch;
            float* dx = InputGradient + (long)item * Pitch;
            double product = 0;
            for (int c = 0; c < Classes; c++)
            {
                product += (double)dy[c] * y[c];
            }

            for (int c = 0; c < Pitch; c++)
            {
                float value = c < Classes ? (float)(y[c] * (dy[c] - product)) : 0;
                dx[c] = Accumulate ? dx[c] + value : value;
            }
        }
    }
}
