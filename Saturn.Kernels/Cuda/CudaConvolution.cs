using System.Diagnostics.CodeAnalysis;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// The convolution kernels of <c>kernels/convolution*.cu</c>: chooses between tensor cores, as the precision allows, products on tiles and the kernels for narrow groups, and a tile by the sizes. Neither
/// the device nor the tile changes a bit of the result, except of large linear layers where cuBLAS is present.
/// </summary>
internal sealed class CudaConvolution : IConvolutionKernels
{
    private const int TileThreads = 128;
    private const int WarpThreads = 256;
    private const int Lanes = 32;

    /// <summary>Fewer large tiles than this leave multiprocessors idle; then the output is divided into small ones.</summary>
    private const long LargeTilesWanted = 128;

    /// <summary>Groups narrower than this would leave most of a tile empty.</summary>
    private const int NarrowestTiledGroup = 8;

    private const int PixelsPerSlab = 128;

    private readonly INormalizationKernels normalization;
    private readonly CudaLinear? linear;
    private readonly CudaFilterGradient filterGradient;
    private readonly CudaTensorConvolution? tensor;
    private readonly CudaWarpgroupConvolution? warpgroup;
    private readonly TiledPass forward;
    private readonly TiledPass dataGradient;
    private readonly CudaKernel<GroupedConvolutionArguments> groupedForward;
    private readonly CudaKernel<GroupedConvolutionArguments> groupedDataGradient;

    /// <summary>Prepares the kernels; nothing is compiled before the first launch.</summary>
    /// <param name="context">The device.</param>
    /// <param name="normalization">The kernels that compute the moments of an output.</param>
    /// <param name="precision">In which arithmetic products run.</param>
    /// <param name="warpgroups">Whether bfloat16 goes by products of warpgroups where the device has them.</param>
    /// <param name="linear">Takes the large products of linear layers; null where this class's kernels run them all.</param>
    public CudaConvolution(CudaContext context, INormalizationKernels normalization, Precision precision, bool warpgroups, CudaLinear? linear)
    {
        this.normalization = normalization;
        this.linear = linear;
        tensor = precision == Precision.Fp32 ? null : new CudaTensorConvolution(context);

        // Nobody has measured these yet, so they run only where somebody asks for them; convolution_tensor.cu computes the same.
        bool byWarpgroups = precision == Precision.Bf16 && warpgroups && CudaWarpgroupConvolution.IsSupported(context);
        warpgroup = byWarpgroups ? new CudaWarpgroupConvolution(context) : null;
        CudaModule tiled = context.Module(KernelSource.BuiltIn("convolution.cu", typeof(ConvolutionArguments)));
        CudaModule grouped = context.Module(KernelSource.BuiltIn("convolution_grouped.cu", typeof(GroupedConvolutionArguments), typeof(GroupedFilterArguments)));
        forward = new TiledPass(tiled, "forward");
        dataGradient = new TiledPass(tiled, "dataGradient");
        groupedForward = grouped.Kernel<GroupedConvolutionArguments>("groupedForward");
        groupedDataGradient = grouped.Kernel<GroupedConvolutionArguments>("groupedDataGradient");
        filterGradient = new CudaFilterGradient(context, grouped, precision);
    }

    /// <inheritdoc/>
    public BatchStatistics Statistics(in ConvolutionShape shape) =>
        IsForWarpgroups(shape) ? CudaWarpgroupConvolution.Statistics(shape)
        : UsesTensorCores(shape) ? tensor.Statistics(shape)
        : BatchStatistics.Moments;

