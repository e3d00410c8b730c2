using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The pooling kernels of <c>kernels/pooling.cu</c>.</summary>
internal sealed class CudaPooling(CudaContext context) : IPoolingKernels
{
    private readonly CudaContext context = context;

    /// <inheritdoc/>
    public void MaximumForward(in PoolingShape shape, DeviceBuffer input, DeviceBuffer output, DeviceBuffer winners) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void MaximumBackward(in PoolingShape shape, DeviceBuffer winners, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void AverageForward(in PoolingShape shape, bool countPadding, DeviceBuffer input, DeviceBuffer output) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void AverageBackward(in PoolingShape shape, bool countPadding, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void GlobalAverageForward(int batch, int pixels, int channels, DeviceBuffer input, DeviceBuffer output) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void GlobalAverageBackward(int batch, int pixels, int channels, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode) => throw new NotImplementedException(context.ToString());
}
