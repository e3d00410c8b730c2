using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The compaction kernels of <c>kernels/compaction.cu</c>: a table of gathers travels in the arguments; more gathers than it holds take several launches.</summary>
internal sealed class CudaCompaction : ICompactionKernels
{
    private const int Threads = 256;
    private const int ChunkElements = 4096;

    private readonly CudaContext context;
    private readonly CudaKernel<GatherArguments> gather;
    private readonly CudaKernel<LargeGatherArguments> gatherLarge;
    private GatherArguments small;
    private LargeGatherArguments large;

    public CudaCompaction(CudaContext context)
    {
        this.context = context;
        CudaModule module = context.Module(KernelSource.BuiltIn("compaction.cu", typeof(GatherArguments), typeof(LargeGatherArguments)));
        gather = module.Kernel<GatherArguments>("gather");
        gatherLarge = module.Kernel<LargeGatherArguments>("gatherLarge");
    }

    /// <inheritdoc/>
    public void Gather(ReadOnlySpan<GatherJob> jobs)
    {
        while (!jobs.IsEmpty)
        {
            int count;
            if (jobs.Length > GatherJobs.Count && context.AllowsLargeArguments)
            {
                count = Math.Min(jobs.Length, LargeGatherJobs.Count);
                large.JobCount = count;
                Launch(gatherLarge, large, Fill(large.Jobs, jobs[..count]));
            }
            else
            {
                count = Math.Min(jobs.Length, GatherJobs.Count);
                small.JobCount = count;
                Launch(gather, small, Fill(small.Jobs, jobs[..count]));
            }

            jobs = jobs[count..];
        }
    }

    private static void Launch<TArguments>(CudaKernel<TArguments> kernel, in TArguments arguments, int chunks)
        where TArguments : unmanaged
    {
        if (chunks > 0)
        {
            kernel.Launch(arguments, LaunchGeometry.Linear(chunks, Threads));
        }
    }

    /// <summary>Writes the table and returns the number of chunks.</summary>
    private static int Fill(Span<GatherTableJob> table, ReadOnlySpan<GatherJob> jobs)
    {
        int chunks = 0;
        for (int i = 0; i < jobs.Length; i++)
        {
            ref readonly GatherJob job = ref jobs[i];
            table[i] = new GatherTableJob
            {
                Source = job.Source.Address,
                Destination = job.Destination.Address,
                RowIndex = job.RowIndex.Address,
                ColumnIndex = job.ColumnIndex.Address,
                FirstChunk = chunks,
                Segments = job.Rows * job.Middle,
                Middle = job.Middle,
                Columns = job.Columns,
                SourcePitch = Shape.PitchOf(job.SourceColumns),
            };
            long elements = (long)job.Rows * job.Middle * Shape.PitchOf(job.Columns);
            chunks += checked((int)((elements + ChunkElements - 1) / ChunkElements));
        }

        return chunks;
    }
}

/// <summary>One gather in the table of <c>kernels/compaction.cu</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GatherTableJob
{
    public nint Source;
    public nint Destination;
    public nint RowIndex;
    public nint ColumnIndex;
    public int FirstChunk;
    public int Segments;
    public int Middle;
    public int Columns;
    public int SourcePitch;
    public int Unused;
}

/// <summary>As many gathers as 4,096 bytes of arguments hold.</summary>
[InlineArray(Count)]
internal struct GatherJobs
{
    public const int Count = 72;

    private GatherTableJob first;
}

/// <summary>As many gathers as 32,764 bytes of arguments hold.</summary>
[InlineArray(Count)]
internal struct LargeGatherJobs
{
    public const int Count = 584;

    private GatherTableJob first;
}

/// <summary>Arguments of the gathers: see <c>kernels/compaction.cu</c>.</summary>
[KernelArguments("compaction.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct GatherArguments
{
    public int JobCount;
    public int Unused;
    public GatherJobs Jobs;
}

/// <summary>The same for CUDA 12.1 and later.</summary>
[KernelArguments("compaction.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct LargeGatherArguments
{
    public int JobCount;
    public int Unused;
    public LargeGatherJobs Jobs;
}
