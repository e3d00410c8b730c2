using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The convolutions of <c>kernels/convolution_tensor.cu</c>: forward pass and data gradient on tensor cores, for images in bfloat16 or, rounded to TF32 on the way, in float32.</summary>
internal sealed class CudaTensorConvolution
{
    private const int LargestKernel = 15;

    private readonly CudaContext context;
    private readonly int? tile;
    private readonly CudaKernel<TensorConvolutionArguments>[] forwardBf16;
    private readonly CudaKernel<TensorConvolutionArguments>[] forwardTf32;
    private readonly CudaKernel<TensorConvolutionArguments>[] dataGradientBf16;
    private readonly CudaKernel<TensorConvolutionArguments>[] dataGradientTf32;

    /// <summary>Prepares the kernels; nothing is compiled before the first launch.</summary>
    /// <param name="context">Where they run.</param>
    /// <param name="tile">The tile for all sizes, a number in <see cref="TensorConvolutionTile.All"/>; by default the one that suits a size.</param>
    public CudaTensorConvolution(CudaContext context, int? tile = null)
    {
        this.context = context;
        this.tile = tile;
        CudaModule module = context.Module(KernelSource.BuiltIn("convolution_tensor.cu", typeof(TensorConvolutionArguments)));
        forwardBf16 = Kernels("forward", "Bf16");
        forwardTf32 = Kernels("forward", "Tf32");
        dataGradientBf16 = Kernels("dataGradient", "Bf16");
        dataGradientTf32 = Kernels("dataGradient", "Tf32");

        CudaKernel<TensorConvolutionArguments>[] Kernels(string pass, string element) =>
            [.. TensorConvolutionTile.All.Select(tile => module.Kernel<TensorConvolutionArguments>(pass + tile.Name + element, tile.SharedBytes))];
    }

    /// <summary>Whether the kernels take a convolution: groups that start on 16 bytes of bfloat16, and filters whose taps fit a word.</summary>
    public static bool Fits(in ConvolutionShape shape) =>
        (shape.Groups == 1 || (shape.GroupInputChannels % 8 == 0 && shape.GroupOutputChannels % 8 == 0))
        && shape.KernelHeight <= LargestKernel && shape.KernelWidth <= LargestKernel;

    /// <summary>The form of <see cref="Forward"/>'s statistics.</summary>
    public BatchStatistics Statistics(in ConvolutionShape shape)
    {
        TensorConvolutionChoice choice = ForwardChoice(shape);
        return new BatchStatistics(checked((int)choice.Down), TensorConvolutionTile.All[choice.Tile].Rows);
    }

    /// <summary>y, and the statistics of its tiles if they are wanted.</summary>
    /// <param name="shape">The sizes.</param>
    /// <param name="input">x.</param>
    /// <param name="weight">w.</param>
    /// <param name="bias">One float an output channel, or None.</param>
    /// <param name="output">y, overwritten.</param>
    /// <param name="statistics">Receives them, or None.</param>
    /// <param name="rowsOfTile">Pixels of a tile that statistics of another form than <see cref="Statistics"/> were promised for, or 0.</param>
    public void Forward(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer output, DeviceBuffer statistics, int rowsOfTile = 0)
    {
        ElementType type = TypeOf(input, weight, output);
        TensorConvolutionArguments arguments = ForwardArguments(shape, input, weight, bias, output);
        arguments.Statistics = statistics.Address;
        LaunchForward(shape, type, arguments, rowsOfTile);
    }

    /// <inheritdoc cref="IConvolutionKernels.ForwardNormalized"/>
    public void ForwardNormalized(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer saved, in NormalizationEpilogue epilogue, DeviceBuffer output,
        in ActivityReport activity)
    {
        ElementType type = TypeOf(input, weight, output);
        if (!epilogue.Residual.IsNone && epilogue.Residual.Type != type)
        {
            throw new ArgumentException($"The residual of a convolution in {type} must have the same type, but has {epilogue.Residual.Type}; cast it.", nameof(epilogue));
        }

        TensorConvolutionArguments arguments = ForwardArguments(shape, input, weight, bias, output);
        arguments.Saved = saved.Address;
        arguments.Residual = epilogue.Residual.Address;
        arguments.Map = epilogue.Map.Address;
        arguments.ResidualPitch = Shape.PitchOf(Math.Max(epilogue.ResidualChannels, 1));
        arguments.Rectifies = epilogue.Activation.Kind == ActivationKind.Identity ? 0 : 1;
        arguments.Slope = epilogue.Activation.Kind == ActivationKind.LeakyRelu ? epilogue.Activation.Parameter : 0;
        arguments.Activity = Activity.Begin(context, activity, shape.OutputChannels);
        LaunchForward(shape, type, arguments);
    }

