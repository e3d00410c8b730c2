using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

internal sealed unsafe partial class CpuNormalization
{
    /// <inheritdoc/>
    public void LayerForward(int rows, int channels, float epsilon, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer output, DeviceBuffer saved)
    {
        LayerJob job = new()
        {
            Channels = channels,
            Pitch = Shape.PitchOf(channels),
            Epsilon = epsilon,
            Input = (float*)input.Address,
            Gamma = (float*)gamma.Address,
            Beta = (float*)beta.Address,
            Output = (float*)output.Address,
            Saved = (float*)saved.Address,
        };
        team.Run(ref job, rows);
    }

    /// <inheritdoc/>
    public void LayerBackward(
        int rows, int channels, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer saved, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode inputMode,
        DeviceBuffer gammaGradient, DeviceBuffer betaGradient, GradientMode parameterMode)
    {
        int pitch = Shape.PitchOf(channels);
        LayerBackwardJob job = new()
        {
            Channels = channels,
            Pitch = pitch,
            Input = (float*)input.Address,
            Gamma = (float*)gamma.Address,
            Saved = (float*)saved.Address,
            Gradient = (float*)outputGradient.Address,
            InputGradient = (float*)inputGradient.Address,
            Accumulate = inputMode == GradientMode.Accumulate,
        };
        if (!inputGradient.IsNone)
        {
            team.Run(ref job, rows);
        }

        if (gammaGradient.IsNone && betaGradient.IsNone)
        {
            return;
        }

        LayerParameterJob parameters = new() { Rows = rows, Channels = channels, Pitch = pitch, Input = job.Input, Saved = job.Saved, Gradient = job.Gradient };
        parameters.GammaGradient = (float*)gammaGradient.Address;
        parameters.BetaGradient = (float*)betaGradient.Address;
        parameters.Accumulate = parameterMode == GradientMode.Accumulate;
        team.Run(ref parameters, pitch / 8);
    }

    private struct LayerJob : IParallelJob
    {
        public int Channels;
        public int Pitch;
        public float Epsilon;
        public float* Input;
        public float* Gamma;
        public float* Beta;
        public float* Output;
        public float* Saved;

        public readonly void Run(int item, int worker)
        {
            float* x = Input + (long)item * Pitch;
            float* y = Output + (long)item * Pitch;
            double sum = 0;
            for (int c = 0; c < Channels; c++)
            {
                sum += x[c];
            }

            double mean = sum / Channels;
            double squares = 0;
            for (int c = 0; c < Channels; c++)
            {
                squares += (x[c] - mean) * (x[c] - mean);
            }

            double inverseStd = 1 / Math.Sqrt(squares / Channels + Epsilon);
            for (int c = 0; c < Pitch; c++)
            {
                double normal = (x[c] - mean) * inverseStd;
                y[c] = c >= Channels ? 0 : (float)(normal * (Gamma == null ? 1 : Gamma[c]) + (Beta == null ? 0 : Beta[c]));
            }

            Saved[item * 2L] = (float)mean;
            Saved[item * 2L + 1] = (float)inverseStd;
        }
    }

    private struct LayerBackwardJob : IParallelJob
    {
        public int Channels;
        public int Pitch;
        public float* Input;
        public float* Gamma;
        public float* Saved;
        public float* Gradient;
        public float* InputGradient;
        public bool Accumulate;

        public readonly void Run(int item, int worker)
        {
            float* x = Input + (long)item * Pitch;
            float* dy = Gradient + (long)item * Pitch;
            float* dx = InputGradient + (long)item * Pitch;
            double mean = Saved[item * 2L];
            double inverseStd = Saved[item * 2L + 1];
            double sum = 0, product = 0;
            for (int c = 0; c < Channels; c++)
            {
                double g = Gamma == null ? dy[c] : (double)dy[c] * Gamma[c];
                sum += g;
                product += g * (x[c] - mean) * inverseStd;
            }

            sum /= Channels;
            product /= Channels;
            for (int c = 0; c < Pitch; c++)
            {
                double g = c >= Channels ? 0 : Gamma == null ? dy[c] : (double)dy[c] * Gamma[c];
                float value = c >= Channels ? 0 : (float)(inverseStd * (g - sum - (x[c] - mean) * inverseStd * product));
                dx[c] = Accumulate ? dx[c] + value : value;
            }
        }
    }

    private struct LayerParameterJob : IParallelJob
    {
        public int Rows;
        public int Channels;
        public int Pitch;
        public float* Input;
        public float* Saved;
        public float* Gradient;
        public float* GammaGradient;
        public float* BetaGradient;
        public bool Accumulate;

        public readonly void Run(int item, int worker)
        {
            for (int c = item * 8; c < item * 8 + 8; c++)
            {
                double gamma = 0, beta = 0;
                for (int row = 0; c < Channels && row < Rows; row++)
                {
                    double dy = Gradient[(long)row * Pitch + c];
                    beta += dy;
                    gamma += dy * (Input[(long)row * Pitch + c] - (double)Saved[row * 2L]) * Saved[row * 2L + 1];
                }

                Add(GammaGradient, c, (float)gamma);
                Add(BetaGradient, c, (float)beta);
            }
        }

        private readonly void Add(float* target, int channel, float value)
        {
            if (target != null)
            {
                target[channel] = Accumulate ? target[channel] + value : value;
            }
        }
    }
}
