using System.Runtime.InteropServices;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator.Memory;

/// <summary>
/// The memory of an emulated device. In checked mode every allocation has guard space on both sides, begins as NaN marked never written, and stays poisoned for
/// a while after it was freed. Lookups may come from many threads while a kernel runs; allocations change only in between.
/// </summary>
/// <param name="isChecked">Whether accesses are checked.</param>
/// <param name="limit">Bytes of the device.</param>
internal sealed unsafe class DeviceAllocations(bool isChecked, long limit) : IDisposable
{
    /// <summary>What memory holds before it is written: a NaN as float32, float64, bfloat16 and float16.</summary>
    public const uint FreshPattern = 0x7FDE7FDE;

    /// <summary>What freed memory holds: another NaN of all widths.</summary>
    public const uint FreedPattern = 0x7FEE7FEE;

    private const int Alignment = 256;
    private const long Guard = 4096;
    private const long QuarantineBytes = 64L << 20;

    private readonly Queue<DeviceAllocation> quarantine = new();
    private readonly Stack<DeviceAllocation> spare = new();

    // Sorted by address; addresses apart from the records, so that a search touches little memory.
    private nint[] addresses = new nint[64];
    private DeviceAllocation[] sorted = new DeviceAllocation[64];
    private int count;
    private long quarantined;
    private int lastNumber;

    /// <summary>Whether accesses are checked.</summary>
    public bool IsChecked => isChecked;

    /// <summary>Bytes of allocations that were not freed.</summary>
    public long LiveBytes { get; private set; }

    /// <summary>Bytes of the device.</summary>
    public long Limit => limit;

    /// <summary>The allocations that were not freed, by address.</summary>
    public IEnumerable<DeviceAllocation> Live => sorted.Take(count).Where(allocation => !allocation.Freed);