    /// <inheritdoc/>
    public void Forward(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer output, DeviceBuffer statistics)
    {
        // Without statistics, whose form is promised by the sizes alone, float32 images may go another way.
        if (linear is not null && statistics.IsNone && linear.Forward(shape, input, weight, bias, output))
        {
            return;
        }

        if (IsForWarpgroups(shape) && input.Type == ElementType.BFloat16)
        {
            warpgroup.Forward(shape, input, weight, bias, output, statistics);
            return;
        }

        if (UsesTensorCores(shape))
        {
            // Float32 among warpgroups keeps what Statistics promised.
            tensor.Forward(shape, input, weight, bias, output, statistics, IsForWarpgroups(shape) ? CudaWarpgroupConvolution.TilePixels : 0);
            return;
        }

        RequireFloat32(shape, input, weight, output);
        int pixels = shape.Output.Rows;
        if (FitsTiles(shape))
        {
            ConvolutionArguments arguments = Arguments(shape);
            arguments.Source = input.Address;
            arguments.Weight = weight.Address;
            arguments.Bias = bias.Address;
            arguments.Output = output.Address;
            arguments.SourceHeight = shape.InputHeight;
            arguments.SourceWidth = shape.InputWidth;
            arguments.SourcePitch = Shape.PitchOf(shape.InputChannels);
            arguments.SourceChannels = shape.GroupInputChannels;
            arguments.OutputHeight = shape.OutputHeight;
            arguments.OutputWidth = shape.OutputWidth;
            arguments.OutputPitch = Shape.PitchOf(shape.OutputChannels);
            arguments.OutputChannels = shape.GroupOutputChannels;
            Launch(forward, arguments, pixels, 1);
        }
        else
        {
            GroupedConvolutionArguments arguments = GroupedArguments(shape, pixels);
            arguments.Input = input.Address;
            arguments.Weight = weight.Address;
            arguments.Bias = bias.Address;
            arguments.Output = output.Address;
            groupedForward.Launch(arguments, GroupedGeometry(arguments, shape.OutputChannels));
        }

        if (!statistics.IsNone)
        {
            normalization.BatchMoments(pixels, shape.OutputChannels, output, statistics);
        }
    }

    /// <inheritdoc/>
    public bool FoldsNormalization(in ConvolutionShape shape) => UsesTensorCores(shape);

    /// <inheritdoc/>
    public void ForwardNormalized(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer saved, in NormalizationEpilogue epilogue, DeviceBuffer output,
        in ActivityReport activity)
    {
        if (!UsesTensorCores(shape))
        {
            throw new NotSupportedException("This convolution does not run on tensor cores and is normalised in a second pass; ask FoldsNormalization first.");
        }

        tensor.ForwardNormalized(shape, input, weight, bias, saved, epilogue, output, activity);
    }

    /// <inheritdoc/>
    public bool TakesBFloat16(in ConvolutionShape shape) => UsesTensorCores(shape);

    /// <inheritdoc/>
    public bool AddsShortcutGradients => true;

    /// <inheritdoc/>
    public void DataGradient(
        in ConvolutionShape shape, DeviceBuffer outputGradient, DeviceBuffer weight, DeviceBuffer inputGradient, GradientMode mode, in ShortcutGradient shortcut = default)
    {
        RequireShortcut(shortcut, inputGradient, mode);
        if (linear is not null && shortcut.IsNone && linear.DataGradient(shape, outputGradient, weight, inputGradient, mode))
        {
            return;
        }

        if (warpgroup is not null && outputGradient.Type == ElementType.BFloat16 && CudaWarpgroupConvolution.FitsGradient(shape))
        {
            warpgroup.DataGradient(shape, outputGradient, weight, inputGradient, mode, shortcut);
            return;
        }

        if (UsesTensorCores(shape))
        {
            tensor.DataGradient(shape, outputGradient, weight, inputGradient, mode, shortcut);
            return;
        }

        RequireFloat32(shape, outputGradient, weight, inputGradient);
        int accumulate = mode == GradientMode.Accumulate ? 1 : 0;
        if (FitsTiles(shape))
        {
            ConvolutionArguments arguments = Arguments(shape);
            arguments.Source = outputGradient.Address;
            arguments.Weight = weight.Address;
            arguments.Output = inputGradient.Address;
            arguments.SourceHeight = shape.OutputHeight;
            arguments.SourceWidth = shape.OutputWidth;
            arguments.SourcePitch = Shape.PitchOf(shape.OutputChannels);
            arguments.SourceChannels = shape.GroupOutputChannels;
            arguments.OutputHeight = shape.InputHeight;
            arguments.OutputWidth = shape.InputWidth;
            arguments.OutputPitch = Shape.PitchOf(shape.InputChannels);
            arguments.OutputChannels = shape.GroupInputChannels;
            arguments.Accumulate = accumulate;
            arguments.Residual = shortcut.Sum.Address;
            arguments.Map = shortcut.InverseMap.Address;
            arguments.ResidualPitch = Shape.PitchOf(Math.Max(shortcut.Channels, 1));

            // The pixels of a class, at most; see convolution.cu.
            int rows = (shape.InputHeight + shape.StrideHeight - 1) / shape.StrideHeight;
            int columns = (shape.InputWidth + shape.StrideWidth - 1) / shape.StrideWidth;
            Launch(dataGradient, arguments, checked(shape.Batch * rows * columns), shape.StrideHeight * shape.StrideWidth);
        }
        else
        {
            GroupedConvolutionArguments arguments = GroupedArguments(shape, shape.Input.Rows);
            arguments.Input = outputGradient.Address;
            arguments.Weight = weight.Address;
            arguments.Output = inputGradient.Address;
            arguments.Accumulate = accumulate;
            arguments.Residual = shortcut.Sum.Address;
            arguments.Map = shortcut.InverseMap.Address;
            arguments.ResidualPitch = Shape.PitchOf(Math.Max(shortcut.Channels, 1));
            groupedDataGradient.Launch(arguments, GroupedGeometry(arguments, shape.InputChannels));
        }
    }

