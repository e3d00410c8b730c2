using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The random kernels of <c>kernels/random.cu</c>.</summary>
internal sealed class CudaRandom : IRandomKernels
{
    private const int RowsPerThread = 4;

    private readonly CudaKernel<RandomArguments> uniform;
    private readonly CudaKernel<RandomArguments> normal;
    private readonly CudaKernel<RandomArguments> dropout;

    public CudaRandom(CudaContext context)
    {
        CudaModule module = context.Module(KernelSource.BuiltIn("random.cu", typeof(RandomArguments)));
        uniform = module.Kernel<RandomArguments>("uniform");
        normal = module.Kernel<RandomArguments>("normal");
        dropout = module.Kernel<RandomArguments>("dropout");
    }

    /// <inheritdoc/>
    public void Uniform(in Shape shape, RandomKey key, float low, float high, DeviceBuffer output)
    {
        RandomArguments arguments = Arguments(shape, key, high - low, low, output);
        arguments.Largest = MathF.BitDecrement(high);
        uniform.Launch(arguments, new RowGrid(shape.Rows, shape.Pitch, RowsPerThread).Geometry);
    }

    /// <inheritdoc/>
    public void Normal(in Shape shape, RandomKey key, float mean, float standardDeviation, DeviceBuffer output) =>
        normal.Launch(Arguments(shape, key, standardDeviation, mean, output), new RowGrid(shape.Rows, shape.Pitch, RowsPerThread).Geometry);

    /// <inheritdoc/>
    public void Dropout(in Shape shape, RandomKey key, float probability, DeviceBuffer input, DeviceBuffer output, GradientMode mode)
    {
        ActivationType.RequireFloat32("random.Dropout", input, output);
        RandomArguments arguments = Arguments(shape, key, 1 / (1 - probability), probability, output);
        arguments.Input = input.Address;
        arguments.Accumulate = mode == GradientMode.Accumulate ? 1 : 0;
        dropout.Launch(arguments, new RowGrid(shape.Rows, shape.Pitch, RowsPerThread).Geometry);
    }

    private static RandomArguments Arguments(in Shape shape, RandomKey key, float scale, float offset, DeviceBuffer output)
    {
        (uint key0, uint key1) = key.Derived.IsNone ? Philox.DeriveKey(key.Seed, key.Step) : default;
        return new RandomArguments
        {
            Key = key.Derived.Address,
            Output = output.Address,
            Rows = shape.Rows,
            Channels = shape.Channels,
            Pitch = shape.Pitch,
            Stream = key.Stream,
            Key0 = key0,
            Key1 = key1,
            Scale = scale,
            Offset = offset,
        };
    }
}

[KernelArguments("random.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct RandomArguments
{
    public nint Input;
    public nint Output;
    public nint Key;
    public int Rows;
    public int Channels;
    public int Pitch;
    public uint Stream;
    public uint Key0;
    public uint Key1;
    public float Scale;
    public float Offset;
    public float Largest;
    public int Accumulate;
}
