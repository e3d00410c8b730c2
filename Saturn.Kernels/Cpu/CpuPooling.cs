using System.Runtime.Intrinsics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Pooling on the host. One item of a job is one row of pixels of one image.</summary>
internal sealed unsafe class CpuPooling(WorkerTeam team) : IPoolingKernels
{
    /// <inheritdoc/>
    public void MaximumForward(in PoolingShape shape, DeviceBuffer input, DeviceBuffer output, DeviceBuffer winners)
    {
        MaximumForwardJob job = new() { Shape = shape, Input = (float*)input.Address, Output = (float*)output.Address, Winners = (int*)winners.Address };
        team.Run(ref job, shape.Batch * shape.OutputHeight);
    }

    /// <inheritdoc/>
    public void MaximumBackward(in PoolingShape shape, DeviceBuffer winners, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        BackwardJob job = new()
        {
            Shape = shape,
            Winners = (int*)winners.Address,
            Gradient = (float*)outputGradient.Address,
            InputGradient = (float*)inputGradient.Address,
            Accumulate = mode == GradientMode.Accumulate,
        };
        team.Run(ref job, shape.Batch * shape.InputHeight);
    }

    /// <inheritdoc/>
    public void AverageForward(in PoolingShape shape, bool countPadding, DeviceBuffer input, DeviceBuffer output)
    {
        AverageForwardJob job = new() { Shape = shape, CountPadding = countPadding, Input = (float*)input.Address, Output = (float*)output.Address };
        team.Run(ref job, shape.Batch * shape.OutputHeight);
    }

    /// <inheritdoc/>
    public void AverageBackward(in PoolingShape shape, bool countPadding, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        BackwardJob job = new()
        {
            Shape = shape,
            CountPadding = countPadding,
            Gradient = (float*)outputGradient.Address,
            InputGradient = (float*)inputGradient.Address,
            Accumulate = mode == GradientMode.Accumulate,
        };
        team.Run(ref job, shape.Batch * shape.InputHeight);
    }

    /// <inheritdoc/>
    public void GlobalAverageForward(int batch, int pixels, int channels, DeviceBuffer input, DeviceBuffer output)
    {
        GlobalJob job = new() { Pixels = pixels, Pitch = Shape.PitchOf(channels), Image = (float*)input.Address, Mean = (float*)output.Address };
        team.Run(ref job, batch);
    }

    /// <inheritdoc/>
    public void GlobalAverageBackward(int batch, int pixels, int channels, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        GlobalJob job = new()
        {
            Pixels = pixels,
            Pitch = Shape.PitchOf(channels),
            Image = (float*)inputGradient.Address,
            Mean = (float*)outputGradient.Address,
            Backward = true,
            Accumulate = mode == GradientMode.Accumulate,
        };
        team.Run(ref job, batch);
    }

    /// <summary>The part of a window that lies inside the image.</summary>
    private static void Window(int output, int stride, int padding, int kernel, int extent, out int first, out int last)
    {
        int start = output * stride - padding;
        first = Math.Max(start, 0);
        last = Math.Min(start + kernel, extent);
    }

    private struct MaximumForwardJob : IParallelJob
    {
        public PoolingShape Shape;
        public float* Input;
        public float* Output;
        public int* Winners;

        public readonly void Run(int item, int worker)
        {
            int pitch = Kernels.Shape.PitchOf(Shape.Channels);
            int n = item / Shape.OutputHeight;
            int oh = item % Shape.OutputHeight;
            int startRow = oh * Shape.StrideHeight - Shape.PaddingHeight;
            Window(oh, Shape.StrideHeight, Shape.PaddingHeight, Shape.KernelHeight, Shape.InputHeight, out int firstRow, out int lastRow);
            for (int ow = 0; ow < Shape.OutputWidth; ow++)
            {
                int startColumn = ow * Shape.StrideWidth - Shape.PaddingWidth;
                Window(ow, Shape.StrideWidth, Shape.PaddingWidth, Shape.KernelWidth, Shape.InputWidth, out int firstColumn, out int lastColumn);
                long to = ((long)item * Shape.OutputWidth + ow) * pitch;
                for (int c = 0; c < pitch; c += 8)
                {
                    Vector256<float> best = default;
                    Vector256<int> winner = default;
                    bool any = false;
                    for (int h = firstRow; h < lastRow; h++)
                    {
                        for (int w = firstColumn; w < lastColumn; w++)
                        {
                            Vector256<float> value = Vector256.Load(Input + (((long)n * Shape.InputHeight + h) * Shape.InputWidth + w) * pitch + c);
                            Vector256<int> index = Vector256.Create((h - startRow) * Shape.KernelWidth + w - startColumn);

                            // Strictly larger, or not a number: the first of equals stays, and NaN is seen.
                            Vector256<float> wins = any ? ~Vector256.LessThanOrEqual(value, best) : Vector256<float>.AllBitsSet;
                            best = Vector256.ConditionalSelect(wins, value, best);
                            winner = Vector256.ConditionalSelect(wins.AsInt32(), index, winner);
                            any = true;
                        }
                    }

                    best.Store(Output + to + c);
                    if (Winners != null)
                    {
                        winner.Store(Winners + to + c);
                    }
                }
            }
        }
    }

    private struct AverageForwardJob : IParallelJob
    {
        public PoolingShape Shape;
        public bool CountPadding;
        public float* Input;
        public float* Output;

