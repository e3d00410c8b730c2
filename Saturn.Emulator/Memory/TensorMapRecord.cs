using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator.Memory;

/// <summary>What the emulated driver writes into a tensor map's 128 bytes, with the checks that the driver makes; hardware's encoding is not public.</summary>
[StructLayout(LayoutKind.Sequential, Size = 128)]
internal unsafe struct TensorMapRecord
{
    public const int MostDimensions = 5;
    private const ulong Mark = 0x70616D_6E727574_61;
    private const int MostBoxElements = 256;
    private const int MostPixels = 1024;
    private const int MostStep = 8;

    private ulong mark;

    /// <summary>The first element.</summary>
    public nint Address;

    /// <summary>Bytes from one element to the next along each dimension, the innermost included.</summary>
    public fixed long Strides[MostDimensions];

    private fixed uint sizesLessOne[MostDimensions];

    /// <summary>Elements that are copied along each dimension; of pixel boxes, channels and pixels.</summary>
    private fixed ushort box[MostDimensions];

    /// <summary>Elements from one that is copied to the next.</summary>
    public fixed byte Steps[MostDimensions];

    public byte Rank;

    public byte ElementBytes;

    public TensorMapSwizzle Swizzle;

    /// <summary>Whether pixels are described and not boxes.</summary>
    public bool IsPixels;

    /// <summary>First column and row of the pixels.</summary>
    public fixed short First[2];

    /// <summary>Last column and row, counted from the image's last.</summary>
    public fixed short Last[2];

    /// <summary>Whether the driver wrote these bytes.</summary>
    public readonly bool IsValid => mark == Mark;

    public long Size(int dimension) => sizesLessOne[dimension] + 1L;

    public int Box(int dimension) => box[dimension];

    /// <summary>Bytes of one copy, what lies outside of the tensor included.</summary>
    public int CopyBytes
    {
        get
        {
            int bytes = ElementBytes;
            for (int i = 0; i < (IsPixels ? 2 : Rank); i++)
            {
                bytes *= CopiesAlong(i);
            }

            return bytes;
        }
    }

    /// <summary>Elements that a copy moves along a dimension of the box, or of the two of a pixel box.</summary>
    public int CopiesAlong(int dimension) => IsPixels ? box[dimension] : (box[dimension] + Steps[dimension] - 1) / Steps[dimension];

    /// <summary>The map of boxes.</summary>
    /// <exception cref="CudaException">The driver refuses the arguments.</exception>
    public static TensorMap Encode(EmulatedDevice device, in TensorMapSource source, ReadOnlySpan<uint> box)
    {
        const string Call = "cuTensorMapEncodeTiled";
        TensorMapRecord record = Begin(Call, device, source);
        Require(box.Length == record.Rank, Call, source, $"the box has {box.Length} dimensions, the tensor {record.Rank}");
        for (int i = 0; i < box.Length; i++)
        {
            Require(box[i] is > 0 and <= MostBoxElements, Call, source, $"the box has {box[i]} elements along dimension {i}, and may have 1 to {MostBoxElements}");
            record.box[i] = (ushort)box[i];
        }

        CheckInner(Call, source, box[0] * record.ElementBytes);
        return Unsafe.BitCast<TensorMapRecord, TensorMap>(record);
    }

