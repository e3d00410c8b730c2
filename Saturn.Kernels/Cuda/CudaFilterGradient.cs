using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// Filter and bias gradients of <c>kernels/convolution_filter.cu</c> and <c>kernels/convolution_grouped.cu</c>: divides the pixels by the sizes alone, and combines the partial sums
/// in ascending order.
/// </summary>
internal sealed class CudaFilterGradient
{
    private const int TileThreads = 128;
    private const int Threads = 256;
    private const int Lanes = 32;
    private const int MaximumGridY = 65535;

    /// <summary>Blocks that a gradient is divided into where there are pixels enough.</summary>
    private const int WantedBlocks = 512;

    private const int LeastPixelsPerSplit = 128;
    private const long MostPartialBytes = 64L << 20;
    private const int DepthStep = 16;

    private const int BiasRowsPerSlab = 1024;
    private const int GroupedPixelsPerSlab = 1024;
    private const int GroupedSlabs = 128;

    private static readonly CudaTile Large = new(64, 128);
    private static readonly CudaTile Small = new(32, 64);

    private readonly CudaContext context;
    private readonly CudaKernel<FilterGradientArguments> large;
    private readonly CudaKernel<FilterGradientArguments> small;
    private readonly CudaKernel<CombineFilterArguments> combineFilter;
    private readonly CudaKernel<BiasGradientArguments> bias;
    private readonly CudaKernel<CombineBiasArguments> combineBias;
    private readonly CudaKernel<GroupedFilterArguments> grouped;

    public CudaFilterGradient(CudaContext context, CudaModule groupedModule)
    {
        this.context = context;
        CudaModule module = context.Module(KernelSource.BuiltIn(
            "convolution_filter.cu", typeof(FilterGradientArguments), typeof(CombineFilterArguments), typeof(BiasGradientArguments), typeof(CombineBiasArguments)));
        large = module.Kernel<FilterGradientArguments>("filterGradientLarge");
        small = module.Kernel<FilterGradientArguments>("filterGradientSmall");
        combineFilter = module.Kernel<CombineFilterArguments>("combineFilterGradient");
        bias = module.Kernel<BiasGradientArguments>("biasGradient");
        combineBias = module.Kernel<CombineBiasArguments>("combineBiasGradient");
        grouped = groupedModule.Kernel<GroupedFilterArguments>("groupedFilterGradient");
    }

    /// <summary>Rows of a slab: the wanted number, or a multiple of it where the slabs would not fit a grid.</summary>
    public static int RowsPerSlab(int rows, int wanted) => wanted * Math.Max(1, (int)((rows + (long)wanted * MaximumGridY - 1) / ((long)wanted * MaximumGridY)));

    /// <summary>∂w.</summary>
    /// <param name="shape">The convolution.</param>
    /// <param name="tiled">Whether groups start on 16 bytes and are wide enough for tiles.</param>
    /// <param name="input">x.</param>
    /// <param name="outputGradient">∂y.</param>
    /// <param name="weightGradient">∂w.</param>
    /// <param name="mode">Overwrite or accumulate.</param>
    public void Filter(in ConvolutionShape shape, bool tiled, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer weightGradient, GradientMode mode)
    {
        int pixels = shape.Output.Rows;
        int taps = shape.KernelHeight * shape.KernelWidth;
        int columns = taps * ((shape.GroupInputChannels + 3) / 4 * 4);
        long splitFloats = (long)shape.OutputChannels * columns;
        long fitting = Math.Max(1, MostPartialBytes / (splitFloats * sizeof(float)));
        bool useLarge = shape.GroupOutputChannels > Small.Rows && columns > Small.Columns;
        CudaTile tile = useLarge ? Large : Small;
        long tiles = tile.Count(shape.GroupOutputChannels, columns);
        long wanted = tiled
            ? Math.Min((WantedBlocks + tiles * shape.Groups - 1) / (tiles * shape.Groups), pixels / LeastPixelsPerSplit)
            : Math.Min(GroupedSlabs, pixels / GroupedPixelsPerSlab);
        int most = (int)Math.Max(1, Math.Min(wanted, fitting));
        int pixelsPerSplit = ((pixels + most - 1) / most + DepthStep - 1) / DepthStep * DepthStep;
        int splits = (pixels + pixelsPerSplit - 1) / pixelsPerSplit;
        DeviceBuffer partials = context.Memory.Allocate(splits * splitFloats * sizeof(float));
        if (tiled)
        {
            FilterGradientArguments arguments = Arguments(shape, input, outputGradient, partials);
            arguments.Pixels = pixels;
            arguments.PixelsPerSplit = pixelsPerSplit;
            arguments.ColumnTiles = tile.Across(columns);
            (useLarge ? large : small).Launch(arguments, new LaunchGeometry(checked((uint)tiles), (uint)splits, (uint)shape.Groups, TileThreads));
        }
        else
        {
            GroupedFilterArguments arguments = GroupedArguments(shape, input, outputGradient, partials);
            arguments.Elements = columns;
            arguments.Pixels = pixels;
            arguments.PixelsPerSlab = pixelsPerSplit;
            uint channelBlocks = (uint)((shape.OutputChannels + Lanes - 1) / Lanes);
            grouped.Launch(arguments, new LaunchGeometry(channelBlocks, (uint)splits, (uint)Math.Min(columns, MaximumGridY), Threads));
        }

        CombineFilterArguments combination = new()
        {
            Partials = partials.Address,
            WeightGradient = weightGradient.Address,
            SplitFloats = splitFloats,
            Splits = splits,
            Rows = shape.OutputChannels * taps,
            Channels = shape.GroupInputChannels,
            WeightPitch = Shape.PitchOf(shape.GroupInputChannels),
            Accumulate = mode == GradientMode.Accumulate ? 1 : 0,
        };
        combineFilter.Launch(combination, LaunchGeometry.Cover((long)combination.Rows * combination.WeightPitch / 4, Threads));
        context.Memory.Free(partials);
    }

