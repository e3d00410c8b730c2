using System.Runtime.InteropServices;

namespace Saturn.Emulator.Memory;

/// <summary>
/// Copies and fills of device memory. Both ends must lie inside live allocations. In checked mode they carry the record of written bytes along, and bytes that were never written must not
/// reach the host.
/// </summary>
internal static unsafe class DeviceTransfers
{
    private const long Piece = 1 << 30;

    /// <summary>Host to device.</summary>
    public static void CopyToDevice(DeviceAllocations allocations, nint destination, nint source, long length)
    {
        MarkWritten(Range(allocations, "cuMemcpyHtoDAsync", destination, length), destination, length);
        Buffer.MemoryCopy((void*)source, (void*)destination, length, length);
    }

    /// <summary>Device to host.</summary>
    public static void CopyToHost(DeviceAllocations allocations, nint destination, nint source, long length)
    {
        DeviceAllocation from = Range(allocations, "cuMemcpyDtoHAsync", source, length);
        if (from.Written != null)
        {
            long offset = source - from.Base;
            for (long done = 0; done < length; done += Piece)
            {
                int missing = new ReadOnlySpan<byte>(from.Written + offset + done, (int)Math.Min(Piece, length - done)).IndexOf((byte)0);
                if (missing >= 0)
                {
                    throw new EmulatorException(
                        $"cuMemcpyDtoHAsync of bytes {offset} to {offset + length} of {from}: byte {offset + done + missing} was never written. A kernel left a part of its output out, or the copy is too long.");
                }
            }
        }

        Buffer.MemoryCopy((void*)source, (void*)destination, length, length);
    }

    /// <summary>Inside the device.</summary>
    public static void Copy(DeviceAllocations allocations, nint destination, nint source, long length)
    {
        DeviceAllocation from = Range(allocations, "cuMemcpyDtoDAsync", source, length);
        DeviceAllocation to = Range(allocations, "cuMemcpyDtoDAsync", destination, length);
        if (allocations.IsChecked && source < destination + length && destination < source + length)
        {
            throw new EmulatorException($"cuMemcpyDtoDAsync of {length} bytes from 0x{source:x} to 0x{destination:x}, both in {from}: the ranges overlap, for which the result is undefined.");
        }

        if (from.Written != null)
        {
            Buffer.MemoryCopy(from.Written + (source - from.Base), to.Written + (destination - to.Base), length, length);
        }

        Buffer.MemoryCopy((void*)source, (void*)destination, length, length);
    }

    /// <summary>Sets bytes.</summary>
    public static void Fill(DeviceAllocations allocations, nint destination, byte value, long length)
    {
        MarkWritten(Range(allocations, "cuMemsetD8Async", destination, length), destination, length);
        FillBytes(destination, value, length);
    }

    /// <summary>Sets 32-bit words.</summary>
    public static void FillWords(DeviceAllocations allocations, nint destination, uint value, long words)
    {
        if (destination % sizeof(uint) != 0)
        {
            throw new EmulatorException($"cuMemsetD32Async at 0x{destination:x}, which is no multiple of 4.");
        }

        MarkWritten(Range(allocations, "cuMemsetD32Async", destination, words * sizeof(uint)), destination, words * sizeof(uint));
        FillWords(destination, value, words);
    }

    internal static void FillWords(nint destination, uint value, long words)
    {
        for (long done = 0; done < words; done += Piece / sizeof(uint))
        {
            new Span<uint>((uint*)destination + done, (int)Math.Min(Piece / sizeof(uint), words - done)).Fill(value);
        }
    }

    internal static void FillBytes(nint destination, byte value, long length) => NativeMemory.Fill((void*)destination, (nuint)length, value);

    private static void MarkWritten(DeviceAllocation allocation, nint address, long length)
    {
        if (allocation.Written != null)
        {
            FillBytes((nint)(allocation.Written + (address - allocation.Base)), 1, length);
        }
    }

    private static DeviceAllocation Range(DeviceAllocations allocations, string call, nint address, long length)
    {
        DeviceAllocation? allocation = allocations.Find(address);
        if (allocation is null || allocation.Freed)
        {
            throw new EmulatorException($"{call} of {length} bytes: {allocations.Describe(address)}.");
        }

        long end = address - allocation.Base + length;
        return end <= allocation.Length ? allocation : throw new EmulatorException($"{call} of {length} bytes from byte {end - length} of {allocation} ends {end - allocation.Length} bytes behind its end.");
    }
}
