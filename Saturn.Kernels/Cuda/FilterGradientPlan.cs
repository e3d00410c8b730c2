using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// How a filter gradient on tensor cores is divided into tiles of C[out, (tap, in)] and splits of the pixels: by the sizes alone, for a device of 132 multiprocessors with two
/// blocks each, whatever the device is.
/// </summary>
/// <param name="Tile">Place of the tile in <see cref="Tiles"/>.</param>
/// <param name="Splits">Parts of the gradient, at least 1; each has pixels.</param>
/// <param name="PixelsPerSplit">Output pixels of a part, a multiple of a step; the last part has what is left.</param>
internal readonly record struct FilterGradientPlan(int Tile, int Splits, int PixelsPerSplit)
{
    private const int Slots = 264;
    private const int MostSplits = 512;
    private const long MostPartialBytes = 64L << 20;

    // Estimates of nanoseconds, never measured: a step of 128 × 128 sums; steps that it takes to fill and empty a block; 3 TB/s for writing and reading a part; a part
    // in the chain of additions. They only choose between divisions that all give correct results.
    private const double StepNanoseconds = 700;
    private const int FillSteps = 4;
    private const double BytesPerNanosecond = 3000;
    private const double AdditionNanoseconds = 150;

    /// <summary>The tiles of <c>kernels/convolution_filter_tensor.cu</c>.</summary>
    public static IReadOnlyList<CudaTile> Tiles { get; } = [new(128, 128), new(64, 128), new(128, 64), new(32, 128)];

    // Smaller tiles read more shared memory for each product.
    private static readonly double[] RelativeSpeeds = [1, 0.85, 0.85, 0.6];

    /// <summary>Pixels of a step: 64 bytes of each operand's element.</summary>
    public static int StepPixels(ElementType type) => type == ElementType.BFloat16 ? 32 : 16;

    /// <summary>Whether the kernels take these sizes: every group starts on a multiple of 8 channels.</summary>
    public static bool Fits(in ConvolutionShape shape) => shape.Groups == 1 || (shape.GroupInputChannels % 8 == 0 && shape.GroupOutputChannels % 8 == 0);

    /// <summary>The division with the least estimated time.</summary>
    public static FilterGradientPlan Of(in ConvolutionShape shape, ElementType type)
    {
        int step = StepPixels(type);
        int steps = Math.Max(1, (shape.Output.Rows + step - 1) / step);
        long floats = shape.Weight.StorageCount;
        int fitting = (int)Math.Clamp(MostPartialBytes / (floats * sizeof(float)), 1, Math.Min(steps, MostSplits));
        int columns = shape.KernelHeight * shape.KernelWidth * Shape.PitchOf(shape.GroupInputChannels);
        FilterGradientPlan best = default;
        double bestTime = double.PositiveInfinity;
        for (int tile = 0; tile < Tiles.Count; tile++)
        {
            long blocks = Tiles[tile].Count(shape.GroupOutputChannels, columns) * shape.Groups;
            double stepTime = StepNanoseconds * Tiles[tile].Rows * Tiles[tile].Columns / (128 * 128) / RelativeSpeeds[tile];
            for (int wanted = 1; wanted <= fitting; wanted *= 2)
            {
                Consider(wanted);
            }

            for (int waves = 1; waves <= 4; waves++)
            {
                Consider((int)Math.Clamp(waves * Slots / blocks, 1, fitting));
            }

            void Consider(int wanted)
            {
                int stepsPerSplit = (steps + wanted - 1) / wanted;
                int splits = (steps + stepsPerSplit - 1) / stepsPerSplit;
                long waves = (blocks * splits + Slots - 1) / Slots;
                double time = waves * (stepsPerSplit + FillSteps) * stepTime + splits * (2 * sizeof(float) * floats / BytesPerNanosecond + AdditionNanoseconds);
                if (time < bestTime)
                {
                    bestTime = time;
                    best = new FilterGradientPlan(tile, splits, stepsPerSplit * step);
                }
            }
        }

        return best;
    }
}