    /// <summary>∂b.</summary>
    public void Bias(in ConvolutionShape shape, DeviceBuffer outputGradient, DeviceBuffer biasGradient, GradientMode mode)
    {
        int rows = shape.Output.Rows;
        int pitch = Shape.PitchOf(shape.OutputChannels);
        int rowsPerSlab = RowsPerSlab(rows, BiasRowsPerSlab);
        int slabs = (rows + rowsPerSlab - 1) / rowsPerSlab;
        DeviceBuffer partials = context.Memory.Allocate((long)slabs * pitch * sizeof(double));
        BiasGradientArguments arguments = new()
        {
            OutputGradient = outputGradient.Address,
            Partials = partials.Address,
            Rows = rows,
            RowsPerSlab = rowsPerSlab,
            Pitch = pitch,
        };
        bias.Launch(arguments, new LaunchGeometry((uint)((pitch + Lanes - 1) / Lanes), (uint)slabs, 1, Threads));
        CombineBiasArguments combination = new()
        {
            Partials = partials.Address,
            BiasGradient = biasGradient.Address,
            Slabs = slabs,
            Channels = shape.OutputChannels,
            Pitch = pitch,
            Accumulate = mode == GradientMode.Accumulate ? 1 : 0,
        };
        combineBias.Launch(combination, LaunchGeometry.Linear((pitch + Threads - 1) / Threads, Threads));
        context.Memory.Free(partials);
    }

    private static FilterGradientArguments Arguments(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer partials) => new()
    {
        Input = input.Address,
        OutputGradient = outputGradient.Address,
        Partials = partials.Address,
        InputHeight = shape.InputHeight,
        InputWidth = shape.InputWidth,
        InputPitch = Shape.PitchOf(shape.InputChannels),
        InputChannels = shape.GroupInputChannels,
        OutputHeight = shape.OutputHeight,
        OutputWidth = shape.OutputWidth,
        OutputPitch = Shape.PitchOf(shape.OutputChannels),
        OutputChannels = shape.GroupOutputChannels,
        Groups = shape.Groups,
        KernelHeight = shape.KernelHeight,
        KernelWidth = shape.KernelWidth,
        StrideHeight = shape.StrideHeight,
        StrideWidth = shape.StrideWidth,
        PaddingHeight = shape.PaddingHeight,
        PaddingWidth = shape.PaddingWidth,
        DilationHeight = shape.DilationHeight,
        DilationWidth = shape.DilationWidth,
    };

    private static GroupedFilterArguments GroupedArguments(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer partials) => new()
    {
        Input = input.Address,
        OutputGradient = outputGradient.Address,
        Partials = partials.Address,
        InputHeight = shape.InputHeight,
        InputWidth = shape.InputWidth,
        InputPitch = Shape.PitchOf(shape.InputChannels),
        GroupInputs = shape.GroupInputChannels,
        OutputHeight = shape.OutputHeight,
        OutputWidth = shape.OutputWidth,
        OutputChannels = shape.OutputChannels,
        OutputPitch = Shape.PitchOf(shape.OutputChannels),
        GroupOutputs = shape.GroupOutputChannels,
        KernelWidth = shape.KernelWidth,
        StrideHeight = shape.StrideHeight,
        StrideWidth = shape.StrideWidth,
        PaddingHeight = shape.PaddingHeight,
        PaddingWidth = shape.PaddingWidth,
        DilationHeight = shape.DilationHeight,
        DilationWidth = shape.DilationWidth,
    };
}