    /// <inheritdoc/>
    public void FilterGradient(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer weightGradient, DeviceBuffer biasGradient, GradientMode mode)
    {
        if (!biasGradient.IsNone)
        {
            filterGradient.Bias(shape, outputGradient, biasGradient, mode);
        }

        if (linear is null || !linear.FilterGradient(shape, input, outputGradient, weightGradient, mode))
        {
            filterGradient.Filter(shape, FitsTiles(shape), input, outputGradient, weightGradient, mode);
        }
    }

    /// <inheritdoc/>
    public int FilterGradientParts(in ConvolutionShape shape, ElementType type) =>
        linear is not null && CudaLinear.Takes(shape, CudaLinear.FilterGradientProduct(shape), type) ? 1 : filterGradient.Parts(shape, type);

    /// <inheritdoc/>
    public void FilterGradientInParts(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer parts, DeviceBuffer biasGradient, GradientMode biasMode)
    {
        if (!biasGradient.IsNone)
        {
            filterGradient.Bias(shape, outputGradient, biasGradient, biasMode);
        }

        filterGradient.LeaveParts(shape, input, outputGradient, parts);
    }

    /// <inheritdoc/>
    public void CombineFilterGradient(in Shape weight, int count, DeviceBuffer parts, DeviceBuffer weightGradient) =>
        filterGradient.Combine(weight, count, weight.Pitch, parts, weightGradient, GradientMode.Overwrite);

    /// <summary>Whether warpgroups run the forward pass of bfloat16 images, with statistics in their form; not of a linear layer, whose images are single pixels, in float32 under any precision.</summary>
    [MemberNotNullWhen(true, nameof(warpgroup))]
    private bool IsForWarpgroups(in ConvolutionShape shape) =>
        warpgroup is not null && shape.InputHeight * shape.InputWidth > 1 && CudaTensorConvolution.Fits(shape) && CudaWarpgroupConvolution.FitsForward(shape);

    [MemberNotNullWhen(true, nameof(tensor))]
    private bool UsesTensorCores(in ConvolutionShape shape) => tensor is not null && CudaTensorConvolution.Fits(shape);

    private static void RequireShortcut(in ShortcutGradient shortcut, DeviceBuffer inputGradient, GradientMode mode)
    {
        if (!shortcut.IsNone && (mode != GradientMode.Overwrite || shortcut.InverseMap.IsNone || shortcut.Sum.Type != inputGradient.Type))
        {
            throw new ArgumentException(
                $"The gradient of a shortcut is added through an inverse map to a gradient of the same type that is overwritten, but the mode is {mode}, the map "
                + $"{(shortcut.InverseMap.IsNone ? "missing" : "there")}, and the types are {shortcut.Sum.Type} and {inputGradient.Type}; add an unmapped one in {GradientMode.Accumulate}.");
        }
    }

    private static void RequireFloat32(in ConvolutionShape shape, DeviceBuffer source, DeviceBuffer weight, DeviceBuffer result)
    {
        if (source.Type != ElementType.Float32 || weight.Type != ElementType.Float32 || result.Type != ElementType.Float32)
        {
            throw new NotSupportedException(
                $"A convolution of {shape.InputChannels} to {shape.OutputChannels} channels in {shape.Groups} group(s) by {shape.KernelHeight} × {shape.KernelWidth} filters runs in float32 on this "
                + $"device, but got a source in {source.Type}, a filter in {weight.Type} and a result in {result.Type}; cast them. (bfloat16 needs --precision bf16, groups of a multiple of 8 channels and "
                + "filters of at most 15 × 15.)");
        }
    }

