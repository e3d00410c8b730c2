using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Diagnostics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// Convolutions of bfloat16 images on compute capability 9.0 by <c>kernels/convolution_wgmma.cu</c>: the forward pass, and the data gradient with stride 1. Chooses a tile by the sizes, describes images
/// and filters to the tensor memory accelerator, and launches.
/// </summary>
internal sealed class CudaWarpgroupConvolution
{
    /// <summary>Pixels of a tile, whatever its channels.</summary>
    public const int TilePixels = 128;

    private const int TileDepth = 64;
    private const int Threads = 288;

    // Patches of the output are 8 × 8, for filters of three rows.
    private const int PatchSide = 8;
    private const int PatchTaps = 3;

    private const long TilesThatFillADevice = 128;

    // What a copy of pixels can express: corners of 8 bits, taps up to 255 pixels away, steps up to 8.
    private const int FarthestTap = 255;
    private const int LongestStep = 8;

    private readonly CudaContext context;
    private readonly long tilesWanted;
    private readonly Tile[] forward;
    private readonly Tile[] gradient;

    /// <summary>Prepares the kernels; nothing is compiled before the first launch.</summary>
    /// <param name="context">The device.</param>
    /// <param name="tilesWanted">Fewer tiles than this leave multiprocessors idle; then narrower ones are taken.</param>
    public CudaWarpgroupConvolution(CudaContext context, long tilesWanted = TilesThatFillADevice)
    {
        this.context = context;
        this.tilesWanted = tilesWanted;
        CudaModule module = context.Module(KernelSource.BuiltIn("convolution_wgmma.cu", typeof(WarpgroupConvolutionArguments)));
        forward = [new Tile(module, "forward", 64, 4, 3, 6), new Tile(module, "forward", 128, 3, 2, 4), new Tile(module, "forward", 256, 4, 3, 5)];
        gradient = [new Tile(module, "gradient", 64, 4, 3, 6), new Tile(module, "gradient", 128, 3, 2, 4), new Tile(module, "gradient", 256, 4, 3, 5)];
    }

    /// <summary>Whether a device has the instructions.</summary>
    public static bool IsSupported(CudaContext context) => context.Driver.DeviceAttribute(context.Ordinal, CudaDeviceAttribute.ComputeCapabilityMajor) == 9;

    /// <summary>Whether the forward pass can be expressed.</summary>
    public static bool FitsForward(in ConvolutionShape shape) =>
        shape.Groups == 1 && shape.StrideHeight <= LongestStep && shape.StrideWidth <= LongestStep
        && Fits(-shape.PaddingHeight, shape.PaddingHeight, Span(shape.KernelHeight, shape.DilationHeight))
        && Fits(-shape.PaddingWidth, shape.PaddingWidth, Span(shape.KernelWidth, shape.DilationWidth));

    /// <summary>Whether the data gradient can be expressed.</summary>
    public static bool FitsGradient(in ConvolutionShape shape)
    {
        (int height, int width) = (Span(shape.KernelHeight, shape.DilationHeight), Span(shape.KernelWidth, shape.DilationWidth));
        return shape.Groups == 1 && shape.StrideHeight == 1 && shape.StrideWidth == 1
            && Fits(shape.PaddingHeight - height, height - shape.PaddingHeight, height) && Fits(shape.PaddingWidth - width, width - shape.PaddingWidth, width);
    }

    /// <summary>The form of <see cref="Forward"/>'s statistics.</summary>
    public static BatchStatistics Statistics(in ConvolutionShape shape) => new(Across(shape.Output.Rows, TilePixels), TilePixels);

    /// <summary>Whether a tile of <see cref="Forward"/> is two patches of 8 × 8 pixels rather than 128 pixels in their order.</summary>
    public static bool HasPatches(in ConvolutionShape shape) => HasPatches(shape, shape.OutputHeight, shape.OutputWidth);

