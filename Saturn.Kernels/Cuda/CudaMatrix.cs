using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The matrix kernels of <c>kernels/matrix.cu</c>.</summary>
internal sealed class CudaMatrix(CudaContext context) : IMatrixKernels
{
    private readonly CudaContext context = context;

    /// <inheritdoc/>
    public void Multiply(in MatrixShape shape, DeviceBuffer left, DeviceBuffer right, DeviceBuffer output, float alpha = 1, float beta = 0) => throw new NotImplementedException(context.ToString());
}
