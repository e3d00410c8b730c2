using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The census kernels of <c>kernels/census.cu</c>.</summary>
internal sealed class CudaCensus(CudaContext context) : ICensusKernels
{
    private readonly CudaContext context = context;

    /// <inheritdoc/>
    public void Flag(int rows, int channels, DeviceBuffer input, in ActivityReport activity) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void Accumulate(int rows, int channels, DeviceBuffer input, DeviceBuffer maximum, DeviceBuffer minimum, DeviceBuffer sum) => throw new NotImplementedException(context.ToString());
}