    /// <summary>∂x, or what is there plus ∂x, or ∂x and what a mapped shortcut brings.</summary>
    public void DataGradient(
        in ConvolutionShape shape, DeviceBuffer outputGradient, DeviceBuffer weight, DeviceBuffer inputGradient, GradientMode mode, in ShortcutGradient shortcut)
    {
        ElementType type = TypeOf(outputGradient, weight, inputGradient);
        TensorConvolutionArguments arguments = Arguments(shape);
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
        arguments.Accumulate = mode == GradientMode.Accumulate ? 1 : 0;
        arguments.Residual = shortcut.Sum.Address;
        arguments.Map = shortcut.InverseMap.Address;
        arguments.ResidualPitch = Shape.PitchOf(Math.Max(shortcut.Channels, 1));

        // The pixels of a class, at most; see axis.cuh.
        int rows = (shape.InputHeight + shape.StrideHeight - 1) / shape.StrideHeight;
        int columns = (shape.InputWidth + shape.StrideWidth - 1) / shape.StrideWidth;
        int independent = checked(shape.StrideHeight * shape.StrideWidth * shape.Groups);
        TensorConvolutionChoice choice = Choose((long)shape.Batch * rows * columns, shape.GroupInputChannels, independent);
        Launch(type == ElementType.BFloat16 ? dataGradientBf16 : dataGradientTf32, choice, independent, arguments);
    }

    private void LaunchForward(in ConvolutionShape shape, ElementType type, in TensorConvolutionArguments arguments, int rowsOfTile = 0) =>
        Launch(type == ElementType.BFloat16 ? forwardBf16 : forwardTf32, ForwardChoice(shape, rowsOfTile), shape.Groups, arguments);

    private TensorConvolutionChoice ForwardChoice(in ConvolutionShape shape, int rowsOfTile = 0) =>
        Choose((long)shape.Batch * shape.OutputHeight * shape.OutputWidth, shape.GroupOutputChannels, shape.Groups, rowsOfTile);

    private TensorConvolutionChoice Choose(long rows, int columns, int independent, int rowsOfTile = 0) =>
        tile is int number ? TensorConvolutionTile.All[number].Cover(number, rows, columns) : TensorConvolutionTile.Choose(rows, columns, independent, rowsOfTile);

    private static void Launch(CudaKernel<TensorConvolutionArguments>[] kernels, in TensorConvolutionChoice choice, int independent, TensorConvolutionArguments arguments)
    {
        arguments.ColumnTiles = choice.Across;
        arguments.TileWidth = choice.Width;
        kernels[choice.Tile].Launch(
            arguments,
            new LaunchGeometry(
                checked((uint)(choice.Down * choice.Across)), 1, (uint)independent, TensorConvolutionTile.Threads, SharedBytes: (uint)TensorConvolutionTile.All[choice.Tile].SharedBytes));
    }

    private static TensorConvolutionArguments ForwardArguments(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer output)
    {
        TensorConvolutionArguments arguments = Arguments(shape);
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
        return arguments;
    }

    private static TensorConvolutionArguments Arguments(in ConvolutionShape shape) => new()
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

    private static ElementType TypeOf(DeviceBuffer source, DeviceBuffer weight, DeviceBuffer output) =>
        source.Type == weight.Type && source.Type == output.Type && source.Type is ElementType.Float32 or ElementType.BFloat16
            ? source.Type
            : throw new ArgumentException(
                $"A convolution on tensor cores reads and writes all in float32 or all in bfloat16, but got a source in {source.Type}, a filter in {weight.Type} and a result in {output.Type}; "
                + "cast them, or hand in the bfloat16 copy of the filter.");
}

/// <summary>Arguments of the convolutions on tensor cores: see <c>kernels/convolution_tensor.cu</c>.</summary>
[KernelArguments("convolution_tensor.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct TensorConvolutionArguments
{
    public nint Source;
    public nint Weight;
    public nint Bias;
    public nint Output;
    public nint Statistics;
    public nint Saved;
    public nint Residual;
    public nint Map;
    public Activity Activity;
    public int Batch;
    public int SourceHeight;
    public int SourceWidth;
    public int SourcePitch;
    public int SourceChannels;
    public int OutputHeight;
    public int OutputWidth;
    public int OutputPitch;
    public int OutputChannels;
    public int Groups;
    public int KernelHeight;
    public int KernelWidth;
    public int WeightPitch;
    public int StrideHeight;
    public int StrideWidth;
    public int PaddingHeight;
    public int PaddingWidth;
    public int DilationHeight;
    public int DilationWidth;
    public int ColumnTiles;
    public int TileWidth;
    public int Accumulate;
    public int ResidualPitch;
    public int Rectifies;
    public float Slope;
}
