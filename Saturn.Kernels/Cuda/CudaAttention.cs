using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The kernels of <c>kernels/attention.cu</c>.</summary>
internal sealed class CudaAttention : IAttentionKernels
{
    private const int Threads = 256;

    private readonly CudaKernel<AttentionArguments> forward;
    private readonly CudaKernel<AttentionArguments> queries;
    private readonly CudaKernel<AttentionArguments> keys;

    public CudaAttention(CudaContext context)
    {
        CudaModule module = context.Module(KernelSource.BuiltIn("attention.cu", typeof(AttentionArguments)));
        forward = module.Kernel<AttentionArguments>("attentionForward");
        queries = module.Kernel<AttentionArguments>("attentionQueries");
        keys = module.Kernel<AttentionArguments>("attentionKeys");
    }

    /// <inheritdoc/>
    public void Forward(in AttentionShape shape, DeviceBuffer packed, DeviceBuffer output, DeviceBuffer statistics)
    {
        ActivationType.RequireFloat32("attention.Forward", packed, output);
        forward.Launch(Arguments(shape, packed, output, statistics), LaunchGeometry.Cover(shape.Rows * 32L, Threads));
    }

    /// <inheritdoc/>
    public void Backward(
        in AttentionShape shape, DeviceBuffer packed, DeviceBuffer output, DeviceBuffer statistics, DeviceBuffer outputGradient, DeviceBuffer packedGradient, GradientMode mode)
    {
        ActivationType.RequireFloat32("attention.Backward", packed, output, outputGradient, packedGradient);
        AttentionArguments arguments = Arguments(shape, packed, output, statistics) with
        {
            OutputGradient = outputGradient.Address,
            PackedGradient = packedGradient.Address,
            Accumulate = mode == GradientMode.Accumulate ? 1 : 0,
        };
        queries.Launch(arguments, LaunchGeometry.Cover(shape.Rows * 32L, Threads));
        keys.Launch(arguments, LaunchGeometry.Cover(shape.Rows * 32L, Threads));
    }

    private static AttentionArguments Arguments(in AttentionShape shape, DeviceBuffer packed, DeviceBuffer output, DeviceBuffer statistics) => new()
    {
        Packed = packed.Address,
        Output = output.Address,
        Statistics = statistics.Address,
        Rows = shape.Rows,
        Tokens = shape.Tokens,
        Heads = shape.Heads,
        HeadWidth = shape.HeadWidth,
        PackedPitch = shape.PackedPitch,
        OutputPitch = shape.OutputPitch,
        Scale = shape.Scale,
    };
}

[KernelArguments("attention.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct AttentionArguments
{
    public nint Packed;
    public nint Output;
    public nint Statistics;
    public nint OutputGradient;
    public nint PackedGradient;
    public int Rows;
    public int Tokens;
    public int Heads;
    public int HeadWidth;
    public int PackedPitch;
    public int OutputPitch;
    public float Scale;
    public int Accumulate;
}