    /// <summary>Forward pass on bfloat16 images and filters, in the layout of <see cref="IConvolutionKernels.Forward"/>; the bias is float32 or None.</summary>
    /// <param name="shape">The sizes.</param>
    /// <param name="input">x.</param>
    /// <param name="weight">w.</param>
    /// <param name="bias">One float an output channel, or None.</param>
    /// <param name="output">y, overwritten.</param>
    /// <param name="statistics">If not None, receives statistics of the stored values, in the form of <see cref="Statistics"/>.</param>
    public void Forward(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer output, DeviceBuffer statistics)
    {
        Pass pass = new(
            shape.Batch, shape.InputHeight, shape.InputWidth, shape.InputChannels, shape.OutputHeight, shape.OutputWidth, shape.OutputChannels,
            shape.StrideHeight, shape.StrideWidth, shape.PaddingHeight, shape.PaddingWidth);
        Launch(shape, pass, forward, input, weight, output.Type, new WarpgroupConvolutionArguments { Output = output.Address, Bias = bias.Address, Statistics = statistics.Address });
    }

    /// <summary>Data gradient with stride 1 on bfloat16 images and filters: ∂x, or what is there plus ∂x, or ∂x and what a mapped shortcut brings.</summary>
    public void DataGradient(
        in ConvolutionShape shape, DeviceBuffer outputGradient, DeviceBuffer weight, DeviceBuffer inputGradient, GradientMode mode, in ShortcutGradient shortcut = default)
    {
        Pass pass = new(
            shape.Batch, shape.OutputHeight, shape.OutputWidth, shape.OutputChannels, shape.InputHeight, shape.InputWidth, shape.InputChannels, 1, 1,
            Span(shape.KernelHeight, shape.DilationHeight) - shape.PaddingHeight, Span(shape.KernelWidth, shape.DilationWidth) - shape.PaddingWidth);
        Launch(
            shape, pass, gradient, outputGradient, weight, inputGradient.Type,
            new WarpgroupConvolutionArguments
            {
                Output = inputGradient.Address,
                Residual = shortcut.Sum.Address,
                Map = shortcut.InverseMap.Address,
                Accumulate = mode == GradientMode.Accumulate ? 1 : 0,
                ResidualPitch = Shape.PitchOf(Math.Max(shortcut.Channels, 1)),
            });
    }

    private void Launch(in ConvolutionShape shape, in Pass pass, Tile[] tiles, DeviceBuffer image, DeviceBuffer filter, ElementType outputType, WarpgroupConvolutionArguments arguments)
    {
        if (image.Type != ElementType.BFloat16 || filter.Type != ElementType.BFloat16 || outputType != ElementType.BFloat16)
        {
            throw new ArgumentException(
                $"A convolution by warpgroups reads and writes bfloat16, but got a source in {image.Type}, a filter in {filter.Type} and a result in {outputType}; cast them, or leave "
                + $"{EnvironmentVariable.Wgmma.Name} unset.");
        }

        int pixels = checked(pass.Batch * pass.OutputHeight * pass.OutputWidth);
        Tile tile = Choose(tiles, pixels, pass.OutputChannels);
        bool isGradient = tiles == gradient;
        context.MakeCurrent();
        bool patches = HasPatches(shape, pass.OutputHeight, pass.OutputWidth);
        arguments.Image = patches ? DescribePatches(pass, image) : DescribeImage(shape, pass, image);
        arguments.Filter = DescribeFilter(shape, filter, isGradient ? TileDepth : tile.Channels);
        arguments.Pixels = pixels;
        arguments.Height = pass.OutputHeight;
        arguments.Width = pass.OutputWidth;
        arguments.Channels = pass.OutputChannels;
        arguments.Pitch = Shape.PitchOf(pass.OutputChannels);
        arguments.Depth = pass.Channels;
        arguments.KernelHeight = shape.KernelHeight;
        arguments.KernelWidth = shape.KernelWidth;
        arguments.StrideHeight = pass.StrideHeight;
        arguments.StrideWidth = pass.StrideWidth;
        arguments.FirstRow = -pass.PaddingHeight;
        arguments.FirstColumn = -pass.PaddingWidth;
        arguments.DilationHeight = shape.DilationHeight;
        arguments.DilationWidth = shape.DilationWidth;
        arguments.ColumnTiles = Across(pass.OutputChannels, tile.Channels);
        long blocks = (long)Across(pixels, TilePixels) * arguments.ColumnTiles;
        if (patches)
        {
            tile.PatchKernel.Launch(arguments, LaunchGeometry.Linear(blocks, Threads, tile.PatchSharedBytes));
        }
        else
        {
            tile.Kernel.Launch(arguments, LaunchGeometry.Linear(blocks, Threads, tile.SharedBytes));
        }
    }

