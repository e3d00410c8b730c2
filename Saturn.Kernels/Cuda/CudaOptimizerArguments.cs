using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>What all tensors of an update share: see <c>kernels/optimizer.cu</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UpdateRule
{
    public nint GradientScale;
    public nint DeviceScalars;
    public nint DeviceRates;
    public int Rule;
    public int Nesterov;
    public float Momentum;
    public float Beta1;
    public float Beta2;
    public float Epsilon;
    public UpdateScalars Scalars;
}

/// <summary>One tensor of an update.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UpdateJob
{
    public nint Weight;
    public nint Gradient;
    public nint FirstMoment;
    public nint SecondMoment;
    public nint ReducedCopy;
    public nint LiveFlags;
    public nint OriginalRows;
    public nint OriginalColumns;
    public int GradientParts;
    public uint PartFours;
    public int FirstChunk;
    public int Segments;
    public int Middle;
    public int Columns;
    public uint TensorId;
    public int Vector;
    public UpdateRates Rates;
}

/// <summary>As many tensors as 4,096 bytes of arguments hold.</summary>
[InlineArray(Count)]
internal struct UpdateJobs
{
    public const int Count = 31;

    private UpdateJob first;
}

/// <summary>As many tensors as 32,764 bytes of arguments hold.</summary>
[InlineArray(Count)]
internal struct LargeUpdateJobs
{
    public const int Count = 255;

    private UpdateJob first;
}

/// <summary>Arguments of the update.</summary>
[KernelArguments("optimizer.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct UpdateArguments
{
    public UpdateRule Rule;
    public int JobCount;
    public int Unused;
    public UpdateJobs Jobs;
}

/// <summary>The same for CUDA 12.1 and later.</summary>
[KernelArguments("optimizer.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct LargeUpdateArguments
{
    public UpdateRule Rule;
    public int JobCount;
    public int Unused;
    public LargeUpdateJobs Jobs;
}

/// <summary>One gradient of a norm.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SquareJob
{
    public nint Gradient;
    public int GradientParts;
    public uint PartFours;
    public int FirstChunk;
    public uint Fours;
}

/// <summary>As many gradients as 4,096 bytes of arguments hold.</summary>
[InlineArray(Count)]
internal struct SquareJobs
{
    public const int Count = 170;

    private SquareJob first;
}

/// <summary>Arguments of the sums of squares.</summary>
[KernelArguments("optimizer.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct SquareArguments
{
    public nint Partials;
    public int JobCount;
    public int Unused;
    public SquareJobs Jobs;
}

/// <summary>Arguments of the clipping.</summary>
[KernelArguments("optimizer.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct ClipArguments
{
    public nint Partials;
    public nint Result;
    public int Chunks;
    public float Scale;
    public float MaximumNorm;
    public int Unused;
}
