using System.Runtime.Intrinsics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>
/// Weights as the forward tiles read them: for each block of one to three vectors of output channels, for each tap and input channel, the block's weights side by side. One item is
/// one vector of sixteen output channels.
/// </summary>
internal unsafe struct PackWeights : IParallelJob
{
    public float* Weights;
    public float* Packed;
    public int* Taps;
    public int TapCount;
    public int AllTaps;
    public int Pitch;
    public int Outputs;
    public int Inputs;
    public bool Wide;

    public readonly void Run(int item, int worker)
    {
        float* target = Packed + new ChannelBlocks(Outputs, Wide).PackedOffset(item, TapCount * (long)Inputs, out int step);
        int lanes = Math.Min(16, Outputs - item * 16);
        long row = (long)AllTaps * Pitch;
        float* first = Weights + item * 16L * row;
        for (int t = 0; t < TapCount; t++)
        {
            float* source = first + (long)Taps[t] * Pitch;
            for (int c = 0; c < Inputs; c++)
            {
                int lane = 0;
                for (; lane < lanes; lane++)
                {
                    target[lane] = source[lane * row + c];
                }

                for (; lane < 16; lane++)
                {
                    target[lane] = 0;
                }

                target += step;
            }
        }
    }
}

/// <summary>The same for the data gradient, where input channels are produced and output channels summed. One item is one vector of sixteen input channels.</summary>
internal unsafe struct PackTransposedWeights : IParallelJob
{
    public float* Weights;
    public float* Packed;
    public int* Taps;
    public int TapCount;
    public int AllTaps;
    public int Pitch;
    public int Outputs;
    public int Inputs;
    public bool Wide;

    public readonly void Run(int item, int worker)
    {
        float* target = Packed + new ChannelBlocks(Inputs, Wide).PackedOffset(item, TapCount * (long)Outputs, out int step);
        int lanes = Math.Min(16, Pitch - item * 16);
        for (int t = 0; t < TapCount; t++)
        {
            float* source = Weights + (long)Taps[t] * Pitch + item * 16;
            for (int k = 0; k < Outputs; k++)
            {
                CpuTapConvolution.LoadLanes(source, lanes).Store(target);
                source += (long)AllTaps * Pitch;
                target += step;
            }
        }
    }
}

/// <summary>Column sums of the output gradient in double precision. One item is eight channels.</summary>
internal unsafe struct BiasGradient : IParallelJob
{
    public float* Gradient;
    public long Rows;
    public int Pitch;
    public float* Bias;
    public bool Accumulate;

    public void Run(int item, int worker)
    {
        float* column = Gradient + item * 8;
        Vector512<double> sum = Vector512<double>.Zero;
        for (long row = 0; row < Rows; row++)
        {
            Vector256<float> values = Vector256.Load(column + row * Pitch);
            (Vector256<double> lower, Vector256<double> upper) = Vector256.Widen(values);
            sum += Vector512.Create(lower, upper);
        }

        for (int lane = 0; lane < 8; lane++)
        {
            float value = (float)sum.GetElement(lane);
            Bias[item * 8 + lane] = Accumulate ? Bias[item * 8 + lane] + value : value;
        }
    }
}

/// <summary>Filter gradients of narrow groups (depthwise convolutions among them), where there is no wide dimension to vectorise. One item is one output channel.</summary>
internal unsafe struct GroupedFilterGradient : IParallelJob
{
    public ConvolutionShape Shape;
    public float* Input;
    public float* Gradient;
    public float* Weights;
    public bool Accumulate;

    public void Run(int item, int worker)
    {
        int pitch = Kernels.Shape.PitchOf(Shape.GroupInputChannels);
        int inputPitch = Kernels.Shape.PitchOf(Shape.InputChannels);
        int gradientPitch = Kernels.Shape.PitchOf(Shape.OutputChannels);
        int firstChannel = item / Shape.GroupOutputChannels * Shape.GroupInputChannels;
        float* target = Weights + (long)item * Shape.KernelHeight * Shape.KernelWidth * pitch;
        for (int r = 0; r < Shape.KernelHeight; r++)
        {
            for (int s = 0; s < Shape.KernelWidth; s++)
            {
                for (int c = 0; c < pitch; c++)
                {
                    float sum = c < Shape.GroupInputChannels ? (float)Sum(r, s, firstChannel + c, item, inputPitch, gradientPitch) : 0;
                    target[c] = Accumulate && c < Shape.GroupInputChannels ? target[c] + sum : sum;
                }

                target += pitch;
            }
        }
    }

    private readonly double Sum(int r, int s, int channel, int output, int inputPitch, int gradientPitch)
    {
        double sum = 0;
        for (int n = 0; n < Shape.Batch; n++)
        {
            for (int row = 0; row < Shape.OutputHeight; row++)
            {
                int y = row * Shape.StrideHeight + r * Shape.DilationHeight - Shape.PaddingHeight;
                if ((uint)y >= (uint)Shape.InputHeight)
                {
                    continue;
                }

                for (int column = 0; column < Shape.OutputWidth; column++)
                {
                    int x = column * Shape.StrideWidth + s * Shape.DilationWidth - Shape.PaddingWidth;
                    if ((uint)x < (uint)Shape.InputWidth)
                    {
                        sum += (double)Gradient[((n * Shape.OutputHeight + row) * (long)Shape.OutputWidth + column) * gradientPitch + output]
                            * Input[((n * Shape.InputHeight + y) * (long)Shape.InputWidth + x) * inputPitch + channel];
                    }
                }
            }
        }

        return sum;
    }
}
