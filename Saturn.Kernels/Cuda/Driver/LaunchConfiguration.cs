using System.Runtime.InteropServices;

namespace Saturn.Kernels.Cuda.Driver;

/// <summary>A launch with attributes, laid out as <c>CUlaunchConfig</c>: 56 bytes, the stream at 32.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct LaunchConfiguration
{
    public uint GridX;
    public uint GridY;
    public uint GridZ;
    public uint BlockX;
    public uint BlockY;
    public uint BlockZ;
    public uint SharedBytes;
    public nint Stream;
    public LaunchAttribute* Attributes;
    public uint AttributeCount;
}

/// <summary>One attribute, laid out as <c>CUlaunchAttribute</c>: its number, then at byte 8 a union of 64 bytes, of which Saturn uses the first three words.</summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
internal struct LaunchAttribute
{
    [FieldOffset(0)]
    public int Id;

    [FieldOffset(8)]
    public uint X;

    [FieldOffset(12)]
    public uint Y;

    [FieldOffset(16)]
    public uint Z;
}