    /// <summary>Makes an allocation.</summary>
    /// <param name="length">Bytes, at least 1.</param>
    /// <param name="origin">The call, for messages.</param>
    /// <exception cref="DeviceOutOfMemoryException">The device has no room.</exception>
    public DeviceAllocation Add(long length, string origin = "")
    {
        if (length < 1)
        {
            throw new CudaException($"{origin}: {length} bytes were asked for, and at least one is needed.", EmulatedDevice.InvalidValue);
        }

        if (LiveBytes + length > limit)
        {
            throw new DeviceOutOfMemoryException($"{origin} failed with CUDA_ERROR_OUT_OF_MEMORY (2): {length} bytes were asked for, and {limit - LiveBytes} of the emulated device's {limit} are free.");
        }

        long guard = isChecked ? Guard : 0;
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)(length + 2 * guard), Alignment);
        DeviceAllocation allocation = spare.TryPop(out DeviceAllocation? old) ? old : new DeviceAllocation();
        allocation.Base = (nint)(memory + guard);
        allocation.Length = length;
        allocation.Freed = false;
        allocation.Number = ++lastNumber;
        allocation.Origin = origin;
        allocation.IsOwnedByGraph = false;
        allocation.Written = isChecked ? (byte*)NativeMemory.AllocZeroed((nuint)length) : null;
        LiveBytes += length;
        Insert(allocation);
        Fill(allocation, FreshPattern);
        return allocation;
    }

    /// <summary>Makes an allocation for a recorded graph: it counts as freed until <see cref="Revive"/>.</summary>
    public DeviceAllocation Reserve(long length, string origin)
    {
        DeviceAllocation allocation = Add(length, origin);
        allocation.IsOwnedByGraph = true;
        allocation.Freed = true;
        return allocation;
    }

    /// <summary>Begins a life of a graph's allocation: its bytes were never written.</summary>
    public void Revive(DeviceAllocation allocation)
    {
        allocation.Freed = false;
        if (allocation.Written != null)
        {
            NativeMemory.Clear(allocation.Written, (nuint)allocation.Length);
        }

        Fill(allocation, FreshPattern);
    }

    /// <summary>Gives back the memory of a graph's allocation together with the graph.</summary>
    public void Release(DeviceAllocation allocation)
    {
        LiveBytes -= allocation.Length;
        Remove(allocation);
    }

    /// <summary>Frees an allocation by its first address.</summary>
    /// <exception cref="EmulatorException">No allocation begins there, or it was freed before.</exception>
    public void Free(nint address)
    {
        DeviceAllocation? allocation = Find(address);
        if (allocation is null || allocation.Base != address || allocation.Freed)
        {
            throw new EmulatorException($"Memory was freed that is not there: {Describe(address)}.", EmulatedDevice.InvalidValue);
        }

        allocation.Freed = true;
        Fill(allocation, FreedPattern);
        if (allocation.IsOwnedByGraph)
        {
            return;
        }

        LiveBytes -= allocation.Length;
        if (!isChecked)
        {
            Remove(allocation);
            return;
        }

        quarantine.Enqueue(allocation);
        quarantined += allocation.Length;
        while (quarantined > QuarantineBytes && quarantine.Count > 1)
        {
            DeviceAllocation oldest = quarantine.Dequeue();
            quarantined -= oldest.Length;
            Remove(oldest);
        }
    }

    /// <summary>The allocation that an address lies in, lately freed ones included; null outside of all.</summary>
    public DeviceAllocation? Find(nint address)
    {
        int index = LastAtMost(address);
        return index >= 0 && address - addresses[index] < sorted[index].Length ? sorted[index] : null;
    }

    /// <summary>Where an address lies, in words: inside, or how far from the nearest allocation.</summary>
    public string Describe(nint address)
    {
        int index = LastAtMost(address);
        long behind = index >= 0 ? address - addresses[index] - sorted[index].Length : long.MaxValue;
        if (behind < 0)
        {
            return $"0x{address:x} is byte {address - addresses[index]} of {sorted[index]}";
        }

        long before = index + 1 < count ? addresses[index + 1] - address : long.MaxValue;
        return Math.Min(behind, before) == long.MaxValue ? $"0x{address:x} is no device memory, of which there is none"
            : behind <= before ? $"0x{address:x} is {behind} bytes behind the end of {sorted[index]}"
            : $"0x{address:x} is {before} bytes before the start of {sorted[index + 1]}";
    }

    /// <summary>Frees all memory.</summary>
    public void Dispose()
    {
        while (count > 0)
        {
            Remove(sorted[count - 1]);
        }

        quarantine.Clear();
        quarantined = 0;
        LiveBytes = 0;
    }

    private void Fill(DeviceAllocation allocation, uint pattern)
    {
        if (isChecked)
        {
            DeviceTransfers.FillWords(allocation.Base, pattern, allocation.Length / 4);
            DeviceTransfers.FillBytes(allocation.Base + (nint)(allocation.Length / 4 * 4), (byte)pattern, allocation.Length % 4);
        }
    }

    private void Insert(DeviceAllocation allocation)
    {
        if (count == sorted.Length)
        {
            Array.Resize(ref sorted, 2 * count);
            Array.Resize(ref addresses, 2 * count);
        }

        int index = LastAtMost(allocation.Base) + 1;
        Array.Copy(sorted, index, sorted, index + 1, count - index);
        Array.Copy(addresses, index, addresses, index + 1, count - index);
        sorted[index] = allocation;
        addresses[index] = allocation.Base;
        count++;
    }

    private void Remove(DeviceAllocation allocation)
    {
        int index = LastAtMost(allocation.Base);
        count--;
        Array.Copy(sorted, index + 1, sorted, index, count - index);
        Array.Copy(addresses, index + 1, addresses, index, count - index);
        sorted[count] = null!;
        NativeMemory.AlignedFree((void*)(allocation.Base - (nint)(isChecked ? Guard : 0)));
        NativeMemory.Free(allocation.Written);
        allocation.Written = null;
        spare.Push(allocation);
    }

    private int LastAtMost(nint address)
    {
        int low = 0;
        int high = count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (addresses[middle] <= address)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low - 1;
    }
}
