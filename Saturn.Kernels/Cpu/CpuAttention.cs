using System.Numerics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Self-attention, one job a sequence and head: sums run in the order of the tokens, whatever the number of workers.</summary>
internal sealed unsafe class CpuAttention(WorkerTeam team) : IAttentionKernels
{
    /// <inheritdoc/>
    public void Forward(in AttentionShape shape, DeviceBuffer packed, DeviceBuffer output, DeviceBuffer statistics)
    {
        Job job = new() { Shape = shape, Packed = (float*)packed.Address, Output = (float*)output.Address, Statistics = (float*)statistics.Address };
        team.Run(ref job, shape.Batch * shape.Heads);
    }

    /// <inheritdoc/>
    public void Backward(
        in AttentionShape shape, DeviceBuffer packed, DeviceBuffer output, DeviceBuffer statistics, DeviceBuffer outputGradient, DeviceBuffer packedGradient, GradientMode mode)
    {
        Job job = new()
        {
            Shape = shape,
            Packed = (float*)packed.Address,
            Output = (float*)output.Address,
            Statistics = (float*)statistics.Address,
            OutputGradient = (float*)outputGradient.Address,
            PackedGradient = (float*)packedGradient.Address,
            Accumulates = mode == GradientMode.Accumulate,
        };
        team.Run(ref job, shape.Batch * shape.Heads);
    }

    private struct Job : IParallelJob
    {
        public AttentionShape Shape;
        public float* Packed;
        public float* Output;
        public float* Statistics;
        public float* OutputGradient;
        public float* PackedGradient;
        public bool Accumulates;

        public readonly void Run(int item, int worker)
        {
            (int sequence, int head) = Math.DivRem(item, Shape.Heads);
            long first = (long)sequence * Shape.Tokens;
            float* queries = Packed + first * Shape.PackedPitch + head * Shape.HeadWidth;
            float* outputs = Output + first * Shape.OutputPitch + head * Shape.HeadWidth;
            float* sums = Statistics + (long)item * Shape.Tokens;
            bool last = head == Shape.Heads - 1;
            if (PackedGradient == null)
            {
                Forward(queries, outputs, sums);
                ClearPadding(outputs + Shape.HeadWidth, Shape.OutputPitch, last ? Shape.OutputPitch - Shape.Width : 0);
                return;
            }

            float* gradients = PackedGradient + first * Shape.PackedPitch + head * Shape.HeadWidth;
            Backward(queries, outputs, OutputGradient + first * Shape.OutputPitch + head * Shape.HeadWidth, sums, gradients);
            ClearPadding(gradients + 2 * Shape.Width + Shape.HeadWidth, Shape.PackedPitch, last && !Accumulates ? Shape.PackedPitch - 3 * Shape.Width : 0);
        }

        private readonly void Forward(float* queries, float* outputs, float* sums)
        {
            int pitch = Shape.PackedPitch;
            float* scores = stackalloc float[Tile];
            for (int i = 0; i < Shape.Tokens; i++)
            {
                float* query = queries + (long)i * pitch;
                float* output = outputs + (long)i * Shape.OutputPitch;
                new Span<float>(output, Shape.HeadWidth).Clear();

                // The maximum so far and the sum of exponentials relative to it, corrected when a tile brings a larger one.
                float maximum = float.NegativeInfinity;
                float sum = 0;
                for (int start = 0; start < Shape.Tokens; start += Tile)
                {
                    int count = Math.Min(Tile, Shape.Tokens - start);
                    float* keys = queries + Shape.Width + (long)start * pitch;
                    float largest = maximum;
                    for (int j = 0; j < count; j++)
                    {
                        scores[j] = Shape.Scale * Dot(query, keys + (long)j * pitch);
                        largest = MathF.Max(largest, scores[j]);
                    }

                    float correction = MathF.Exp(maximum - largest);
                    sum *= correction;
                    Scale(output, correction);
                    for (int j = 0; j < count; j++)
                    {
                        float probability = MathF.Exp(scores[j] - largest);
                        sum += probability;
                        Add(probability, keys + Shape.Width + (long)j * pitch, output);
                    }

                    maximum = largest;
                }

                Scale(output, 1 / sum);
                sums[i] = maximum + MathF.Log(sum);
            }
        }

        private readonly void Backward(float* queries, float* outputs, float* outputGradients, float* sums, float* gradients)
        {
            int pitch = Shape.PackedPitch;
            if (!Accumulates)
            {
                for (int i = 0; i < Shape.Tokens; i++)
                {
                    for (int part = 0; part < 3; part++)
                    {
                        new Span<float>(gradients + (long)i * pitch + part * Shape.Width, Shape.HeadWidth).Clear();
                    }
                }
            }

            float* products = sums + Shape.Rows;
            for (int i = 0; i < Shape.Tokens; i++)
            {
                float* query = queries + (long)i * pitch;
                float* gradient = outputGradients + (long)i * Shape.OutputPitch;
                float product = products[i] = Dot(gradient, outputs + (long)i * Shape.OutputPitch);
                for (int j = 0; j < Shape.Tokens; j++)
                {
                    float* key = queries + Shape.Width + (long)j * pitch;
                    float* keyGradient = gradients + Shape.Width + (long)j * pitch;
                    float probability = MathF.Exp(Shape.Scale * Dot(query, key) - sums[i]);
                    float score = Shape.Scale * probability * (Dot(gradient, key + Shape.Width) - product);
                    Add(score, key, gradients + (long)i * pitch);
                    Add(score, query, keyGradient);
                    Add(probability, gradient, keyGradient + Shape.Width);
                }
            }
        }

        private readonly void ClearPadding(float* first, int pitch, int count)
        {
            for (int i = 0; i < Shape.Tokens && count > 0; i++)
            {
                new Span<float>(first + (long)i * pitch, count).Clear();
            }
        }

        private readonly float Dot(float* left, float* right)
        {
            Vector<float> sums = Vector<float>.Zero;
            int c = 0;
            for (; c <= Shape.HeadWidth - Vector<float>.Count; c += Vector<float>.Count)
            {
                sums += Vector.Load(left + c) * Vector.Load(right + c);
            }

            float sum = Vector.Sum(sums);
            for (; c < Shape.HeadWidth; c++)
            {
                sum += left[c] * right[c];
            }

            return sum;
        }

        private readonly void Add(float factor, float* source, float* target)
        {
            int c = 0;
            for (; c <= Shape.HeadWidth - Vector<float>.Count; c += Vector<float>.Count)
            {
                (Vector.Load(target + c) + factor * Vector.Load(source + c)).Store(target + c);
            }

            for (; c < Shape.HeadWidth; c++)
            {
                target[c] += factor * source[c];
            }
        }

        private readonly void Scale(float* target, float factor)
        {
            for (int c = 0; c < Shape.HeadWidth; c++)
            {
                target[c] *= factor;
            }
        }
    }

    // Scores of one query that are held at a time.
    private const int Tile = 64;
}
