namespace Saturn.Kernels.Diagnostics;

/// <summary>What stands in a buffer.</summary>
internal enum ElementKind
{
    /// <summary>float32</summary>
    Single,

    /// <summary>float64</summary>
    Double,

    /// <summary>int32 and bit masks, which agree or do not.</summary>
    Integer,
}

/// <summary>A buffer that a kernel writes.</summary>
/// <param name="Buffer">The buffer, or None.</param>
/// <param name="Kind">What stands in it.</param>
internal readonly record struct WrittenBuffer(DeviceBuffer Buffer, ElementKind Kind)
{
    /// <summary>A buffer of float32 values.</summary>
    public static implicit operator WrittenBuffer(DeviceBuffer buffer) => new(buffer, ElementKind.Single);
}

/// <summary>One call of a kernel, seen from outside.</summary>
/// <param name="Name">Family and method, such as <c>convolution.Forward</c>.</param>
/// <param name="Sizes">Shapes and scalars, for people.</param>
/// <param name="Operations">Floating-point operations, or 0 where memory bounds the kernel.</param>
/// <param name="Reads">Buffers read.</param>
/// <param name="Writes">Buffers written.</param>
/// <param name="SharedScale">
/// Whether the results are compared on one scale: that of the largest entry of all. Sums such as a bias's gradient before a batch norm cancel to nothing but rounding, which says nothing by itself.
/// </param>
internal sealed record KernelCall(string Name, string Sizes, double Operations, DeviceBuffer[] Reads, WrittenBuffer[] Writes, bool SharedScale = false)
{
    /// <summary>Bytes of all buffers that take part.</summary>
    public long Bytes { get; } = Reads.Sum(buffer => buffer.ByteLength) + Writes.Sum(written => written.Buffer.ByteLength);
}

/// <summary>
/// A kernel call that can be made on any device: <paramref name="at"/> says where each buffer of the call lies there.
/// </summary>
internal delegate void KernelBody(Device device, Func<DeviceBuffer, DeviceBuffer> at);
