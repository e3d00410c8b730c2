using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// Filter and bias gradients of <c>kernels/convolution_filter*.cu</c> and <c>kernels/convolution_grouped.cu</c>: divides the pixels by the sizes alone, and combines the partial sums
/// in ascending order.
/// </summary>
internal sealed class CudaFilterGradient
{
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

    private readonly (CudaTile Tile, int Threads, CudaKernel<FilterGradientArguments> Kernel) large;
    private readonly (CudaTile Tile, int Threads, CudaKernel<FilterGradientArguments> Kernel) small;
    private readonly (CudaTile Tile, int Threads, CudaKernel<FilterGradientArguments> Kernel) narrow;
    private readonly CudaContext context;
    private readonly CudaTensorFilterGradient? tensor;
    private readonly CudaKernel<CombineFilterArguments> combineFilter;
    private readonly CudaKernel<BiasGradientArguments> bias;
    private readonly CudaKernel<BiasGradientArguments> biasBf16;
    private readonly CudaKernel<CombineBiasArguments> combineBias;
    private readonly CudaKernel<GroupedFilterArguments> grouped;

    public CudaFilterGradient(CudaContext context, CudaModule groupedModule, Precision precision)
    {
        this.context = context;
        tensor = precision == Precision.Fp32 ? null : new CudaTensorFilterGradient(context);
        CudaModule module = context.Module(KernelSource.BuiltIn(
            "convolution_filter.cu", typeof(FilterGradientArguments), typeof(CombineFilterArguments), typeof(BiasGradientArguments), typeof(CombineBiasArguments)));
        large = (new CudaTile(64, 128), 128, module.Kernel<FilterGradientArguments>("filterGradientLarge"));
        small = (new CudaTile(32, 64), 128, module.Kernel<FilterGradientArguments>("filterGradientSmall"));
        narrow = (new CudaTile(16, 64), 64, module.Kernel<FilterGradientArguments>("filterGradientNarrow"));
        combineFilter = module.Kernel<CombineFilterArguments>("combineFilterGradient");
        bias = module.Kernel<BiasGradientArguments>("biasGradient");
        biasBf16 = module.Kernel<BiasGradientArguments>("biasGradientBf16");
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
        if (UsesTensorCores(shape, input, outputGradient))
        {
            FilterGradientPlan plan = FilterGradientPlan.Of(shape, input.Type);
            if (plan.Splits == 1 && mode == GradientMode.Overwrite)
            {
                tensor!.Launch(plan, Arguments(shape, input, outputGradient), shape, input.Type, weightGradient);
                return;
            }

            DeviceBuffer parts = context.Memory.Allocate(plan.Splits * shape.Weight.StorageCount * sizeof(float));
            tensor!.Launch(plan, Arguments(shape, input, outputGradient), shape, input.Type, parts);
            Combine(shape.Weight, plan.Splits, Shape.PitchOf(shape.GroupInputChannels), parts, weightGradient, mode);
            context.Memory.Free(parts);
            return;
        }

        int pixels = shape.Output.Rows;
        int depth = (shape.GroupInputChannels + 3) / 4 * 4;
        int columns = shape.KernelHeight * shape.KernelWidth * depth;
        long splitFloats = (long)shape.OutputChannels * columns;
        long fitting = Math.Max(1, MostPartialBytes / (splitFloats * sizeof(float)));
        int outputs = shape.GroupOutputChannels;
        (CudaTile tile, int threads, CudaKernel<FilterGradientArguments> kernel) =
            outputs <= narrow.Tile.Rows ? narrow : outputs <= small.Tile.Rows || columns <= small.Tile.Columns ? small : large;
        long tiles = tile.Count(outputs, columns);
        long wanted = tiled
            ? Math.Min((WantedBlocks + tiles * shape.Groups - 1) / (tiles * shape.Groups), pixels / LeastPixelsPerSplit)
            : Math.Min(GroupedSlabs, pixels / GroupedPixelsPerSlab);
        int most = (int)Math.Max(1, Math.Min(wanted, fitting));
        int pixelsPerSplit = ((pixels + most - 1) / most + DepthStep - 1) / DepthStep * DepthStep;
        int splits = (pixels + pixelsPerSplit - 1) / pixelsPerSplit;
        DeviceBuffer partials = context.Memory.Allocate(splits * splitFloats * sizeof(float));
        if (tiled)
        {
            FilterGradientArguments arguments = Arguments(shape, input, outputGradient);
            arguments.Partials = partials.Address;
            arguments.Depth = depth;
            arguments.Pixels = pixels;
            arguments.PixelsPerSplit = pixelsPerSplit;
            arguments.ColumnTiles = tile.Across(columns);
            kernel.Launch(arguments, new LaunchGeometry(checked((uint)tiles), (uint)splits, (uint)shape.Groups, (uint)threads));
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

        Combine(shape.Weight, splits, depth, partials, weightGradient, mode);
        context.Memory.Free(partials);
    }

    /// <summary>How many parts <see cref="LeaveParts"/> leaves; 1 where only a finished gradient can be had.</summary>
    public int Parts(in ConvolutionShape shape, ElementType type) => tensor is not null && FilterGradientPlan.Fits(shape) ? FilterGradientPlan.Of(shape, type).Splits : 1;

    /// <summary>∂w in parts, to be added in ascending order.</summary>
    public void LeaveParts(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer parts)
    {
        if (!UsesTensorCores(shape, input, outputGradient))
        {
            throw new InvalidOperationException("The filter gradient of this convolution is made in one piece; ask for the number of its parts first.");
        }

        tensor!.Launch(FilterGradientPlan.Of(shape, input.Type), Arguments(shape, input, outputGradient), shape, input.Type, parts);
    }

    /// <summary>Adds partial sums in ascending order.</summary>
    /// <param name="weight">The weight's shape.</param>
    /// <param name="splits">Partial sums.</param>
    /// <param name="partialPitch">Floats of a tap in them.</param>
    /// <param name="partials">[split][out][tap][partialPitch].</param>
    /// <param name="weightGradient">∂w.</param>
    /// <param name="mode">Overwrite or accumulate.</param>
    public void Combine(in Shape weight, int splits, int partialPitch, DeviceBuffer partials, DeviceBuffer weightGradient, GradientMode mode)
    {
        CombineFilterArguments combination = new()
        {
            Partials = partials.Address,
            WeightGradient = weightGradient.Address,
            SplitFloats = (long)weight.Rows * partialPitch,
            Splits = splits,
            Rows = weight.Rows,
            Channels = weight.Channels,
            PartialPitch = partialPitch,
            WeightPitch = weight.Pitch,
            Accumulate = mode == GradientMode.Accumulate ? 1 : 0,
        };
        combineFilter.Launch(combination, LaunchGeometry.Cover((long)combination.Rows * combination.WeightPitch / 4, Threads));
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
        (outputGradient.Type == ElementType.BFloat16 ? biasBf16 : bias).Launch(arguments, new LaunchGeometry((uint)((pitch + Lanes - 1) / Lanes), (uint)slabs, 1, Threads));
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

    // What is bf16 has no other kernel than those on tensor cores.
    private bool UsesTensorCores(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient)
    {
        bool uses = tensor is not null && FilterGradientPlan.Fits(shape);
        if (input.Type != outputGradient.Type || (input.Type != ElementType.Float32 && !(uses && input.Type == ElementType.BFloat16)))
        {
            throw new NotSupportedException(
                $"The filter gradient of a convolution takes x and ∂y both float32, or both bfloat16 under {nameof(Precision)}.{nameof(Precision.Bf16)} in groups of multiples of 8 channels, "
                + $"but got {input.Type} and {outputGradient.Type} in {shape.Groups} group(s) of {shape.GroupInputChannels} to {shape.GroupOutputChannels} channels.");
        }

        return uses;
    }

    /// <summary>Sizes and operands; how the gradient is divided is left to be filled in.</summary>
    internal static FilterGradientArguments Arguments(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient) => new()
    {
        Input = input.Address,
        OutputGradient = outputGradient.Address,
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
