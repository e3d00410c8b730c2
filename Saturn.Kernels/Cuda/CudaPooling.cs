using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The pooling kernels of <c>kernels/pooling.cu</c>.</summary>
internal sealed class CudaPooling : IPoolingKernels
{
    private readonly TypedKernel<PoolingArguments> maximumForward;
    private readonly TypedKernel<PoolingArguments> maximumBackward;
    private readonly TypedKernel<PoolingArguments> averageForward;
    private readonly TypedKernel<PoolingArguments> averageBackward;
    private readonly TypedKernel<GlobalAverageArguments> globalAverageForward;
    private readonly TypedKernel<GlobalAverageArguments> globalAverageBackward;

    public CudaPooling(CudaContext context)
    {
        CudaModule module = context.Module(KernelSource.BuiltIn("pooling.cu", typeof(PoolingArguments), typeof(GlobalAverageArguments)));
        maximumForward = new TypedKernel<PoolingArguments>(module, "maximumForward");
        maximumBackward = new TypedKernel<PoolingArguments>(module, "maximumBackward");
        averageForward = new TypedKernel<PoolingArguments>(module, "averageForward");
        averageBackward = new TypedKernel<PoolingArguments>(module, "averageBackward");
        globalAverageForward = new TypedKernel<GlobalAverageArguments>(module, "globalAverageForward");
        globalAverageBackward = new TypedKernel<GlobalAverageArguments>(module, "globalAverageBackward");
    }

    /// <inheritdoc/>
    public void MaximumForward(in PoolingShape shape, DeviceBuffer input, DeviceBuffer output, DeviceBuffer winners)
    {
        ActivationType type = ActivationType.Of("pooling.MaximumForward", input, output);
        PoolingArguments arguments = Arguments(shape, input, output);
        arguments.Winners = winners.Address;
        maximumForward.Launch(type, arguments, Grid(shape.Output, type));
    }

    /// <inheritdoc/>
    public void MaximumBackward(in PoolingShape shape, DeviceBuffer winners, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        ActivationType type = ActivationType.Of("pooling.MaximumBackward", outputGradient, inputGradient);
        PoolingArguments arguments = Arguments(shape, outputGradient, inputGradient);
        arguments.Winners = winners.Address;
        arguments.Accumulate = mode == GradientMode.Accumulate ? 1 : 0;
        maximumBackward.Launch(type, arguments, Grid(shape.Input, type));
    }

    /// <inheritdoc/>
    public void AverageForward(in PoolingShape shape, bool countPadding, DeviceBuffer input, DeviceBuffer output)
    {
        ActivationType type = ActivationType.Of("pooling.AverageForward", input, output);
        PoolingArguments arguments = Arguments(shape, input, output);
        arguments.CountPadding = countPadding ? 1 : 0;
        averageForward.Launch(type, arguments, Grid(shape.Output, type));
    }

    /// <inheritdoc/>
    public void AverageBackward(in PoolingShape shape, bool countPadding, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        ActivationType type = ActivationType.Of("pooling.AverageBackward", outputGradient, inputGradient);
        PoolingArguments arguments = Arguments(shape, outputGradient, inputGradient);
        arguments.CountPadding = countPadding ? 1 : 0;
        arguments.Accumulate = mode == GradientMode.Accumulate ? 1 : 0;
        averageBackward.Launch(type, arguments, Grid(shape.Input, type));
    }

    /// <inheritdoc/>
    public void GlobalAverageForward(int batch, int pixels, int channels, DeviceBuffer input, DeviceBuffer output)
    {
        ActivationType type = ActivationType.Of("pooling.GlobalAverageForward", input);
        ActivationType.RequireFloat32("the output of pooling.GlobalAverageForward", output);
        globalAverageForward.Launch(type, GlobalArguments(batch, pixels, channels, input, output), new RowGrid(batch, Shape.PitchOf(channels), 1, type.OwnedChannels).Geometry);
    }

    /// <inheritdoc/>
    public void GlobalAverageBackward(int batch, int pixels, int channels, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        ActivationType type = ActivationType.Of("pooling.GlobalAverageBackward", inputGradient);
        ActivationType.RequireFloat32("the output's gradient of pooling.GlobalAverageBackward", outputGradient);
        GlobalAverageArguments arguments = GlobalArguments(batch, pixels, channels, outputGradient, inputGradient);
        arguments.Accumulate = mode == GradientMode.Accumulate ? 1 : 0;
        globalAverageBackward.Launch(type, arguments, new RowGrid(batch * pixels, Shape.PitchOf(channels), 4, type.OwnedChannels).Geometry);
    }

    private static LaunchGeometry Grid(in Shape shape, ActivationType type) => new RowGrid(shape.Rows, shape.Pitch, 1, type.OwnedChannels).Geometry;

    private static PoolingArguments Arguments(in PoolingShape shape, DeviceBuffer input, DeviceBuffer output) => new()
    {
        Input = input.Address,
        Output = output.Address,
        Batch = shape.Batch,
        InputHeight = shape.InputHeight,
        InputWidth = shape.InputWidth,
        OutputHeight = shape.OutputHeight,
        OutputWidth = shape.OutputWidth,
        KernelHeight = shape.KernelHeight,
        KernelWidth = shape.KernelWidth,
        StrideHeight = shape.StrideHeight,
        StrideWidth = shape.StrideWidth,
        PaddingHeight = shape.PaddingHeight,
        PaddingWidth = shape.PaddingWidth,
        Pitch = Shape.PitchOf(shape.Channels),
    };

    private static GlobalAverageArguments GlobalArguments(int batch, int pixels, int channels, DeviceBuffer input, DeviceBuffer output) =>
        new() { Input = input.Address, Output = output.Address, Batch = batch, Pixels = pixels, Pitch = Shape.PitchOf(channels) };
}

[KernelArguments("pooling.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct PoolingArguments
{
    public nint Input;
    public nint Output;
    public nint Winners;
    public int Batch;
    public int InputHeight;
    public int InputWidth;
    public int OutputHeight;
    public int OutputWidth;
    public int KernelHeight;
    public int KernelWidth;
    public int StrideHeight;
    public int StrideWidth;
    public int PaddingHeight;
    public int PaddingWidth;
    public int Pitch;
    public int CountPadding;
    public int Accumulate;
}

[KernelArguments("pooling.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct GlobalAverageArguments
{
    public nint Input;
    public nint Output;
    public int Batch;
    public int Pixels;
    public int Pitch;
    public int Accumulate;
}
