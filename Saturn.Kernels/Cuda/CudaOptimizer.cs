using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The optimizer kernels of <c>kernels/optimizer.cu</c>.</summary>
internal sealed class CudaOptimizer(CudaContext context) : IOptimizerKernels
{
    private readonly CudaContext context = context;

    /// <inheritdoc/>
    public void Update(in OptimizerStep step, ReadOnlySpan<OptimizerTensor> tensors) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void ClipScale(ReadOnlySpan<OptimizerTensor> tensors, float scale, float maximumNorm, DeviceBuffer result) => throw new NotImplementedException(context.ToString());
}
