using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
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
        nint row = (nint)AllTaps * Pitch;
        float* first = Weights + item * 16L * row;
        for (int t = 0; t < TapCount; t++)
        {
            float* source = first + (long)Taps[t] * Pitch;
            for (int c = 0; c < Inputs; c += 8)
            {
                int count = Math.Min(8, Inputs - c);
                for (int lane = 0; lane < 16; lane += 8)
                {
                    Transpose(source + lane * row + c, row, lanes - lane, target + lane, step, count);
                }

                target += count * step;
            }
        }
    }

    /// <summary>
    /// Turns eight floats of up to eight rows, zeros in place of missing rows, into up to eight floats of each of eight columns; whole rows of eight are readable because of the pitch.
    /// </summary>
    private static void Transpose(float* from, nint row, int rows, float* to, nint step, int columns)
    {
        if (rows < 8 || columns < 8 || !Avx.IsSupported)
        {
            for (int c = 0; c < columns; c++)
            {
                for (int lane = 0; lane < 8; lane++)
                {
                    to[c * step + lane] = lane < rows ? from[lane * row + c] : 0;
                }
            }

            return;
        }

        // Pairs of rows, then fours within each half of a vector, then the halves.
        Vector256<float> r0 = Vector256.Load(from), r1 = Vector256.Load(from + row), r2 = Vector256.Load(from + 2 * row), r3 = Vector256.Load(from + 3 * row);
        from += 4 * row;
        Vector256<float> r4 = Vector256.Load(from), r5 = Vector256.Load(from + row), r6 = Vector256.Load(from + 2 * row), r7 = Vector256.Load(from + 3 * row);
        Vector256<float> p0 = Avx.UnpackLow(r0, r1), p1 = Avx.UnpackHigh(r0, r1), p2 = Avx.UnpackLow(r2, r3), p3 = Avx.UnpackHigh(r2, r3);
        Vector256<float> p4 = Avx.UnpackLow(r4, r5), p5 = Avx.UnpackHigh(r4, r5), p6 = Avx.UnpackLow(r6, r7), p7 = Avx.UnpackHigh(r6, r7);
        Vector256<float> f0 = Avx.Shuffle(p0, p2, 0x44), f1 = Avx.Shuffle(p0, p2, 0xEE), f2 = Avx.Shuffle(p1, p3, 0x44), f3 = Avx.Shuffle(p1, p3, 0xEE);
        Vector256<float> f4 = Avx.Shuffle(p4, p6, 0x44), f5 = Avx.Shuffle(p4, p6, 0xEE), f6 = Avx.Shuffle(p5, p7, 0x44), f7 = Avx.Shuffle(p5, p7, 0xEE);
        Avx.Permute2x128(f0, f4, 0x20).Store(to);
        Avx.Permute2x128(f1, f5, 0x20).Store(to + step);
        Avx.Permute2x128(f2, f6, 0x20).Store(to + 2 * step);
        Avx.Permute2x128(f3, f7, 0x20).Store(to + 3 * step);
        to += 4 * step;
        Avx.Permute2x128(f0, f4, 0x31).Store(to);
        Avx.Permute2x128(f1, f5, 0x31).Store(to + step);
        Avx.Permute2x128(f2, f6, 0x31).Store(to + 2 * step);
        Avx.Permute2x128(f3, f7, 0x31).Store(to + 3 * step);
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