    // Whether the output falls into patches, whose pixels a filter of three rows reads once a column of taps. In the gradient the strides are 1.
    private static bool HasPatches(in ConvolutionShape shape, int outputHeight, int outputWidth) =>
        shape.KernelHeight == PatchTaps && shape.DilationHeight == 1 && shape.DilationWidth == 1 && shape.StrideHeight == 1 && shape.StrideWidth == 1
        && outputHeight % PatchSide == 0 && outputWidth % PatchSide == 0;

    private TensorMap DescribePatches(in Pass pass, DeviceBuffer image)
    {
        ulong pixel = (ulong)Shape.PitchOf(pass.Channels) * sizeof(ushort);
        ulong row = pixel * (ulong)pass.Width;
        TensorMapSource source = new(
            TensorMapElement.BFloat16, image.Address, [(ulong)pass.Channels, (ulong)pass.Width, (ulong)pass.Height, (ulong)pass.Batch], [pixel, row, row * (ulong)pass.Height], [1, 1, 1, 1],
            TensorMapSwizzle.Bytes128);
        return context.Driver.EncodeTensorMap(source, [TileDepth, PatchSide, PatchSide + PatchTaps - 1, 1]);
    }

    private TensorMap DescribeImage(in ConvolutionShape shape, in Pass pass, DeviceBuffer image)
    {
        ulong pixel = (ulong)Shape.PitchOf(pass.Channels) * sizeof(ushort);
        ulong row = pixel * (ulong)pass.Width;
        TensorMapSource source = new(
            TensorMapElement.BFloat16, image.Address, [(ulong)pass.Channels, (ulong)pass.Width, (ulong)pass.Height, (ulong)pass.Batch], [pixel, row, row * (ulong)pass.Height],
            [1, (uint)pass.StrideWidth, (uint)pass.StrideHeight, 1], TensorMapSwizzle.Bytes128);
        return context.Driver.EncodeTensorMap(source, new PixelBox(
            -pass.PaddingWidth, -pass.PaddingHeight, pass.PaddingWidth - Span(shape.KernelWidth, shape.DilationWidth), pass.PaddingHeight - Span(shape.KernelHeight, shape.DilationHeight),
            TileDepth, TilePixels));
    }

    private TensorMap DescribeFilter(in ConvolutionShape shape, DeviceBuffer filter, int outputs)
    {
        int taps = shape.KernelHeight * shape.KernelWidth;
        ulong tap = (ulong)Shape.PitchOf(shape.InputChannels) * sizeof(ushort);
        TensorMapSource source = new(
            TensorMapElement.BFloat16, filter.Address, [(ulong)shape.InputChannels, (ulong)taps, (ulong)shape.OutputChannels], [tap, tap * (ulong)taps], [1, 1, 1], TensorMapSwizzle.Bytes128);
        return context.Driver.EncodeTensorMap(source, [TileDepth, 1, (uint)outputs]);
    }

