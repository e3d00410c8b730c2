using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The random kernels of <c>kernels/random.cu</c>.</summary>
internal sealed class CudaRandom(CudaContext context) : IRandomKernels
{
    private readonly CudaContext context = context;

    /// <inheritdoc/>
    public void Uniform(in Shape shape, RandomKey key, float low, float high, DeviceBuffer output) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void Normal(in Shape shape, RandomKey key, float mean, float standardDeviation, DeviceBuffer output) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void Dropout(in Shape shape, RandomKey key, float probability, DeviceBuffer input, DeviceBuffer output, GradientMode mode) => throw new NotImplementedException(context.ToString());
}