    /// <summary>Whether every group starts on 16 bytes and fills a good part of a tile.</summary>
    private static bool FitsTiles(in ConvolutionShape shape) =>
        shape.Groups == 1
        || (shape.GroupInputChannels % 4 == 0 && shape.GroupOutputChannels % 4 == 0
            && Math.Min(shape.GroupInputChannels, shape.GroupOutputChannels) >= NarrowestTiledGroup);

    private static void Launch(in TiledPass pass, ConvolutionArguments arguments, int pixels, int classes)
    {
        int channels = arguments.OutputChannels;
        int independent = classes * arguments.Groups;
        bool large = channels > CudaTile.Small.Columns && CudaTile.Large.Count(pixels, channels) * independent >= LargeTilesWanted;
        (CudaTile tile, CudaKernel<ConvolutionArguments> kernel) =
            channels <= CudaTile.Narrow.Columns ? (CudaTile.Narrow, pass.Narrow)
            : large ? (CudaTile.Large, pass.Large)
            : (CudaTile.Small, pass.Small);
        arguments.ColumnTiles = tile.Across(channels);
        kernel.Launch(arguments, new LaunchGeometry(checked((uint)tile.Count(pixels, channels)), 1, (uint)independent, TileThreads));
    }

    private static ConvolutionArguments Arguments(in ConvolutionShape shape) => new()
    {
        Batch = shape.Batch,
        Groups = shape.Groups,
        KernelHeight = shape.KernelHeight,
        KernelWidth = shape.KernelWidth,
        WeightPitch = Shape.PitchOf(shape.GroupInputChannels),
        StrideHeight = shape.StrideHeight,
        StrideWidth = shape.StrideWidth,
        PaddingHeight = shape.PaddingHeight,
        PaddingWidth = shape.PaddingWidth,
        DilationHeight = shape.DilationHeight,
        DilationWidth = shape.DilationWidth,
    };

    private static GroupedConvolutionArguments GroupedArguments(in ConvolutionShape shape, int pixels) => new()
    {
        InputHeight = shape.InputHeight,
        InputWidth = shape.InputWidth,
        InputChannels = shape.InputChannels,
        InputPitch = Shape.PitchOf(shape.InputChannels),
        GroupInputs = shape.GroupInputChannels,
        OutputHeight = shape.OutputHeight,
        OutputWidth = shape.OutputWidth,
        OutputChannels = shape.OutputChannels,
        OutputPitch = Shape.PitchOf(shape.OutputChannels),
        GroupOutputs = shape.GroupOutputChannels,
        KernelHeight = shape.KernelHeight,
        KernelWidth = shape.KernelWidth,
        WeightPitch = Shape.PitchOf(shape.GroupInputChannels),
        StrideHeight = shape.StrideHeight,
        StrideWidth = shape.StrideWidth,
        PaddingHeight = shape.PaddingHeight,
        PaddingWidth = shape.PaddingWidth,
        DilationHeight = shape.DilationHeight,
        DilationWidth = shape.DilationWidth,
        Pixels = pixels,
        PixelsPerSlab = CudaFilterGradient.RowsPerSlab(pixels, PixelsPerSlab),
    };

    private static LaunchGeometry GroupedGeometry(in GroupedConvolutionArguments arguments, int channels) => new(
        (uint)((Shape.PitchOf(channels) + Lanes - 1) / Lanes), (uint)((arguments.Pixels + arguments.PixelsPerSlab - 1) / arguments.PixelsPerSlab), 1, WarpThreads);

    /// <summary>One pass with its three tiles.</summary>
    private readonly struct TiledPass(CudaModule module, string name)
    {
        public CudaKernel<ConvolutionArguments> Large { get; } = module.Kernel<ConvolutionArguments>(name + "Large");

        public CudaKernel<ConvolutionArguments> Small { get; } = module.Kernel<ConvolutionArguments>(name + "Small");

        public CudaKernel<ConvolutionArguments> Narrow { get; } = module.Kernel<ConvolutionArguments>(name + "Narrow");
    }
}
