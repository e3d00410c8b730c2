namespace Saturn.Kernels;

/// <summary>
/// A range of device memory: the address and the length in bytes. It owns nothing; whoever allocated the memory frees it.
/// Kernels take buffers and plain sizes, never tensors.
/// </summary>
/// <param name="Address">The address in the device's address space; 64-byte aligned at the start of an allocation.</param>
/// <param name="ByteLength">The number of bytes that may be accessed.</param>
/// <param name="Type">What the elements are. Kernels look at it where they take activations, which may be float32 or bfloat16; elsewhere the contract says what they are.</param>
public readonly record struct DeviceBuffer(nint Address, long ByteLength, ElementType Type = ElementType.Float32)
{
    /// <summary>The absent buffer, for optional kernel arguments.</summary>
    public static DeviceBuffer None => default;

    /// <summary>Whether this is the absent buffer.</summary>
    public bool IsNone => Address == 0;

    /// <summary>A part of this buffer, by byte offset and byte length.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The part does not lie inside the buffer.</exception>
    public DeviceBuffer Slice(long byteOffset, long byteLength)
    {
        if (byteOffset < 0 || byteLength < 0 || byteOffset + byteLength > ByteLength)
        {
            throw new ArgumentOutOfRangeException(
                nameof(byteOffset), $"Bytes {byteOffset} to {byteOffset + byteLength} do not lie inside a buffer of {ByteLength} bytes.");
        }

        return new DeviceBuffer(Address + (nint)byteOffset, byteLength, Type);
    }
}
