using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The pooling kernels of <c>kernels/pooling.cu</c>.</summary>
internal sealed class CudaPooling : IPoolingKernels
{
    private readonly CudaKernel<PoolingArguments> maximumForward;
    private readonly CudaKernel<PoolingArguments> maximumBackward;
    private readonly CudaKernel<PoolingArguments> averageForward;
    private readonly CudaKernel<PoolingArguments> averageBackward;
    private readonly CudaKernel<GlobalAverageArguments> globalAverageForward;
    private readonly CudaKernel<GlobalAverageArguments> globalAverageBackward;

    public CudaPooling(CudaContext context)
    {
        CudaModule module = context.Module(KernelSource.BuiltIn("pooling.cu", typeof(PoolingArguments), typeof(GlobalAverageArguments)));
        maximumForward = module.Kernel<PoolingArguments>("maximumForward");
        maximumBackward = module.Kernel<PoolingArguments>("maximumBackward");
        averageForward = module.Kernel<PoolingArguments>("averageForward");
        averageBackward = module.Kernel<PoolingArguments>("averageBackward");
        globalAverageForward = module.Kernel<GlobalAverageArguments>("globalAverageForward");
        globalAverageBackward = module.Kernel<GlobalAverageArguments>("globalAverageBackward");
    }

    /// <inheritdoc/>
    public void MaximumForward(in PoolingShape shape, DeviceBuffer input, DeviceBuffer output, DeviceBuffer winners)
    {
        PoolingArguments arguments = Arguments(shape, input, output);
        arguments.Winners = winners.Address;
        maximumForward.Launch(arguments, Grid(shape.Output));
    }

    /// <inheritdoc/>
    public void MaximumBackward(in PoolingShape shape, DeviceBuffer winners, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        PoolingArguments arguments = Arguments(shape, outputGradient, inputGradient);
        arguments.Winners = winners.Address;
        arguments.Accumulate = mode == GradientMode.Accumulate ? 1 : 0;
        maximumBackward.Launch(arguments, Grid(shape.Input));
    }

    /// <inheritdoc/>
    public void AverageForward(in PoolingShape shape, bool countPadding, DeviceBuffer input, DeviceBuffer output)
    {
        PoolingArguments arguments = Arguments(shape, input, output);
        arguments.CountPadding = countPadding ? 1 : 0;
        averageForward.Launch(arguments, Grid(shape.Output));
    }

    /// <inheritdoc/>
    public void AverageBackward(in PoolingShape shape, bool countPadding, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        PoolingArguments arguments = Arguments(shape, outputGradient, inputGradient);
        arguments.CountPadding = countPadding ? 1 : 0;
        arguments.Accumulate = mode == GradientMode.Accumulate ? 1 : 0;
        averageBackward.Launch(arguments, Grid(shape.Input));
    }

    /// <inheritdoc/>
    public void GlobalAverageForward(int batch, int pixels, int channels, DeviceBuffer input, DeviceBuffer output) =>
        globalAverageForward.Launch(GlobalArguments(batch, pixels, channels, input, output), new RowGrid(batch, Shape.PitchOf(channels), 1).Geometry);

    /// <inheritdoc/>
    public void GlobalAverageBackward(int batch, int pixels, int channels, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        GlobalAverageArguments arguments = GlobalArguments(batch, pixels, channels, outputGradient, inputGradient);
        arguments.Accumulate = mode == GradientMode.Accumulate ? 1 : 0;
        globalAverageBackward.Launch(arguments, new RowGrid(batch * pixels, Shape.PitchOf(channels), 4).Geometry);
    }

    private static LaunchGeometry Grid(in Shape shape) => new RowGrid(shape.Rows, shape.Pitch, 1).Geometry;

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
