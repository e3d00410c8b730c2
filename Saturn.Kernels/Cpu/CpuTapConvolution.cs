using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Kernels.Cpu;

/// <summary>A stretch of consecutive source floats that one filter row multiplies: offset from the output pixel's source address, and length.</summary>
internal struct TapRun
{
    public int Offset;
    public int Length;
}

/// <summary>
/// Output pixels that read the source through the same taps: all of them in a forward pass and in a data gradient of stride 1; one class for each parity in
/// a data gradient of larger stride, so that no multiplication by an inserted zero is done.
/// </summary>
internal struct TapClass
{
    public int Rows;
    public int Columns;
    public int FirstOutputRow;
    public int FirstOutputColumn;
    public int RunStart;
    public int RunCount;
    public int Depth;
    public long WeightOffset;
}

/// <summary>
/// The direct convolution behind the forward pass and the data gradient. A task takes some images, copies them once into a halo-padded buffer that fits the second-level cache
/// (unless the source can be read as it is), and computes tiles of eight output pixels by up to 48 channels from it. Task sizes follow from the shapes alone.
/// </summary>
internal unsafe struct CpuTapConvolution : IParallelJob
{
    /// <summary>Weights of one channel block beyond this size are taken in parts, so that a part stays in the second-level cache while all pixels pass.</summary>
    private const int WeightPartBytes = 256 * 1024;

    public float* Source;
    public int SourceHeight;
    public int SourceWidth;
    public int SourcePitch;
    public int SourceChannels;
    public int SourceChannelOffset;
    public bool Direct;
    public int MarginTop;
    public int MarginLeft;
    public int PaddedHeight;
    public int PaddedWidth;
    public int SourceRowStep;
    public int SourceColumnStep;

    public float* Output;
    public int OutputHeight;
    public int OutputWidth;
    public int OutputPitch;
    public int OutputChannels;
    public int OutputChannelOffset;
    public int OutputRowStep;
    public int OutputColumnStep;
    public bool LastGroup;
    public bool Accumulate;
    public float* Bias;

    /// <summary>Whether the tiles are the 512-bit ones.</summary>
    public bool Wide;

    public TapClass* Classes;
    public int ClassCount;
    public TapRun* Runs;
    public float* Weights;

    public int Batch;
    public int ImagesPerTask;
    public int ChannelParts;
    public byte* Scratch;
    public long ScratchBytes;
    public long PaddedFloats;
    public double* Moments;
    public int MomentsPitch;

    /// <summary>Floats from one padded pixel to the next.</summary>
    public readonly int PixelStride => Direct ? SourcePitch : SourceChannels;

    private readonly ChannelBlocks Blocks => new(OutputChannels, Wide);

    public void Run(int item, int worker)
    {
        int part = item % ChannelParts;
        int group = item / ChannelParts;
        int firstImage = group * ImagesPerTask;
        int images = Math.Min(ImagesPerTask, Batch - firstImage);
        byte* scratch = Scratch + worker * ScratchBytes;
        float* padded = (float*)scratch;
        int* sourceOffsets = (int*)(scratch + PaddedFloats * sizeof(float));
        float* source;
        if (Direct)
        {
            source = Source + (long)firstImage * SourceHeight * SourceWidth * SourcePitch + SourceChannelOffset;
        }
        else
        {
            CopyPaddedTo(padded, firstImage, images);
            source = padded;
        }

        float* output = Output + (long)firstImage * OutputHeight * OutputWidth * OutputPitch + OutputChannelOffset;
        for (int c = 0; c < ClassCount; c++)
        {
            RunClass(Classes[c], images, source, output, sourceOffsets, group, part);
        }
    }

    /// <summary>The channel blocks of a part: pairs of vectors, with a last block of three or one where the number is odd.</summary>
    private readonly void PartRange(int part, out int firstVector, out int lastVector)
    {
        int vectors = Blocks.Vectors;
        int pairs = Math.Max(1, vectors / 2);
        firstVector = part * pairs / ChannelParts * 2;
        lastVector = part == ChannelParts - 1 ? vectors : (part + 1) * pairs / ChannelParts * 2;
    }

