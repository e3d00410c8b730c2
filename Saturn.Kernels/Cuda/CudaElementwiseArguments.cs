using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Kernels.Cuda;

[KernelArguments("elementwise.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct UnaryArguments
{
    public nint Input;
    public nint Output;
    public int Rows;
    public int Channels;
    public int Pitch;
    public int Operation;
    public float A;
    public float B;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct Operand
{
    public nint Data;
    public int Pitch;
    public int RepeatsChannel;
    public int SameRows;
    public fixed int Strides[5];
}

[KernelArguments("elementwise.cu")]
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct BinaryArguments
{
    public Operand Left;
    public Operand Right;
    public nint Output;
    public int Rows;
    public int Channels;
    public int Pitch;
    public int Operation;
    public fixed int Extents[5];
}

[KernelArguments("elementwise.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct AccumulateArguments
{
    public nint Input;
    public nint Output;
    public int Rows;
    public int Pitch;
    public float Scale;
}

[KernelArguments("elementwise.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct FillArguments
{
    public nint Output;
    public int Rows;
    public int Channels;
    public int Pitch;
    public float Value;
}

[KernelArguments("elementwise.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct MappedAddArguments
{
    public nint Base;
    public nint Source;
    public nint Map;
    public nint Output;
    public int Rows;
    public int Channels;
    public int Pitch;
    public int SourcePitch;
}

[KernelArguments("elementwise.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct ConvertArguments
{
    public nint Input;
    public nint Output;
    public int Rows;
    public int Pitch;
    public int Accumulate;
    public int Unused;
}

[KernelArguments("rearrangement.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct CopyChannelsArguments
{
    public nint Source;
    public nint Destination;
    public int Rows;
    public int Count;
    public int SourcePitch;
    public int DestinationPitch;
    public int Accumulate;
}

[KernelArguments("rearrangement.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct ReshapeArguments
{
    public nint Input;
    public nint Output;
    public int Rows;
    public int Channels;
    public int Pitch;
    public int InputChannels;
    public int InputPitch;
    public int Accumulate;
}

[KernelArguments("rearrangement.cu")]
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct PermuteArguments
{
    public nint Input;
    public nint Output;
    public long ChannelStride;
    public fixed long Strides[5];
    public fixed int Extents[5];
    public int Rows;
    public int Channels;
    public int Pitch;
}
