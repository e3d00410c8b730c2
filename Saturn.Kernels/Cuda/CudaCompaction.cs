using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The compaction kernels of <c>kernels/compaction.cu</c>.</summary>
internal sealed class CudaCompaction(CudaContext context) : ICompactionKernels
{
    private readonly CudaContext context = context;

    /// <inheritdoc/>
    public void Gather(ReadOnlySpan<GatherJob> jobs) => throw new NotImplementedException(context.ToString());
}
