using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Channel gathers on the host. One item is one row of one job.</summary>
internal sealed unsafe class CpuCompaction(WorkerTeam team) : ICompactionKernels
{
    /// <inheritdoc/>
    public void Gather(ReadOnlySpan<GatherJob> jobs)
    {
        foreach (GatherJob gather in jobs)
        {
            RowJob job = new() { Gather = gather };
            team.Run(ref job, gather.Rows);
        }
    }

    private struct RowJob : IParallelJob
    {
        public GatherJob Gather;

        public readonly void Run(int item, int worker)
        {
            int sourcePitch = Shape.PitchOf(Gather.SourceColumns);
            int pitch = Shape.PitchOf(Gather.Columns);
            int row = Gather.RowIndex.IsNone ? item : ((int*)Gather.RowIndex.Address)[item];
            int* columns = (int*)Gather.ColumnIndex.Address;
            uint* source = (uint*)Gather.Source.Address + (long)row * Gather.Middle * sourcePitch;
            uint* target = (uint*)Gather.Destination.Address + (long)item * Gather.Middle * pitch;
            for (int m = 0; m < Gather.Middle; m++)
            {
                for (int c = 0; c < pitch; c++)
                {
                    target[c] = c >= Gather.Columns ? 0 : source[columns == null ? c : columns[c]];
                }

                source += sourcePitch;
                target += pitch;
            }
        }
    }
}