    /// <summary>The map of pixels.</summary>
    /// <exception cref="CudaException">The driver refuses the arguments.</exception>
    public static TensorMap Encode(EmulatedDevice device, in TensorMapSource source, in PixelBox pixels)
    {
        const string Call = "cuTensorMapEncodeIm2col";
        TensorMapRecord record = Begin(Call, device, source);
        Require(record.Rank == 4, Call, source, $"the tensor has {record.Rank} dimensions; the contract covers images, which have 4");
        foreach (int corner in (ReadOnlySpan<int>)[pixels.FirstColumn, pixels.FirstRow, pixels.LastColumn, pixels.LastRow])
        {
            Require(corner is >= sbyte.MinValue and <= sbyte.MaxValue, Call, source, $"a corner of the pixel box is {corner}, and may be −128 to 127");
        }

        Require(pixels.Channels is > 0 and <= MostBoxElements, Call, source, $"a copy reads {pixels.Channels} channels, and may read 1 to {MostBoxElements}");
        Require(pixels.Pixels is > 0 and <= MostPixels, Call, source, $"a copy reads {pixels.Pixels} pixels, and may read 1 to {MostPixels}");
        CheckInner(Call, source, (uint)pixels.Channels * record.ElementBytes);
        record.IsPixels = true;
        record.box[0] = (ushort)pixels.Channels;
        record.box[1] = (ushort)pixels.Pixels;
        (record.First[0], record.First[1]) = ((short)pixels.FirstColumn, (short)pixels.FirstRow);
        (record.Last[0], record.Last[1]) = ((short)pixels.LastColumn, (short)pixels.LastRow);
        return Unsafe.BitCast<TensorMapRecord, TensorMap>(record);
    }

    private static TensorMapRecord Begin(string call, EmulatedDevice device, in TensorMapSource source)
    {
        if (device.Major < 9)
        {
            throw new CudaException(
                $"{call} failed with CUDA_ERROR_NOT_SUPPORTED (801): the device, {device.Name}, has compute capability {device.Major}.0, and bulk copies need 9.0.", EmulatedDevice.NotSupported);
        }

        int rank = source.Sizes.Length;
        Require(rank is > 0 and <= MostDimensions, call, source, $"the tensor has {rank} dimensions, and may have 1 to {MostDimensions}");
        Require(source.Strides.Length == rank - 1 && source.Steps.Length == rank, call, source, $"{source.Strides.Length} strides and {source.Steps.Length} steps were given for {rank} dimensions");
        Require(source.Address != 0 && source.Address % 16 == 0, call, source, "the address must be a multiple of 16 bytes");
        TensorMapRecord record = new()
        {
            mark = Mark,
            Address = source.Address,
            Rank = (byte)rank,
            ElementBytes = source.Element == TensorMapElement.Float32 ? (byte)4 : (byte)2,
            Swizzle = source.Swizzle,
        };
        record.Strides[0] = record.ElementBytes;
        for (int i = 0; i < rank; i++)
        {
            Require(source.Sizes[i] is > 0 and <= 1ul << 32, call, source, $"dimension {i} has {source.Sizes[i]} elements, and may have 1 to 2³²");
            Require(source.Steps[i] is > 0 and <= MostStep, call, source, $"the step along dimension {i} is {source.Steps[i]}, and may be 1 to {MostStep}");
            record.sizesLessOne[i] = (uint)(source.Sizes[i] - 1);
            record.Steps[i] = i == 0 ? (byte)1 : (byte)source.Steps[i];
            if (i > 0)
            {
                ulong stride = source.Strides[i - 1];
                Require(stride % 16 == 0 && stride < 1ul << 40, call, source, $"the stride of dimension {i} is {stride} bytes, and must be a multiple of 16 below 2⁴⁰");
                record.Strides[i] = (long)stride;
            }
        }

        return record;
    }

    private static void CheckInner(string call, in TensorMapSource source, uint bytes)
    {
        Require(bytes % 16 == 0, call, source, $"the inner box has {bytes} bytes, and must have a multiple of 16");
        uint span = source.Swizzle switch
        {
            TensorMapSwizzle.Bytes32 => 32,
            TensorMapSwizzle.Bytes64 => 64,
            TensorMapSwizzle.Bytes128 => 128,
            _ => uint.MaxValue,
        };
        Require(bytes <= span, call, source, $"the inner box has {bytes} bytes, more than the {span} of its swizzle");
    }

    private static void Require(bool holds, string call, in TensorMapSource source, string why)
    {
        if (!holds)
        {
            throw new CudaException($"{call} failed with CUDA_ERROR_INVALID_VALUE (1): {source.ToString()}; {why}.", EmulatedDevice.InvalidValue);
        }
    }
}
