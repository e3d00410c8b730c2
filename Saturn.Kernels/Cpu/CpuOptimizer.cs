using System.Runtime.Intrinsics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Multi-tensor parameter updates on the host. Tensors are cut into chunks of rows; a chunk goes through gradient, decay, regulariser, rule and noise while it is in cache.</summary>
internal sealed unsafe class CpuOptimizer(WorkerTeam team, CpuMemory memory) : IOptimizerKernels
{
    private const int ChunkFloats = 16 * 1024;

    /// <inheritdoc/>
    public void Update(in OptimizerStep step, ReadOnlySpan<OptimizerTensor> tensors)
    {
        if (!step.Scalars.IsNone)
        {
            throw new NotSupportedException("The host processor takes the numbers of a step with the call; only CUDA devices read them from memory, for recorded steps.");
        }

        int chunks = 0;
        foreach (ref readonly OptimizerTensor tensor in tensors)
        {
            Require(tensor);
            chunks += ChunksOf(tensor, out _);
        }

        DeviceBuffer table = memory.Allocate(Math.Max(chunks, 1) * (long)sizeof(Chunk));
        fixed (OptimizerTensor* list = tensors)
        {
            UpdateJob job = new() { Step = step, Tensors = list, Chunks = (Chunk*)table.Address };
            int index = 0;
            for (int t = 0; t < tensors.Length; t++)
            {
                int count = ChunksOf(list[t], out int segments);
                int all = list[t].Rows * list[t].Middle;
                for (int c = 0; c < count; c++)
                {
                    job.Chunks[index++] = new Chunk { Tensor = t, First = c * segments, Count = Math.Min(segments, all - c * segments) };
                }
            }

            job.Scale = step.GradientScale.IsNone ? 1 : *(float*)step.GradientScale.Address;
            job.Scalars = UpdateScalars.Of(step);
            team.Run(ref job, chunks);
        }

        memory.Free(table);
    }

    /// <inheritdoc/>
    public void ClipScale(ReadOnlySpan<OptimizerTensor> tensors, float scale, float maximumNorm, DeviceBuffer result)
    {
        double sum = 0;
        foreach (ref readonly OptimizerTensor tensor in tensors)
        {
            Require(tensor);
            float* gradient = (float*)tensor.Gradient.Address;
            long count = (long)tensor.Rows * tensor.Middle * Shape.PitchOf(tensor.Columns);
            Vector512<double> total = Vector512<double>.Zero;
            for (long i = 0; i < count; i += 8)
            {
                (Vector256<double> lower, Vector256<double> upper) = Vector256.Widen(Vector256.Load(gradient + i));
                Vector512<double> g = Vector512.Create(lower, upper);
                total = Vector512.FusedMultiplyAdd(g, g, total);
            }

            sum += Vector512.Sum(total);
        }

        double norm = Math.Sqrt(sum) * Math.Abs(scale);
        float* target = (float*)result.Address;
        target[0] = (float)(scale * Math.Min(1, maximumNorm / (norm + 1e-6)));
        target[1] = (float)norm;
    }

    /// <summary>Refuses what only kernels with reduced precision or divided sums make.</summary>
    private static void Require(in OptimizerTensor tensor)
    {
        if (!tensor.ReducedCopy.IsNone || tensor.GradientSplits != 1)
        {
            throw new NotSupportedException(
                $"The host processor updates float32 weights from one gradient array; {(tensor.ReducedCopy.IsNone ? $"a gradient in {tensor.GradientSplits} parts" : "a bfloat16 copy")} was asked for, which CUDA devices have.");
        }
    }

    private static int ChunksOf(in OptimizerTensor tensor, out int segments)
    {
        segments = Math.Max(1, ChunkFloats / Shape.PitchOf(tensor.Columns));
        return (tensor.Rows * tensor.Middle + segments - 1) / segments;
    }