        public readonly void Run(int item, int worker)
        {
            int pitch = Kernels.Shape.PitchOf(Shape.Channels);
            int n = item / Shape.OutputHeight;
            Window(item % Shape.OutputHeight, Shape.StrideHeight, Shape.PaddingHeight, Shape.KernelHeight, Shape.InputHeight, out int firstRow, out int lastRow);
            for (int ow = 0; ow < Shape.OutputWidth; ow++)
            {
                Window(ow, Shape.StrideWidth, Shape.PaddingWidth, Shape.KernelWidth, Shape.InputWidth, out int firstColumn, out int lastColumn);
                int count = CountPadding ? Shape.KernelHeight * Shape.KernelWidth : (lastRow - firstRow) * (lastColumn - firstColumn);
                for (int c = 0; c < pitch; c += 8)
                {
                    Vector256<float> sum = default;
                    for (int h = firstRow; h < lastRow; h++)
                    {
                        for (int w = firstColumn; w < lastColumn; w++)
                        {
                            sum += Vector256.Load(Input + (((long)n * Shape.InputHeight + h) * Shape.InputWidth + w) * pitch + c);
                        }
                    }

                    (sum / count).Store(Output + ((long)item * Shape.OutputWidth + ow) * pitch + c);
                }
            }
        }
    }

    /// <summary>Gathers, for one row of input pixels, from the windows that contain each pixel: winners only for maximum pooling, shares for average pooling.</summary>
    private struct BackwardJob : IParallelJob
    {
        public PoolingShape Shape;
        public bool CountPadding;
        public int* Winners;
        public float* Gradient;
        public float* InputGradient;
        public bool Accumulate;

        public readonly void Run(int item, int worker)
        {
            int pitch = Kernels.Shape.PitchOf(Shape.Channels);
            int n = item / Shape.InputHeight;
            int h = item % Shape.InputHeight;
            Windows(h, Shape.StrideHeight, Shape.PaddingHeight, Shape.KernelHeight, Shape.OutputHeight, out int firstRow, out int lastRow);
            for (int w = 0; w < Shape.InputWidth; w++)
            {
                Windows(w, Shape.StrideWidth, Shape.PaddingWidth, Shape.KernelWidth, Shape.OutputWidth, out int firstColumn, out int lastColumn);
                float* target = InputGradient + ((long)item * Shape.InputWidth + w) * pitch;
                for (int c = 0; c < pitch; c += 8)
                {
                    Vector256<float> sum = Accumulate ? Vector256.Load(target + c) : default;
                    for (int oh = firstRow; oh < lastRow; oh++)
                    {
                        for (int ow = firstColumn; ow < lastColumn; ow++)
                        {
                            long from = (((long)n * Shape.OutputHeight + oh) * Shape.OutputWidth + ow) * pitch + c;
                            Vector256<float> gradient = Vector256.Load(Gradient + from);
                            if (Winners != null)
                            {
                                int row = h - (oh * Shape.StrideHeight - Shape.PaddingHeight);
                                int column = w - (ow * Shape.StrideWidth - Shape.PaddingWidth);
                                Vector256<int> wins = Vector256.Equals(Vector256.Load(Winners + from), Vector256.Create(row * Shape.KernelWidth + column));
                                sum += gradient & wins.AsSingle();
                            }
                            else
                            {
                                sum += gradient / Count(oh, ow);
                            }
                        }
                    }

                    sum.Store(target + c);
                }
            }
        }

        /// <summary>The outputs whose windows contain an input position.</summary>
        private static void Windows(int position, int stride, int padding, int kernel, int outputs, out int first, out int last)
        {
            int shifted = position + padding;
            first = shifted < kernel ? 0 : (shifted - kernel) / stride + 1;
            last = Math.Min(shifted / stride + 1, outputs);
        }

        private readonly int Count(int oh, int ow)
        {
            if (CountPadding)
            {
                return Shape.KernelHeight * Shape.KernelWidth;
            }

            Window(oh, Shape.StrideHeight, Shape.PaddingHeight, Shape.KernelHeight, Shape.InputHeight, out int firstRow, out int lastRow);
            Window(ow, Shape.StrideWidth, Shape.PaddingWidth, Shape.KernelWidth, Shape.InputWidth, out int firstColumn, out int lastColumn);
            return (lastRow - firstRow) * (lastColumn - firstColumn);
        }
    }

    private struct GlobalJob : IParallelJob
    {
        public int Pixels;
        public int Pitch;
        public float* Image;
        public float* Mean;
        public bool Backward;
        public bool Accumulate;

        public readonly void Run(int item, int worker)
        {
            float* image = Image + (long)item * Pixels * Pitch;
            float* mean = Mean + (long)item * Pitch;
            for (int c = 0; c < Pitch; c += 8)
            {
                if (!Backward)
                {
                    Vector256<float> sum = default;
                    for (int p = 0; p < Pixels; p++)
                    {
                        sum += Vector256.Load(image + (long)p * Pitch + c);
                    }

                    (sum / Pixels).Store(mean + c);
                    continue;
                }

                Vector256<float> share = Vector256.Load(mean + c) / Pixels;
                for (int p = 0; p < Pixels; p++)
                {
                    float* target = image + (long)p * Pitch + c;
                    (Accumulate ? Vector256.Load(target) + share : share).Store(target);
                }
            }
        }
    }
}
