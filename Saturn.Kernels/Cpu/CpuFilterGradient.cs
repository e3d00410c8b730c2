using System.Runtime.Intrinsics;

namespace Saturn.Kernels.Cpu;

/// <summary>How a filter-gradient task reads the convolution's input.</summary>
internal enum FilterSource
{
    /// <summary>In place: a 1×1 filter needs no margin.</summary>
    InPlace,

    /// <summary>
    /// A copy with zero margins and packed channels. The columns of one filter row and their channels are contiguous there and form one long vector dimension, so that odd channel
    /// counts waste little.
    /// </summary>
    Joined,

    /// <summary>
    /// A copy with zero margins in blocks of sixteen channels: the pixels of a block follow each other line by line, and the taps of a filter row read the same lines. For multiples of
    /// sixteen channels, whose pixels would otherwise fall onto few lines of the first-level cache.
    /// </summary>
    Blocked,
}

/// <summary>
/// The filter gradient as a sum of outer products: dW[k, element] += Σ_pixels dY[pixel, k]·X[pixel shifted to the element's tap]. Sixteen filter elements form a vector, eight output
/// channels and up to three vectors a tile. Tasks divide the images, the output channels and the channel blocks; partial sums of different images are added in order afterwards.
/// </summary>
internal unsafe struct CpuFilterGradient : IParallelJob
{
    /// <summary>Pixels that a tile sums over before the next tile takes its turn: enough to pay for loading and storing the sums, few enough for the first-level cache.</summary>
    private const int PixelsPerTile = 512;

    public float* Input;
    public int InputHeight;
    public int InputWidth;
    public int InputPitch;
    public int InputChannels;
    public float* Gradient;
    public int GradientHeight;
    public int GradientWidth;
    public int GradientPitch;
    public int OutputChannels;
    public int KernelHeight;
    public int KernelWidth;
    public int DilationHeight;
    public int DilationWidth;
    public int StrideHeight;
    public int StrideWidth;
    public int MarginTop;
    public int MarginLeft;
    public FilterSource Layout;

    /// <summary>Whether a copy holds only the pixels that a strided 1×1 filter reads.</summary>
    public bool Gathered;

    /// <summary>Columns of a copied row.</summary>
    public int PaddedWidth;

    /// <summary>Whether the task's output gradients are copied into blocks of eight channels.</summary>
    public bool PackGradient;

    public int Batch;
    public int ImageChunks;
    public int OutputChunks;
    public int ChannelChunks;
    public int ImagesPerSlab;

    /// <summary>Output rows of a slab; fewer than all only where one image is too large.</summary>
    public int RowsPerSlab;
    public byte* Scratch;
    public long ScratchBytes;
    public long SourceFloats;
    public long GradientFloats;

    /// <summary>Partial sums [image chunk][vector][output channel, rounded up to eight][16], or null where tiles add into the weight gradient itself.</summary>
    public float* Partials;
    public float* Weights;
    public int WeightPitch;
    public bool Accumulate;

    /// <summary>Whether the tiles are the 512-bit ones.</summary>
    public bool Wide;

    /// <summary>Output channels in eights.</summary>
    public readonly int OutputBlocks => (OutputChannels + 7) / 8;

    /// <summary>Vectors that one row of the filter takes, or one of its taps where columns are not joined.</summary>
    public readonly int RowVectors => ((Layout == FilterSource.Joined ? KernelWidth : 1) * InputChannels + 15) / 16;

    /// <summary>Vectors of one output channel's filter.</summary>
    public readonly int Vectors => RowVectors * KernelHeight * (Layout == FilterSource.Joined ? 1 : KernelWidth);

    /// <summary>Rows of the copy that some output rows read.</summary>
    public readonly int PaddedRows(int rows) => Gathered ? rows : (rows - 1) * StrideHeight + (KernelHeight - 1) * DilationHeight + 1;

