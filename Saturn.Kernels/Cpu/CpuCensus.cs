using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Per-channel activity statistics on the host.</summary>
internal sealed unsafe class CpuCensus(WorkerTeam team, CpuMemory memory) : ICensusKernels
{
    /// <inheritdoc/>
    public void Flag(int rows, int channels, DeviceBuffer input, in ActivityReport activity)
    {
        int pitch = Shape.PitchOf(channels);
        RowChunks chunks = new(rows, pitch);
        DeviceBuffer extrema = memory.Allocate(chunks.Count * (long)pitch * sizeof(float));
        FlagJob job = new()
        {
            Chunks = chunks,
            Pitch = pitch,
            Input = (float*)input.Address,
            Extrema = (float*)extrema.Address,
            Magnitude = activity.Criterion == ActivityCriterion.MagnitudeAtLeastThreshold,
        };
        team.Run(ref job, chunks.Count);
        ActivityBits.Write(job.Extrema, chunks.Count, pitch, channels, activity);
        memory.Free(extrema);
    }

    /// <inheritdoc/>
    public void Accumulate(int rows, int channels, DeviceBuffer input, DeviceBuffer maximum, DeviceBuffer minimum, DeviceBuffer sum)
    {
        AccumulateJob job = new()
        {
            Rows = rows,
            Channels = channels,
            Pitch = Shape.PitchOf(channels),
            Input = (float*)input.Address,
            Maximum = (float*)maximum.Address,
            Minimum = (float*)minimum.Address,
            Sum = (double*)sum.Address,
        };
        team.Run(ref job, job.Pitch / 8);
    }

    /// <inheritdoc/>
    public void Union(int words, DeviceBuffer first, DeviceBuffer second, DeviceBuffer target)
    {
        // A few words a group of channels: not worth waking a worker.
        uint* a = (uint*)first.Address;
        uint* b = (uint*)second.Address;
        uint* union = (uint*)target.Address;
        for (int word = 0; word < words; word++)
        {
            union[word] = a[word] | b[word];
        }
    }

    private struct FlagJob : IParallelJob
    {
        public RowChunks Chunks;
        public int Pitch;
        public float* Input;
        public float* Extrema;
        public bool Magnitude;

        public readonly void Run(int item, int worker) =>
            ChannelExtrema.Maximum(Input + (long)Chunks.First(item) * Pitch, Chunks.RowsOf(item), Pitch, Extrema + (long)item * Pitch, Magnitude);
    }

    /// <summary>One item is eight channels over all rows, so the sums run in row order whatever the number of workers.</summary>
    private struct AccumulateJob : IParallelJob
    {
        public int Rows;
        public int Channels;
        public int Pitch;
        public float* Input;
        public float* Maximum;
        public float* Minimum;
        public double* Sum;

        public readonly void Run(int item, int worker)
        {
            for (int c = item * 8; c < Math.Min(Channels, item * 8 + 8); c++)
            {
                float largest = Maximum[c];
                float smallest = Minimum[c];
                double sum = 0;
                float* x = Input + c;
                for (int row = 0; row < Rows; row++)
                {
                    largest = Math.Max(largest, *x);
                    smallest = Math.Min(smallest, *x);
                    sum += *x;
                    x += Pitch;
                }

                Maximum[c] = largest;
                Minimum[c] = smallest;
                Sum[c] += sum;
            }
        }
    }
}
