using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Reductions on the host: sums in double precision, in the order of the input. One item of a job is one row of the output.</summary>
internal sealed unsafe class CpuReduction(WorkerTeam team) : IReductionKernels
{
    /// <inheritdoc/>
    public void Reduce(
        ReductionOperation operation, in Shape inputShape, DeviceBuffer input, in Shape outputShape, DeviceBuffer output, GradientMode mode = GradientMode.Overwrite)
    {
        Job job = new()
        {
            Operation = operation,
            Input = (float*)input.Address,
            Output = (float*)output.Address,
            InputShape = inputShape,
            OutputShape = outputShape,
            Accumulate = mode == GradientMode.Accumulate,
        };

        // The dimensions that are summed over, outermost first, and the ones that stay; strides in rows of the input.
        long stride = 1;
        for (int d = 2; d <= inputShape.Rank; d++)
        {
            int extent = inputShape[-d];
            if (d <= outputShape.Rank && outputShape[-d] != 1)
            {
                job.KeptExtent[job.KeptCount] = extent;
                job.KeptStride[job.KeptCount++] = stride;
            }
            else if (extent > 1)
            {
                job.SummedExtent[job.SummedCount] = extent;
                job.SummedStride[job.SummedCount++] = stride;
            }

            stride *= extent;
        }

        team.Run(ref job, outputShape.Rows);
    }

    /// <inheritdoc/>
    public void ArgumentMaximum(in Shape inputShape, DeviceBuffer input, DeviceBuffer indices)
    {
        for (int row = 0; row < inputShape.Rows; row++)
        {
            float* x = (float*)input.Address + (long)row * inputShape.Pitch;
            int best = 0;
            for (int c = 1; c < inputShape.Channels; c++)
            {
                best = x[c] > x[best] ? c : best;
            }

            ((int*)indices.Address)[row] = best;
        }
    }

    private struct Job : IParallelJob
    {
        public ReductionOperation Operation;
        public float* Input;
        public float* Output;
        public Shape InputShape;
        public Shape OutputShape;
        public bool Accumulate;
        public int KeptCount;
        public int SummedCount;
        public fixed int KeptExtent[Shape.MaximumRank];
        public fixed long KeptStride[Shape.MaximumRank];
        public fixed int SummedExtent[Shape.MaximumRank];
        public fixed long SummedStride[Shape.MaximumRank];

        public void Run(int item, int worker)
        {
            long start = 0;
            int rest = item;
            for (int i = 0; i < KeptCount; i++)
            {
                start += rest % KeptExtent[i] * KeptStride[i];
                rest /= KeptExtent[i];
            }

            int channels = OutputShape.Channels;
            int pitch = OutputShape.Pitch;
            bool acrossChannels = channels == 1 && InputShape.Channels > 1;
            double count = (double)InputShape.ElementCount / OutputShape.ElementCount;
            double initial = Operation == ReductionOperation.Maximum ? double.NegativeInfinity : Operation == ReductionOperation.Minimum ? double.PositiveInfinity : 0;
            const int Block = 64;
            double* totals = stackalloc double[Block];
            int* position = stackalloc int[Shape.MaximumRank];
            for (int block = 0; block < channels; block += Block)
            {
                int width = Math.Min(Block, channels - block);
                new Span<double>(totals, width).Fill(initial);
                for (int i = 0; i < SummedCount; i++)
                {
                    position[i] = 0;
                }

                long row = start;
                while (true)
                {
                    float* x = Input + row * InputShape.Pitch + block;
                    for (int c = 0; c < (acrossChannels ? InputShape.Channels : width); c++)
                    {
                        double* total = totals + (acrossChannels ? 0 : c);
                        *total = Combine(*total, x[c]);
                    }

                    int d = 0;
                    while (d < SummedCount)
                    {
                        row += SummedStride[d];
                        if (++position[d] < SummedExtent[d])
                        {
                            break;
                        }

                        row -= SummedExtent[d] * SummedStride[d];
                        position[d++] = 0;
                    }

                    if (d == SummedCount)
                    {
                        break;
                    }
                }

                for (int c = 0; c < width; c++)
                {
                    float value = (float)(Operation == ReductionOperation.Mean ? totals[c] / count : totals[c]);
                    float* target = Output + (long)item * pitch + block + c;
                    *target = Accumulate ? *target + value : value;
                }
            }

            for (int c = channels; c < pitch; c++)
            {
                Output[(long)item * pitch + c] = 0;
            }
        }

        private readonly double Combine(double total, float value) => Operation switch
        {
            ReductionOperation.Maximum => Math.Max(total, value),
            ReductionOperation.Minimum => Math.Min(total, value),
            _ => total + value,
        };
    }
}