    private struct Chunk
    {
        public int Tensor;
        public int First;
        public int Count;
    }

    private struct UpdateJob : IParallelJob
    {
        public OptimizerStep Step;
        public OptimizerTensor* Tensors;
        public Chunk* Chunks;
        public float Scale;
        public UpdateScalars Scalars;

        public readonly void Run(int item, int worker)
        {
            Chunk chunk = Chunks[item];
            OptimizerTensor* tensor = Tensors + chunk.Tensor;
            int pitch = Shape.PitchOf(tensor->Columns);
            for (int segment = chunk.First; segment < chunk.First + chunk.Count; segment++)
            {
                long offset = (long)segment * pitch;
                float* weight = (float*)tensor->Weight.Address + offset;
                bool averages = Step.Rule == OptimizerRule.DualAveraging;
                float* target = averages ? (float*)tensor->LastMoment.Address + offset : weight;
                Segment(tensor, offset, pitch, target);
                if (tensor->NoiseStandardDeviation != 0)
                {
                    Noise(tensor, offset, segment / tensor->Middle, segment % tensor->Middle, target);
                }

                if (averages)
                {
                    Shrink(target, weight, pitch, tensor->Threshold);
                }
            }
        }

        /// <summary>w = sign(a)·max(|a| − g, 0). What is not a number stays none: a run that has diverged must be seen, not pruned.</summary>
        private static void Shrink(float* accumulator, float* weight, int pitch, float threshold)
        {
            for (int c = 0; c < pitch; c += 8)
            {
                Shrink(Vector256.Load(accumulator + c), threshold).Store(weight + c);
            }
        }

        private static Vector256<float> Shrink(Vector256<float> accumulator, float threshold)
        {
            Vector256<float> bound = Vector256.Create(threshold);
            Vector256<float> sign = Vector256.Create(-0f);
            Vector256<float> magnitude = Vector256.AndNot(accumulator, sign);
            Vector256<float> rest = (magnitude - bound) | (accumulator & sign);
            return Vector256.AndNot(rest, Vector256.LessThanOrEqual(magnitude, bound));
        }

        /// <summary>The accumulator, or where the weight was written since the last step, one that the last threshold turns into the weight.</summary>
        private static Vector256<float> Follow(Vector256<float> accumulator, Vector256<float> weight, float threshold)
        {
            Vector256<float> restarted = weight + (Vector256.Create(threshold) | (weight & Vector256.Create(-0f)));
            restarted = Vector256.AndNot(restarted, Vector256.Equals(weight, Vector256<float>.Zero));
            return Vector256.ConditionalSelect(Vector256.Equals(Shrink(accumulator, threshold), weight), accumulator, restarted);
        }