    [SkipLocalsInit]
    private readonly void RunClass(in TapClass taps, int images, float* source, float* output, int* sourceOffsets, int group, int part)
    {
        int pixels = images * taps.Rows * taps.Columns;
        if (pixels == 0)
        {
            return;
        }

        // The last tile may reach beyond the pixels.
        int paddedPixels = (pixels + 15) & ~7;
        int* outputOffsets = sourceOffsets + paddedPixels;
        ListPixels(taps, images, sourceOffsets, outputOffsets);
        for (int p = pixels; p < paddedPixels; p++)
        {
            sourceOffsets[p] = sourceOffsets[pixels - 1];
        }

        VectorMoments* moments = stackalloc VectorMoments[3];
        PartRange(part, out int vector, out int lastVector);
        while (vector < lastVector)
        {
            int width = Blocks.WidthAt(vector);
            float* block = Weights + taps.WeightOffset + (long)vector * 16 * taps.Depth;
            int run = 0;
            bool first = true;
            while (run < taps.RunCount || first)
            {
                int partRuns = 0;
                int depth = 0;
                while (run + partRuns < taps.RunCount
                    && (partRuns == 0 || (depth + Runs[taps.RunStart + run + partRuns].Length) * width * 64 <= WeightPartBytes))
                {
                    depth += Runs[taps.RunStart + run + partRuns].Length;
                    partRuns++;
                }

                bool last = run + partRuns == taps.RunCount;
                RunBlock(
                    source, sourceOffsets, output, outputOffsets, taps, pixels, Runs + taps.RunStart + run, partRuns, block, vector, width, first,
                    Moments != null && last ? moments : null);
                block += (long)depth * 16 * width;
                run += partRuns;
                first = false;
                if (taps.RunCount == 0)
                {
                    break;
                }
            }

            for (int v = 0; Moments != null && v < width; v++)
            {
                double* mean = Moments + (long)group * 2 * MomentsPitch + OutputChannelOffset + (vector + v) * 16;
                moments[v].Finish(pixels, Math.Min(16, OutputChannels - (vector + v) * 16), mean, mean + MomentsPitch);
            }

            vector += width;
        }

        if (LastGroup && part == ChannelParts - 1 && OutputChannelOffset > 0 && !Accumulate)
        {
            for (int p = 0; p < pixels; p++)
            {
                for (int lane = OutputChannels; lane < OutputPitch - OutputChannelOffset; lane++)
                {
                    output[outputOffsets[p] + lane] = 0;
                }
            }
        }
    }

    [SkipLocalsInit]
    private readonly void RunBlock(
        float* source, int* sourceOffsets, float* output, int* outputOffsets, in TapClass taps, int pixels, TapRun* runs, int runCount, float* weights, int vector, int width,
        bool first, VectorMoments* moments)
    {
        float* initial = stackalloc float[48];
        float* buffer = stackalloc float[8 * 48];
        int* bufferOffsets = stackalloc int[16];
        ConvolutionTile tile = new()
        {
            Source = source,
            Runs = runs,
            RunCount = runCount,
            Weights = weights,
            Initial = initial,
            Load = Accumulate || !first,
            Step = (nint)SourceColumnStep * PixelStride,
        };

        // Without groups the lanes up to the pitch are written: the packed weights are zero there, which keeps the padding zero.
        int lanes = (OutputChannelOffset == 0 && LastGroup ? OutputPitch : OutputChannels) - vector * 16;
        for (int lane = 0; lane < width * 16; lane++)
        {
            initial[lane] = Bias != null && vector * 16 + lane < OutputChannels ? Bias[OutputChannelOffset + vector * 16 + lane] : 0;
        }

        bool rows = Wide && width == 1 && taps.Columns % 16 == 0;
        bool threeTaps = rows && SourceColumnStep == 1 && RunsAreThree(runs, runCount, tile.Step);
        int step = !Wide ? CpuNarrowTiles.Pixels : rows ? 16 : 8;
        for (int i = 0; i < step; i++)
        {
            bufferOffsets[i] = i * width * 16;
        }

        for (int p = 0; p < pixels; p += step)
        {
            int count = Math.Min(step, pixels - p);
            bool direct = count == step && lanes >= width * 16;
            tile.Pixels = sourceOffsets + p;
            tile.Output = direct ? output + vector * 16 : buffer;
            tile.OutputOffsets = direct ? outputOffsets + p : bufferOffsets;
            for (int i = 0; !direct && tile.Load && i < count; i++)
            {
                for (int v = 0; v < width; v++)
                {
                    LoadLanes(output + outputOffsets[p + i] + (vector + v) * 16, lanes - v * 16).Store(buffer + bufferOffsets[i] + v * 16);
                }
            }

            switch (width)
            {
                case var _ when !Wide:
                    CpuNarrowTiles.Convolution(tile);
                    break;
                case 1 when threeTaps:
                    CpuConvolutionRows.RowOfThreeTaps(tile);
                    break;
                case 1 when rows:
                    CpuConvolutionRows.Row(tile);
                    break;
                case 1:
                    CpuConvolutionTiles.Tile1(tile);
                    break;
                case 2:
                    CpuConvolutionTiles.Tile2(tile);
                    break;
                default:
                    CpuConvolutionTiles.Tile3(tile);
                    break;
            }

            for (int v = 0; moments != null && v < width; v++)
            {
                moments[v].Add(tile.Output + v * 16, tile.OutputOffsets, count, p == 0);
            }

            for (int i = 0; !direct && i < count; i++)
            {
                for (int v = 0; v < width; v++)
                {
                    StoreLanes(Vector512.Load(buffer + bufferOffsets[i] + v * 16), output + outputOffsets[p + i] + (vector + v) * 16, lanes - v * 16);
                }
            }
        }
    }

