using System.Runtime.Intrinsics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Random numbers and dropout on the host.</summary>
internal sealed unsafe class CpuRandom(WorkerTeam team) : IRandomKernels
{
    private enum Kind
    {
        Uniform,
        Normal,
        Dropout,
    }

    /// <inheritdoc/>
    public void Uniform(in Shape shape, RandomKey key, float low, float high, DeviceBuffer output) =>
        Run(Kind.Uniform, shape, key, high - low, low, null, output, false, MathF.BitDecrement(high));

    /// <inheritdoc/>
    public void Normal(in Shape shape, RandomKey key, float mean, float standardDeviation, DeviceBuffer output) =>
        Run(Kind.Normal, shape, key, standardDeviation, mean, null, output, false);

    /// <inheritdoc/>
    public void Dropout(in Shape shape, RandomKey key, float probability, DeviceBuffer input, DeviceBuffer output, GradientMode mode) =>
        Run(Kind.Dropout, shape, key, 1 / (1 - probability), probability, (float*)input.Address, output, mode == GradientMode.Accumulate);

    private void Run(Kind kind, in Shape shape, RandomKey key, float scale, float offset, float* input, DeviceBuffer output, bool accumulate, float largest = 0)
    {
        uint* derived = (uint*)key.Derived.Address;
        (uint key0, uint key1) = derived == null ? Philox.DeriveKey(key.Seed, key.Step) : (derived[0], derived[1]);
        Job job = new()
        {
            Kind = kind,
            Chunks = new RowChunks(shape.Rows, shape.Pitch),
            Channels = shape.Channels,
            Pitch = shape.Pitch,
            Key0 = key0,
            Key1 = key1,
            Stream = key.Stream,
            Scale = scale,
            Offset = offset,
            Largest = largest,
            Input = input,
            Output = (float*)output.Address,
            Accumulate = accumulate,
        };
        team.Run(ref job, job.Chunks.Count);
    }

    private struct Job : IParallelJob
    {
        public Kind Kind;
        public RowChunks Chunks;
        public int Channels;
        public int Pitch;
        public uint Key0;
        public uint Key1;
        public uint Stream;
        public float Scale;
        public float Offset;
        public float Largest;
        public float* Input;
        public float* Output;
        public bool Accumulate;

        public readonly void Run(int item, int worker)
        {
            int first = Chunks.First(item);
            for (int row = first; row < first + Chunks.RowsOf(item); row++)
            {
                long start = (long)row * Pitch;
                for (int c = 0; c < Pitch; c += 16)
                {
                    Vector512<uint> indices = Vector512<uint>.Indices + Vector512.Create((uint)c);
                    int valid = Math.Min(16, Pitch - c);
                    float* target = Output + start + c;
                    Vector512<float> value;
                    if (Kind == Kind.Normal)
                    {
                        value = Vector512.FusedMultiplyAdd(Philox.Normals(indices, (uint)row, 0, Stream, Key0, Key1), Vector512.Create(Scale), Vector512.Create(Offset));
                    }
                    else
                    {
                        Vector512<float> uniform = Philox.Uniforms(indices, (uint)row, 0, Stream, Key0, Key1);
                        value = Kind == Kind.Uniform
                            ? Vector512.MinNative(Vector512.FusedMultiplyAdd(uniform, Vector512.Create(Scale), Vector512.Create(Offset)), Vector512.Create(Largest))
                            : Vector512.GreaterThanOrEqual(uniform, Vector512.Create(Offset)) & (CpuTapConvolution.LoadLanes(Input + start + c, valid) * Scale);
                    }

                    value &= Vector512.LessThan(indices, Vector512.Create((uint)Channels)).AsSingle();
                    if (Accumulate)
                    {
                        value += CpuTapConvolution.LoadLanes(target, valid);
                    }

                    CpuTapConvolution.StoreLanes(value, target, valid);
                }
            }
        }
    }
}
