using System.Runtime.InteropServices;
using Saturn.Emulator.Memory;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator.Streams;

/// <summary>Page-locked host memory, which copies read and write when they run, not when they are issued.</summary>
/// <param name="isChecked">Whether fresh memory is filled with NaN.</param>
internal sealed unsafe class PinnedMemory(bool isChecked) : IDisposable
{
    private const int Alignment = 4096;

    private readonly List<(nint Address, long Length)> blocks = [];

    /// <summary>The blocks that were not freed.</summary>
    public IReadOnlyList<(nint Address, long Length)> Blocks => blocks;

    /// <summary>Allocates.</summary>
    public nint Allocate(long length)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 1);
        nint address = (nint)NativeMemory.AlignedAlloc((nuint)(length + 3) / 4 * 4, Alignment);
        if (isChecked)
        {
            DeviceTransfers.FillWords(address, DeviceAllocations.FreshPattern, (length + 3) / 4);
        }

        blocks.Add((address, length));
        return address;
    }

    /// <summary>Frees.</summary>
    public void Free(nint address)
    {
        int index = blocks.FindIndex(block => block.Address == address);
        if (index < 0)
        {
            throw new CudaException($"cuMemFreeHost failed with CUDA_ERROR_INVALID_VALUE (1): 0x{address:x} is no page-locked memory of this driver.", EmulatedDevice.InvalidValue);
        }

        NativeMemory.AlignedFree((void*)address);
        blocks.RemoveAt(index);
    }

    /// <summary>Whether a range is page-locked; one that begins so must end so.</summary>
    public bool Contains(nint address, long length)
    {
        foreach ((nint start, long size) in blocks)
        {
            if (address >= start && address < start + size)
            {
                return address + length <= start + size
                    ? true
                    : throw new CudaException($"A copy of {length} bytes at byte {address - start} of {size} bytes of page-locked memory ends behind them.", EmulatedDevice.InvalidValue);
            }
        }

        return false;
    }

    /// <summary>Frees all.</summary>
    public void Dispose()
    {
        foreach ((nint address, _) in blocks)
        {
            NativeMemory.AlignedFree((void*)address);
        }

        blocks.Clear();
    }
}
