using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Kernels.Cpu;

/// <summary>
/// The filter gradient as a sum of outer products: dW[k, r, (s, c)] += dY[pixel, k]·X[pixel shifted by row r, (s, c)]. The columns of one filter row and their channels are contiguous in
/// the padded image, so they form one long vector dimension and odd channel counts waste little. The pixels are divided into chunks of images whose partial sums are added in order;
/// large filters are divided by output channels instead.
/// </summary>
internal unsafe struct CpuFilterGradient : IParallelJob
{
    /// <summary>The source side; only its geometry and padding are used.</summary>
    public CpuTapConvolution Padding;
    public float* Gradient;
    public int GradientHeight;
    public int GradientWidth;
    public int GradientPitch;
    public int OutputChannels;
    public int GradientChannelOffset;
    public int KernelHeight;
    public int RowLength;
    public int RowOffset;
    public int DilatedTaps;
    public int TapOffset;
    public int ImageChunks;
    public int ChannelChunks;
    public int ImagesPerSlab;
    public bool Flat;
    public float* Partials;
    public int PartialRow;

    public void Run(int item, int worker)
    {
        int channelChunk = item % ChannelChunks;
        int imageChunk = item / ChannelChunks;
        int blocks = (OutputChannels + 7) / 8;
        int firstBlock = channelChunk * blocks / ChannelChunks;
        int lastBlock = (channelChunk + 1) * blocks / ChannelChunks;
        int firstImage = (int)((long)imageChunk * Padding.Batch / ImageChunks);
        int lastImage = (int)((long)(imageChunk + 1) * Padding.Batch / ImageChunks);
        float* padded = (float*)(Padding.Scratch + worker * Padding.ScratchBytes);
        float* partial = Partials + (long)imageChunk * blocks * 8 * PartialRow;
        new Span<float>(partial + (long)firstBlock * 8 * PartialRow, checked((lastBlock - firstBlock) * 8 * PartialRow)).Clear();
        for (int image = firstImage; image < lastImage; image += ImagesPerSlab)
        {
            int images = Math.Min(ImagesPerSlab, lastImage - image);
            float* source;
            if (Padding.Direct)
            {
                source = Padding.Source + (long)image * Padding.SourceHeight * Padding.SourceWidth * Padding.SourcePitch + Padding.SourceChannelOffset;
            }
            else
            {
                Padding.CopyPaddedTo(padded, image, images);
                source = padded;
            }

            Slab(source, image, images, partial, firstBlock, lastBlock);
        }
    }

    [SkipLocalsInit]
    private readonly void Slab(float* source, int image, int images, float* partial, int firstBlock, int lastBlock)
    {
        Vector512<float>* sums = stackalloc Vector512<float>[24];
        int stride = Padding.PixelStride;
        int rowFloats = (Padding.Direct ? Padding.SourceWidth : Padding.PaddedWidth) * stride;
        long imageFloats = (long)(Padding.Direct ? Padding.SourceHeight : Padding.PaddedHeight) * rowFloats;
        for (int block = firstBlock; block < lastBlock; block++)
        {
            float* gradient = Gradient + (long)image * GradientHeight * GradientWidth * GradientPitch + GradientChannelOffset + block * 8;
            for (int row = 0; row < KernelHeight; row++)
            {
                for (int tap = 0; tap < DilatedTaps; tap++)
                {
                    float* shifted = source + (long)row * RowOffset * rowFloats + tap * TapOffset;
                    float* target = partial + (long)block * 8 * PartialRow + (row * DilatedTaps + tap) * RowLength;
                    for (int element = 0; element < RowLength;)
                    {
                        int vectors = Math.Min(3, (RowLength - element + 15) / 16);
                        if ((RowLength - element + 15) / 16 == 4)
                        {
                            vectors = 2;
                        }

                        for (int i = 0; i < 8; i++)
                        {
                            for (int v = 0; v < vectors; v++)
                            {
                                sums[i * vectors + v] = CpuTapConvolution.LoadLanes(target + (long)i * PartialRow + element + v * 16, RowLength - element - v * 16);
                            }
                        }

                        Accumulate(gradient, shifted + element, images, rowFloats, imageFloats, stride, vectors, sums);
                        for (int i = 0; i < 8; i++)
                        {
                            for (int v = 0; v < vectors; v++)
                            {
                                CpuTapConvolution.StoreLanes(sums[i * vectors + v], target + (long)i * PartialRow + element + v * 16, RowLength - element - v * 16);
                            }
                        }

                        element += vectors * 16;
                    }
                }
            }
        }
    }

    private readonly void Accumulate(float* gradient, float* source, int images, int rowFloats, long imageFloats, int stride, int vectors, Vector512<float>* sums)
    {
        int pixels = GradientHeight * GradientWidth;
        OuterWalk walk = new()
        {
            GradientStep = GradientPitch,
            SourceStep = (nint)Padding.SourceColumnStep * stride,
            Images = images,
            GradientImage = (long)pixels * GradientPitch,
            SourceImage = imageFloats,
            Segments = GradientHeight,
            GradientSegment = (long)GradientWidth * GradientPitch,
            SourceSegment = (long)Padding.SourceRowStep * rowFloats,
            Length = GradientWidth,
        };
        if (Flat)
        {
            // 1×1 kernels of stride 1, and linear layers: all pixels of the slab are one segment.
            walk.Images = 1;
            walk.Segments = 1;
            walk.Length = images * pixels;
        }

        switch (vectors)
        {
            case 1:
                CpuConvolutionTiles.Outer1(gradient, source, walk, sums);
                break;
            case 2:
                CpuConvolutionTiles.Outer2(gradient, source, walk, sums);
                break;
            default:
                CpuConvolutionTiles.Outer3(gradient, source, walk, sums);
                break;
        }
    }
}

/// <summary>The pixels that a filter-gradient tile sums over: images of segments (rows of the output) of pixels, with the distances on both sides in floats.</summary>
internal struct OuterWalk
{
    public int Images;
    public long GradientImage;
    public long SourceImage;
    public int Segments;
    public long GradientSegment;
    public long SourceSegment;
    public int Length;
    public nint GradientStep;
    public nint SourceStep;
}