    public void Run(int item, int worker)
    {
        int channelChunk = item % ChannelChunks;
        int outputChunk = item / ChannelChunks % OutputChunks;
        int imageChunk = item / ChannelChunks / OutputChunks;
        int firstBlock = outputChunk * OutputBlocks / OutputChunks;
        int lastBlock = (outputChunk + 1) * OutputBlocks / OutputChunks;

        // Only blocked channels are divided; their vectors are ordered by block.
        int channelBlocks = Layout == FilterSource.Blocked ? RowVectors : 1;
        int firstChannelBlock = channelChunk * channelBlocks / ChannelChunks;
        int lastChannelBlock = (channelChunk + 1) * channelBlocks / ChannelChunks;
        int firstVector = firstChannelBlock * (Vectors / channelBlocks);
        int lastVector = lastChannelBlock * (Vectors / channelBlocks);
        int firstImage = (int)((long)imageChunk * Batch / ImageChunks);
        int lastImage = (int)((long)(imageChunk + 1) * Batch / ImageChunks);

        byte* scratch = Scratch + worker * ScratchBytes;
        float* copy = (float*)scratch;
        float* packed = copy + SourceFloats;
        int* offsets = (int*)(packed + GradientFloats);
        bool load = Partials == null && Accumulate;
        for (int image = firstImage; image < lastImage; image += ImagesPerSlab)
        {
            int images = Math.Min(ImagesPerSlab, lastImage - image);
            for (int row = 0; row < GradientHeight; row += RowsPerSlab)
            {
                int rows = Math.Min(RowsPerSlab, GradientHeight - row);
                int pixels = images * rows * GradientWidth;
                float* source = copy;
                switch (Layout)
                {
                    case FilterSource.InPlace:
                        source = Input + ((long)image * InputHeight + (long)row * StrideHeight) * InputWidth * InputPitch;
                        break;
                    case FilterSource.Joined:
                        CopyRows(copy, image, images, row, rows, 0, 1, InputChannels);
                        break;
                    default:
                        CopyRows(copy, image, images, row, rows, firstChannelBlock, lastChannelBlock, 16);
                        break;
                }

                ListPixels(offsets, images, rows);
                float* gradient = Gradient + ((long)image * GradientHeight + row) * GradientWidth * GradientPitch;
                if (PackGradient)
                {
                    CopyGradient(packed, gradient, pixels, firstBlock, lastBlock);
                }

                long channelBlockFloats = (long)images * PaddedRows(rows) * PaddedWidth * 16;
                FilterTile tile = new() { TargetRow = Partials == null ? (nint)KernelHeight * KernelWidth * WeightPitch : 16 };
                for (int first = 0; first < pixels; first += PixelsPerTile)
                {
                    tile.Offsets = offsets + first;
                    tile.Pixels = Math.Min(PixelsPerTile, pixels - first);
                    tile.Load = load;
                    load = true;
                    int width;
                    for (int vector = firstVector; vector < lastVector; vector += width)
                    {
                        int left = lastVector - vector;
                        width = left == 4 || left % 3 == 1 && left > 4 ? 2 : Math.Min(3, left);
                        tile.Source0 = source + SourceOffset(vector, firstChannelBlock, channelBlockFloats);
                        tile.Source1 = width > 1 ? source + SourceOffset(vector + 1, firstChannelBlock, channelBlockFloats) : null;
                        tile.Source2 = width > 2 ? source + SourceOffset(vector + 2, firstChannelBlock, channelBlockFloats) : null;
                        for (int block = firstBlock; block < lastBlock; block++)
                        {
                            tile.Gradient = PackGradient ? packed + ((long)(block - firstBlock) * pixels + first) * 8 : gradient + (long)first * GradientPitch + block * 8;
                            tile.GradientStep = PackGradient ? 8 : GradientPitch;
                            tile.Target0 = Target(imageChunk, vector, block);
                            tile.Target1 = width > 1 ? Target(imageChunk, vector + 1, block) : null;
                            tile.Target2 = width > 2 ? Target(imageChunk, vector + 2, block) : null;
                            switch (width)
                            {
                                case var _ when !Wide:
                                    CpuNarrowTiles.FilterGradient(tile, width);
                                    break;
                                case 1:
                                    CpuFilterGradientTiles.Tile1(tile);
                                    break;
                                case 2:
                                    CpuFilterGradientTiles.Tile2(tile);
                                    break;
                                default:
                                    CpuFilterGradientTiles.Tile3(tile);
                                    break;
                            }
                        }
                    }
                }
            }
        }
    }

    /// <summary>
    /// Where a vector's elements stand in the filter: row, column, and first channel. In the joined layout the vector may run on over the following columns.
    /// </summary>
    public readonly void Locate(int vector, out int row, out int column, out int channel)
    {
        if (Layout == FilterSource.Joined)
        {
            row = vector / RowVectors;
            int element = vector % RowVectors * 16;
            column = element / InputChannels;
            channel = element % InputChannels;
            return;
        }

        int taps = KernelHeight * KernelWidth;
        channel = vector / taps * 16;
        row = vector % taps / KernelWidth;
        column = vector % KernelWidth;
    }

    private readonly long SourceOffset(int vector, int firstChannelBlock, long channelBlockFloats)
    {
        Locate(vector, out int row, out int column, out int channel);
        return Layout switch
        {
            FilterSource.InPlace => channel,
            FilterSource.Joined => ((long)row * DilationHeight * PaddedWidth + column) * InputChannels + channel,
            _ => (channel / 16 - firstChannelBlock) * channelBlockFloats + (row * (long)DilationHeight * PaddedWidth + column * DilationWidth) * 16,
        };
    }

    private readonly float* Target(int imageChunk, int vector, int block)
    {
        if (Partials != null)
        {
            return Partials + (((long)imageChunk * Vectors + vector) * OutputBlocks + block) * 8 * 16;
        }

        Locate(vector, out int row, out int column, out int channel);
        return Weights + ((block * 8L * KernelHeight + row) * KernelWidth + column) * WeightPitch + channel;
    }