    private static bool RunsAreThree(TapRun* runs, int count, nint channels)
    {
        for (int i = 0; i < count; i++)
        {
            if (runs[i].Length != 3 * channels)
            {
                return false;
            }
        }

        return true;
    }

    private readonly void ListPixels(in TapClass taps, int images, int* sourceOffsets, int* outputOffsets)
    {
        int stride = PixelStride;
        int width = Direct ? SourceWidth : PaddedWidth;
        int image = (Direct ? SourceHeight : PaddedHeight) * width * stride;
        int index = 0;
        for (int n = 0; n < images; n++)
        {
            for (int row = 0; row < taps.Rows; row++)
            {
                int from = n * image + row * SourceRowStep * width * stride;
                int to = ((n * OutputHeight + taps.FirstOutputRow + row * OutputRowStep) * OutputWidth + taps.FirstOutputColumn) * OutputPitch;
                for (int column = 0; column < taps.Columns; column++)
                {
                    sourceOffsets[index] = from + column * SourceColumnStep * stride;
                    outputOffsets[index] = to + column * OutputColumnStep * OutputPitch;
                    index++;
                }
            }
        }
    }

    /// <summary>Copies some images into a buffer with zero margins, channels packed.</summary>
    public readonly void CopyPaddedTo(float* padded, int firstImage, int images)
    {
        int channels = SourceChannels;
        long rowFloats = (long)PaddedWidth * channels;
        for (int n = 0; n < images; n++)
        {
            for (int row = 0; row < PaddedHeight; row++)
            {
                float* to = padded + (n * (long)PaddedHeight + row) * rowFloats;
                int sourceRow = row - MarginTop;
                if ((uint)sourceRow >= (uint)SourceHeight)
                {
                    new Span<float>(to, (int)rowFloats).Clear();
                    continue;
                }

                float* from = Source + ((firstImage + n) * (long)SourceHeight + sourceRow) * SourceWidth * SourcePitch + SourceChannelOffset;
                int copied = Math.Min(SourceWidth, PaddedWidth - MarginLeft);
                new Span<float>(to, MarginLeft * channels).Clear();
                to += MarginLeft * channels;
                CopyPixels(from, to, copied, SourcePitch, channels);
                to += copied * channels;
                new Span<float>(to, (PaddedWidth - MarginLeft - copied) * channels).Clear();
            }
        }
    }

    /// <summary>The first lanes of a vector from memory, zeros in the others; sixteen and eight are the usual counts.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<float> LoadLanes(float* from, int lanes) => lanes >= 16
        ? Vector512.Load(from)
        : lanes == 8 ? Vector512.Create(Vector256.Load(from), Vector256<float>.Zero) : LoadFew(from, lanes);

    /// <summary>Stores the first lanes of a vector.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void StoreLanes(Vector512<float> value, float* to, int lanes)
    {
        if (lanes >= 16)
        {
            value.Store(to);
        }
        else if (lanes == 8)
        {
            value.GetLower().Store(to);
        }
        else
        {
            StoreFew(value, to, lanes);
        }
    }

    // Apart from the callers, whose vectors would otherwise live in memory for the sake of the variable index.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Vector512<float> LoadFew(float* from, int lanes)
    {
        float* buffer = stackalloc float[16];
        for (int i = 0; i < 16; i++)
        {
            buffer[i] = i < lanes ? from[i] : 0;
        }

        return Vector512.Load(buffer);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void StoreFew(Vector512<float> value, float* to, int lanes)
    {
        float* buffer = stackalloc float[16];
        value.Store(buffer);
        for (int i = 0; i < lanes; i++)
        {
            to[i] = buffer[i];
        }
    }

    /// <summary>Copies the channels of some pixels, <paramref name="step"/> floats apart, so that they stand side by side.</summary>
    internal static void CopyPixels(float* from, float* to, int pixels, nint step, int channels)
    {
        if (step == channels)
        {
            Buffer.MemoryCopy(from, to, (long)pixels * channels * sizeof(float), (long)pixels * channels * sizeof(float));
        }
        else if (channels == 16)
        {
            for (int p = 0; p < pixels; p++)
            {
                Vector512.Load(from).Store(to);
                from += step;
                to += 16;
            }
        }
        else
        {
            for (int p = 0; p < pixels; p++)
            {
                // A vector may run over into the next pixel, which is written afterwards, and at the end into the row's margin or the slack behind the last row.
                for (int c = 0; c < channels; c += 8)
                {
                    Vector256.Load(from + c).Store(to + c);
                }

                from += step;
                to += channels;
            }
        }
    }
}