        /// <summary>Everything before the noise, written to the weight, or to the accumulator of dual averaging.</summary>
        private readonly void Segment(OptimizerTensor* tensor, long offset, int pitch, float* target)
        {
            float* weight = (float*)tensor->Weight.Address + offset;
            float* gradient = (float*)tensor->Gradient.Address + offset;
            bool averages = Step.Rule == OptimizerRule.DualAveraging;
            float* first = tensor->FirstMoment.IsNone || (averages && tensor->SecondMoment.IsNone) ? null : (float*)tensor->FirstMoment.Address + offset;
            float* second = tensor->SecondMoment.IsNone ? null : (float*)tensor->SecondMoment.Address + offset;
            Vector256<float> rate = Vector256.Create(tensor->LearningRate);
            float decay = tensor->WeightDecay;
            float coupled = (Step.DecoupledWeightDecay ? 0 : decay) + 2 * tensor->L2;
            float kept = Step.DecoupledWeightDecay ? 1 - tensor->LearningRate * decay : 1;
            for (int c = 0; c < pitch; c += 8)
            {
                Vector256<float> w = Vector256.Load(weight + c);
                Vector256<float> g = Vector256.Load(gradient + c) * Scale;
                g = Vector256.FusedMultiplyAdd(w, Vector256.Create(coupled), g);
                if (tensor->L1 != 0)
                {
                    // λ·sign(w), 0 where w is 0
                    Vector256<float> signed = (w & Vector256.Create(-0f)) | Vector256.Create(tensor->L1);
                    g += Vector256.ConditionalSelect(Vector256.Equals(w, Vector256<float>.Zero), Vector256<float>.Zero, signed);
                }

                Vector256<float> update;
                if (Step.Rule == OptimizerRule.Adam)
                {
                    Vector256<float> m = Vector256.FusedMultiplyAdd(g, Vector256.Create(1 - Step.Beta1), Vector256.Load(first + c) * Step.Beta1);
                    Vector256<float> v = Vector256.FusedMultiplyAdd(g * g, Vector256.Create(1 - Step.Beta2), Vector256.Load(second + c) * Step.Beta2);
                    m.Store(first + c);
                    v.Store(second + c);
                    update = m * Scalars.FirstCorrection / (Vector256.Sqrt(v * Scalars.SecondCorrection) + Vector256.Create(Step.Epsilon));
                }
                else if (first != null)
                {
                    Vector256<float> m = Vector256.FusedMultiplyAdd(Vector256.Load(first + c), Vector256.Create(Step.Momentum), g);
                    m.Store(first + c);
                    update = Step.Nesterov ? Vector256.FusedMultiplyAdd(m, Vector256.Create(Step.Momentum), g) : m;
                }
                else
                {
                    update = g;
                }

                Vector256<float> from = averages ? Follow(Vector256.Load(target + c), w, tensor->LastThreshold) : w;
                (from * kept - rate * update).Store(target + c);
            }
        }

        private readonly void Noise(OptimizerTensor* tensor, long offset, int row, int tap, float* target)
        {
            uint* live = (uint*)tensor->LiveFlags.Address;
            bool vector = tensor->IsVector;
            if (live != null && !vector && (live[row >> 5] >> (row & 31) & 1) == 0)
            {
                return;
            }

            float* gradient = (float*)tensor->Gradient.Address + offset;
            uint* columns = (uint*)tensor->OriginalColumns.Address;
            uint originalRow = tensor->OriginalRows.IsNone ? (uint)row : ((uint*)tensor->OriginalRows.Address)[row];
            int count = tensor->Columns;
            float* values = stackalloc float[16];
            for (int c = 0; c < count; c += 16)
            {
                Vector512<uint> position = Vector512<uint>.Indices + Vector512.Create((uint)c);
                Vector512<uint> indices = columns == null ? position : CpuTapConvolution.LoadLanes((float*)columns + c, Math.Min(16, count - c)).AsUInt32();
                Vector512<float> noise = Philox.Normals(indices, (uint)tap, originalRow, tensor->TensorId, Scalars.Key0, Scalars.Key1) * tensor->NoiseStandardDeviation;
                if (!vector && tensor->NoiseGradientThreshold <= 0)
                {
                    // The whole row is live: padding lanes keep their zero.
                    int valid = Math.Min(16, Shape.PitchOf(count) - c);
                    noise &= Vector512.LessThan(position, Vector512.Create((uint)count)).AsSingle();
                    CpuTapConvolution.StoreLanes(CpuTapConvolution.LoadLanes(target + c, valid) + noise, target + c, valid);
                    continue;
                }

                noise.Store(values);
                for (int lane = 0; lane < Math.Min(16, count - c); lane++)
                {
                    int at = c + lane;
                    bool alive = (!vector || live == null || (live[at >> 5] >> (at & 31) & 1) != 0)
                        && (tensor->NoiseGradientThreshold <= 0 || Math.Abs(gradient[at]) * Math.Abs(Scale) >= tensor->NoiseGradientThreshold);
                    if (alive)
                    {
                        target[at] += values[lane];
                    }
                }
            }
        }
    }
}