    private readonly void ListPixels(int* offsets, int images, int rows)
    {
        bool inPlace = Layout == FilterSource.InPlace;
        int stride = inPlace ? InputPitch : Layout == FilterSource.Joined ? InputChannels : 16;
        int width = inPlace ? InputWidth : PaddedWidth;
        int image = (inPlace ? InputHeight : PaddedRows(rows)) * width * stride;
        int rowStep = Gathered ? 1 : StrideHeight;
        int columnStep = Gathered ? 1 : StrideWidth;
        for (int n = 0; n < images; n++)
        {
            for (int row = 0; row < rows; row++)
            {
                int start = n * image + row * rowStep * width * stride;
                for (int column = 0; column < GradientWidth; column++)
                {
                    *offsets++ = start + column * columnStep * stride;
                }
            }
        }
    }

    /// <summary>Copies the input rows that some output rows read, with zero margins, as [block][image][row][column][channels of a block].</summary>
    private readonly void CopyRows(float* copy, int firstImage, int images, int firstRow, int rows, int firstBlock, int lastBlock, int channels)
    {
        int paddedRows = PaddedRows(rows);
        int rowStep = Gathered ? StrideHeight : 1;
        int columnStep = Gathered ? StrideWidth : 1;
        int rowFloats = PaddedWidth * channels;
        long blockFloats = (long)images * paddedRows * rowFloats;
        int firstColumn = Math.Min(MarginLeft, PaddedWidth);
        int lastColumn = Math.Min(PaddedWidth, MarginLeft + (InputWidth + columnStep - 1) / columnStep);
        for (int n = 0; n < images; n++)
        {
            for (int row = 0; row < paddedRows; row++)
            {
                float* to = copy + (n * (long)paddedRows + row) * rowFloats;
                int inputRow = Gathered ? (firstRow + row) * rowStep : firstRow * StrideHeight + row - MarginTop;
                bool inside = (uint)inputRow < (uint)InputHeight;
                float* from = Input + ((firstImage + n) * (long)InputHeight + inputRow) * InputWidth * InputPitch + firstBlock * channels;
                for (int block = firstBlock; block < lastBlock; block++)
                {
                    if (!inside)
                    {
                        new Span<float>(to, rowFloats).Clear();
                    }
                    else
                    {
                        new Span<float>(to, firstColumn * channels).Clear();
                        CpuTapConvolution.CopyPixels(from, to + firstColumn * channels, lastColumn - firstColumn, columnStep * InputPitch, channels);
                        new Span<float>(to + lastColumn * channels, (PaddedWidth - lastColumn) * channels).Clear();
                    }

                    to += blockFloats;
                    from += channels;
                }
            }
        }
    }

    /// <summary>[block of eight channels][pixel][8].</summary>
    private readonly void CopyGradient(float* packed, float* gradient, int pixels, int firstBlock, int lastBlock)
    {
        for (int first = 0; first < pixels; first += 64)
        {
            int last = Math.Min(first + 64, pixels);
            for (int block = firstBlock; block < lastBlock; block++)
            {
                float* from = gradient + (long)first * GradientPitch + block * 8;
                float* to = packed + ((long)(block - firstBlock) * pixels + first) * 8;
                for (int p = first; p < last; p++)
                {
                    Vector256.Load(from).Store(to);
                    from += GradientPitch;
                    to += 8;
                }
            }
        }
    }
}

/// <summary>Adds the image chunks' partial filter gradients in order and writes them in the weights' pitched layout. One item is one vector of filter elements.</summary>
internal unsafe struct CombineFilterGradient : IParallelJob
{
    public CpuFilterGradient Source;

    public void Run(int item, int worker)
    {
        Source.Locate(item, out int row, out int column, out int channel);
        int channels = Source.InputChannels;
        int outputs = Source.OutputChannels;
        long chunk = (long)Source.Vectors * Source.OutputBlocks * 8 * 16;
        float* from = Source.Partials + item * (long)Source.OutputBlocks * 8 * 16;
        float* buffer = stackalloc float[16];
        for (int output = 0; output < outputs; output++)
        {
            float* to = Source.Weights + ((output * (long)Source.KernelHeight + row) * Source.KernelWidth + column) * Source.WeightPitch;
            Vector512<float> sum = Vector512.Load(from);
            for (int i = 1; i < Source.ImageChunks; i++)
            {
                sum += Vector512.Load(from + i * chunk);
            }

            from += 16;
            if (channel + 16 <= channels)
            {
                (Source.Accumulate ? Vector512.Load(to + channel) + sum : sum).Store(to + channel);
                Pad(to, channel + 16);
                continue;
            }

            sum.Store(buffer);
            int c = channel;
            int lastColumn = Source.Layout == FilterSource.Joined ? Source.KernelWidth : column + 1;
            for (int lane = 0, s = column; lane < 16 && s < lastColumn; lane++)
            {
                to[c] = Source.Accumulate ? to[c] + buffer[lane] : buffer[lane];
                if (++c == channels)
                {
                    Pad(to, c);
                    c = 0;
                    s++;
                    to += Source.WeightPitch;
                }
            }
        }
    }

    private readonly void Pad(float* tap, int channel)
    {
        if (channel == Source.InputChannels)
        {
            for (; channel < Source.WeightPitch; channel++)
            {
                tap[channel] = 0;
            }
        }
    }
}
