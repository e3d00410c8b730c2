using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The reduction kernels of <c>kernels/reduction.cu</c>.</summary>
internal sealed class CudaReduction(CudaContext context) : IReductionKernels
{
    private readonly CudaContext context = context;

    /// <inheritdoc/>
    public void Reduce( ReductionOperation operation, in Shape inputShape, DeviceBuffer input, in Shape outputShape, DeviceBuffer output, GradientMode mode = GradientMode.Overwrite) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void ArgumentMaximum(in Shape inputShape, DeviceBuffer input, DeviceBuffer indices) => throw new NotImplementedException(context.ToString());
}