    // The tile that leaves the fewest columns empty; of equals the widest that leaves enough tiles to fill a device.
    private Tile Choose(Tile[] tiles, int pixels, int channels)
    {
        Tile best = tiles[0];
        foreach (Tile tile in tiles.AsSpan(1))
        {
            int across = Across(channels, tile.Channels);
            if (across * tile.Channels <= Across(channels, best.Channels) * best.Channels && (long)Across(pixels, TilePixels) * across >= tilesWanted)
            {
                best = tile;
            }
        }

        return best;
    }

    private static bool Fits(int first, int padding, int span) =>
        first is >= sbyte.MinValue and <= sbyte.MaxValue && padding - span is >= sbyte.MinValue and <= sbyte.MaxValue && span <= FarthestTap;

    /// <summary>Pixels from a filter's first tap to its last.</summary>
    private static int Span(int kernel, int dilation) => (kernel - 1) * dilation;

    private static int Across(int count, int size) => (count + size - 1) / size;

    /// <summary>A convolution as the kernel sees it: of a source with depth to an output.</summary>
    private readonly record struct Pass(
        int Batch, int Height, int Width, int Channels, int OutputHeight, int OutputWidth, int OutputChannels, int StrideHeight, int StrideWidth, int PaddingHeight, int PaddingWidth);

    /// <summary>A tile's two kernels, and their shared memory: stages, their barriers, and room to begin at a multiple of 1024 bytes.</summary>
    /// <param name="module">The compiled file.</param>
    /// <param name="pass">"forward" or "gradient".</param>
    /// <param name="channels">Channels of a tile.</param>
    /// <param name="stages">Stages of image and filter together.</param>
    /// <param name="imageStages">Among patches, stages of the image alone.</param>
    /// <param name="filterStages">And of the filter.</param>
    private sealed class Tile(CudaModule module, string pass, int channels, int stages, int imageStages, int filterStages)
    {
        private const int RowBytes = 2 * TileDepth;
        private const int BarrierBytes = 8;
        private const int PatchBytes = (PatchSide + PatchTaps - 1) * PatchSide * RowBytes;

        public int Channels => channels;

        public int SharedBytes { get; } = stages * ((TilePixels + channels) * RowBytes + 2 * BarrierBytes) + 8 * RowBytes;

        public int PatchSharedBytes { get; } = imageStages * (2 * PatchBytes + 2 * BarrierBytes) + filterStages * (channels * RowBytes + 2 * BarrierBytes) + 8 * RowBytes;

        public CudaKernel<WarpgroupConvolutionArguments> Kernel { get; } =
            module.Kernel<WarpgroupConvolutionArguments>($"{pass}{channels}", stages * ((TilePixels + channels) * RowBytes + 2 * BarrierBytes) + 8 * RowBytes);

        public CudaKernel<WarpgroupConvolutionArguments> PatchKernel { get; } = module.Kernel<WarpgroupConvolutionArguments>(
            $"{pass}Patches{channels}", imageStages * (2 * PatchBytes + 2 * BarrierBytes) + filterStages * (channels * RowBytes + 2 * BarrierBytes) + 8 * RowBytes);
    }
}

/// <summary>Arguments of convolutions by warpgroups: see <c>kernels/convolution_wgmma.cu</c>.</summary>
[KernelArguments("convolution_wgmma.cu")]
[StructLayout(LayoutKind.Sequential, Size = 384)]
internal struct WarpgroupConvolutionArguments
{
    public TensorMap Image;
    public TensorMap Filter;
    public nint Output;
    public nint Bias;
    public nint Statistics;
    public nint Residual;
    public nint Map;
    public int Pixels;
    public int Height;
    public int Width;
    public int Channels;
    public int Pitch;
    public int Depth;
    public int KernelHeight;
    public int KernelWidth;
    public int StrideHeight;
    public int StrideWidth;
    public int FirstRow;
    public int FirstColumn;
    public int DilationHeight;
    public int DilationWidth;
    public int ColumnTiles;
    public int Accumulate;
    public int ResidualPitch;
}
