using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// How a tensor in global memory is cut into the tiles that bulk copies move (<c>CUtensorMap</c>): 128 bytes whose meaning is the driver's own. It travels by value at the start of a kernel's argument
/// struct, where the <c>.cu</c> file declares it with an alignment of 64 bytes.
/// </summary>
[KernelAlignment(64)]
[StructLayout(LayoutKind.Sequential)]
public struct TensorMap
{
    /// <summary>The driver's words.</summary>
    public TensorMapWords Words;
}

/// <summary>The 16 words of a <see cref="TensorMap"/>.</summary>
[InlineArray(16)]
public struct TensorMapWords
{
    private ulong first;
}

/// <summary>Marks a struct that CUDA C++ aligns more strictly than its fields ask for. Fields of it stand first in an argument struct, since C# cannot move them.</summary>
/// <param name="bytes">The alignment, a power of two.</param>
[AttributeUsage(AttributeTargets.Struct, Inherited = false)]
public sealed class KernelAlignmentAttribute(int bytes) : Attribute
{
    /// <summary>The alignment in bytes.</summary>
    public int Bytes => bytes;
}

/// <summary>Elements of a tensor that bulk copies move, by the driver's numbers (<c>CUtensorMapDataType</c>).</summary>
public enum TensorMapElement
{
    /// <summary>16-bit floating point.</summary>
    Float16 = 6,

    /// <summary>32-bit floating point.</summary>
    Float32 = 7,

    /// <summary>The upper half of a float32.</summary>
    BFloat16 = 9,
}

/// <summary>
/// How the 16-byte pieces of a tile are permuted in shared memory, by the driver's numbers (<c>CUtensorMapSwizzle</c>): bits of an address from the fourth on are exclusive-ored with those from the
/// seventh on.
/// </summary>
public enum TensorMapSwizzle
{
    /// <summary>Not at all.</summary>
    None = 0,

    /// <summary>One bit: inner boxes of 32 bytes.</summary>
    Bytes32 = 1,

    /// <summary>Two bits: inner boxes of 64 bytes.</summary>
    Bytes64 = 2,

    /// <summary>Three bits: inner boxes of 128 bytes.</summary>
    Bytes128 = 3,
}

/// <summary>A tensor in global memory, as both kinds of tensor map describe it; dimensions from the innermost outwards.</summary>
/// <param name="element">What the elements are.</param>
/// <param name="address">The first element, at a multiple of 16 bytes.</param>
/// <param name="sizes">Elements along each of one to five dimensions; what lies beyond reads as zero.</param>
/// <param name="strides">Bytes from one element to the next along each dimension but the innermost, whose elements lie side by side: multiples of 16 below 2⁴⁰.</param>
/// <param name="steps">Along each dimension, the distance in elements from one that is copied to the next: 1 to 8.</param>
/// <param name="swizzle">The permutation in shared memory; the inner box must not be longer than its span.</param>
public readonly ref struct TensorMapSource(
    TensorMapElement element, nint address, ReadOnlySpan<ulong> sizes, ReadOnlySpan<ulong> strides, ReadOnlySpan<uint> steps, TensorMapSwizzle swizzle)
{
    /// <summary>What the elements are.</summary>
    public TensorMapElement Element { get; } = element;

    /// <summary>The first element.</summary>
    public nint Address { get; } = address;

    /// <summary>Elements along each dimension.</summary>
    public ReadOnlySpan<ulong> Sizes { get; } = sizes;

    /// <summary>Bytes from one element to the next along each dimension but the innermost.</summary>
    public ReadOnlySpan<ulong> Strides { get; } = strides;

    /// <summary>Elements from one that is copied to the next along each dimension.</summary>
    public ReadOnlySpan<uint> Steps { get; } = steps;

    /// <summary>The permutation in shared memory.</summary>
    public TensorMapSwizzle Swizzle { get; } = swizzle;

    /// <inheritdoc/>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"{Element} at 0x{Address:x}, sizes {string.Join(" × ", Sizes.ToArray())}, strides {string.Join(", ", Strides.ToArray())}, steps {string.Join(", ", Steps.ToArray())}, swizzle {Swizzle}");
}

/// <summary>
/// The pixels that a filter visits in a batch of images [image, row, column, channel], as a copy reads them one after another: from the place that the copy names along a row, at steps, then along the next
/// row, then in the next image.
/// </summary>
/// <param name="FirstColumn">The column at which rows begin: minus the padding.</param>
/// <param name="FirstRow">The row at which images begin.</param>
/// <param name="LastColumn">The last column at which a filter may begin, counted from the image's last column: padding − dilation·(kernel − 1).</param>
/// <param name="LastRow">The same of rows.</param>
/// <param name="Channels">Channels that a copy reads of a pixel: up to 256.</param>
/// <param name="Pixels">Pixels that a copy reads: up to 1024.</param>
public readonly record struct PixelBox(int FirstColumn, int FirstRow, int LastColumn, int LastRow, int Channels, int Pixels);
