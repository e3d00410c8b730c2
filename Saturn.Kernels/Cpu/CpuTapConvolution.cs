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
            RunClass(Classes[c], images, source, output, sourceOffsets, part);
        }

        if (Moments != null)
        {
            CollectMoments(output, images * OutputHeight * OutputWidth, group, part);
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

    private readonly void RunClass(in TapClass taps, int images, float* source, float* output, int* sourceOffsets, int part)
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

                RunBlock(source, sourceOffsets, output, outputOffsets, pixels, Runs + taps.RunStart + run, partRuns, block, vector, width, first);
                block += (long)depth * 16 * width;
                run += partRuns;
                first = false;
                if (taps.RunCount == 0)
                {
                    break;
                }
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
        float* source, int* sourceOffsets, float* output, int* outputOffsets, int pixels, TapRun* runs, int runCount, float* weights, int vector, int width, bool first)
    {
        Vector512<float>* sums = stackalloc Vector512<float>[24];
        bool load = Accumulate || !first;

        // Without groups the lanes up to the pitch are written: the packed weights are zero there, which keeps the padding zero.
        int lanes = (OutputChannelOffset == 0 && LastGroup ? OutputPitch : OutputChannels) - vector * 16;
        int step = Wide ? 8 : CpuNarrowTiles.Pixels;
        for (int p = 0; p < pixels; p += step)
        {
            nint distance = Wide && width == 1 ? RegularDistance(sourceOffsets, p, pixels) : 0;
            step = !Wide ? CpuNarrowTiles.Pixels : distance > 0 ? 16 : 8;
            int count = Math.Min(step, pixels - p);
            for (int i = 0; i < step; i++)
            {
                for (int v = 0; v < width; v++)
                {
                    int valid = Math.Min(16, lanes - v * 16);
                    sums[i * width + v] = load
                        ? (i < count ? LoadLanes(output + outputOffsets[p + i] + (vector + v) * 16, valid) : Vector512<float>.Zero)
                        : Bias == null ? Vector512<float>.Zero : LoadLanes(Bias + OutputChannelOffset + (vector + v) * 16, Math.Min(valid, OutputChannels - (vector + v) * 16));
                }
            }

            switch (width)
            {
                case var _ when !Wide:
                    CpuNarrowTiles.Convolution(source, sourceOffsets + p, runs, runCount, weights, (float*)sums);
                    break;
                case 1 when distance > 0:
                    CpuConvolutionTiles.Row16(source + sourceOffsets[p], distance, runs, runCount, weights, sums);
                    break;
                case 1:
                    CpuConvolutionTiles.Tile1(source, sourceOffsets + p, runs, runCount, weights, sums);
                    break;
                case 2:
                    CpuConvolutionTiles.Tile2(source, sourceOffsets + p, runs, runCount, weights, sums);
                    break;
                default:
                    CpuConvolutionTiles.Tile3(source, sourceOffsets + p, runs, runCount, weights, sums);
                    break;
            }

            for (int i = 0; i < count; i++)
            {
                for (int v = 0; v < width; v++)
                {
                    StoreLanes(sums[i * width + v], output + outputOffsets[p + i] + (vector + v) * 16, Math.Min(16, lanes - v * 16));
                }
            }
        }
    }

    /// <summary>The distance from one pixel to the next where sixteen of them stand in a row, else 0.</summary>
    private static nint RegularDistance(int* offsets, int first, int pixels)
    {
        if (first + 16 > pixels)
        {
            return 0;
        }

        int distance = offsets[first + 1] - offsets[first];
        for (int i = 2; i < 16; i++)
        {
            if (offsets[first + i] - offsets[first + i - 1] != distance)
            {
                return 0;
            }
        }

        return distance;
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
                if (SourcePitch == channels)
                {
                    Buffer.MemoryCopy(from, to, (long)copied * channels * 4, (long)copied * channels * 4);
                    to += copied * channels;
                }
                else
                {
                    for (int column = 0; column < copied; column++)
                    {
                        for (int c = 0; c < channels; c++)
                        {
                            to[c] = from[c];
                        }

                        to += channels;
                        from += SourcePitch;
                    }
                }

                new Span<float>(to, (PaddedWidth - MarginLeft - copied) * channels).Clear();
            }
        }
    }

    /// <summary>Mean and Σ(x − mean)² of one task's output, by channel, with the first pixel as the pivot.</summary>
    private readonly void CollectMoments(float* output, int pixels, int group, int part)
    {
        PartRange(part, out int vector, out int lastVector);
        double* mean = Moments + (long)group * 2 * MomentsPitch + OutputChannelOffset;
        double* squares = mean + MomentsPitch;
        float* results = stackalloc float[48];
        for (; vector < lastVector; vector++)
        {
            int valid = Math.Min(16, OutputChannels - vector * 16);
            int readable = Math.Min(16, OutputPitch - OutputChannelOffset - vector * 16);
            float* column = output + vector * 16;
            Vector512<float> pivot = LoadLanes(column, readable);
            Vector512<float> sum0 = default, sum1 = default, square0 = default, square1 = default;
            int p = 0;
            for (; p + 1 < pixels; p += 2)
            {
                Vector512<float> a = LoadLanes(column + (long)p * OutputPitch, readable) - pivot;
                Vector512<float> b = LoadLanes(column + (long)(p + 1) * OutputPitch, readable) - pivot;
                sum0 += a;
                sum1 += b;
                square0 = Vector512.FusedMultiplyAdd(a, a, square0);
                square1 = Vector512.FusedMultiplyAdd(b, b, square1);
            }

            if (p < pixels)
            {
                Vector512<float> a = LoadLanes(column + (long)p * OutputPitch, readable) - pivot;
                sum0 += a;
                square0 = Vector512.FusedMultiplyAdd(a, a, square0);
            }

            pivot.Store(results);
            (sum0 + sum1).Store(results + 16);
            (square0 + square1).Store(results + 32);
            WriteMoments(results, pixels, valid, mean + vector * 16, squares + vector * 16);
        }
    }

    private static void WriteMoments(float* results, int pixels, int valid, double* mean, double* squares)
    {
        for (int lane = 0; lane < valid; lane++)
        {
            double sum = results[16 + lane];
            mean[lane] = results[lane] + sum / pixels;
            squares[lane] = Math.Max(0, results[32 + lane] - sum * sum / pixels);
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
}
