using System.Runtime.InteropServices;

namespace Saturn.Kernels.Cpu;

/// <summary>
/// A pool of 64-byte aligned blocks. Freed blocks are kept and handed out again to requests that fill at least seven eighths of them, so a steady
/// training step asks the system for nothing. When live and cached blocks together outgrow twice the largest use so far, the cache is given back.
/// </summary>
internal sealed unsafe class CpuMemory : IDeviceMemory, IDisposable
{
    // Kernels may load whole vectors that begin inside a buffer, so every block has a vector's worth of readable bytes behind it.
    private const long VectorSlack = 64;
    private const long SmallGranularity = 64;
    private const long LargeGranularity = 4096;
    private const long LargeThreshold = 64 * 1024;

    private readonly Lock gate = new();
    private readonly Dictionary<nint, (long Requested, long Capacity)> live = [];

    // Sorted by capacity, ascending: a binary search finds the best fit.
    private readonly List<(long Capacity, nint Address)> free = [];

    /// <inheritdoc/>
    public long LiveBytes { get; private set; }

    /// <inheritdoc/>
    public int LiveBuffers
    {
        get
        {
            lock (gate)
            {
                return live.Count;
            }
        }
    }

    /// <inheritdoc/>
    public long CachedBytes { get; private set; }

    /// <inheritdoc/>
    public long PeakLiveBytes { get; private set; }

    /// <inheritdoc/>
    public DeviceBuffer Allocate(long byteLength)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(byteLength, 1);
        long padded = byteLength + VectorSlack;
        long granularity = padded < LargeThreshold ? SmallGranularity : LargeGranularity;
        long capacity = (padded + granularity - 1) / granularity * granularity;
        lock (gate)
        {
            int index = FirstAtLeast(capacity);
            nint address;
            if (index < free.Count && free[index].Capacity <= Math.Max(capacity + capacity / 7, SmallGranularity))
            {
                (capacity, address) = free[index];
                free.RemoveAt(index);
                CachedBytes -= capacity;
            }
            else
            {
                // A steady step finds every size it asks for. Misses come from changing sizes, after a compaction or in evaluation: then the cache must not pile up.
                if (LiveBytes + CachedBytes + capacity > 2 * Math.Max(PeakLiveBytes, LiveBytes + capacity))
                {
                    ReleaseCache();
                }

                address = AllocateFromSystem(capacity);
            }

            live.Add(address, (byteLength, capacity));
            LiveBytes += capacity;
            PeakLiveBytes = Math.Max(PeakLiveBytes, LiveBytes);
            return new DeviceBuffer(address, byteLength);
        }
    }

    /// <inheritdoc/>
    public void Free(DeviceBuffer buffer)
    {
        lock (gate)
        {
            if (!live.Remove(buffer.Address, out var block))
            {
                throw new InvalidOperationException(
                    $"The buffer at 0x{buffer.Address:x} is not a live allocation of this device: it was freed before, or is a slice or another device's.");
            }

            LiveBytes -= block.Capacity;
            CachedBytes += block.Capacity;
            free.Insert(FirstAtLeast(block.Capacity), (block.Capacity, buffer.Address));
        }
    }

    /// <inheritdoc/>
    public void Trim()
    {
        lock (gate)
        {
            ReleaseCache();
        }
    }

    /// <summary>Frees everything, live blocks included: the device is gone.</summary>
    public void Dispose()
    {
        lock (gate)
        {
            ReleaseCache();
            foreach (nint address in live.Keys)
            {
                NativeMemory.AlignedFree((void*)address);
            }

            live.Clear();
            LiveBytes = 0;
        }
    }

    private nint AllocateFromSystem(long capacity)
    {
        try
        {
            return (nint)NativeMemory.AlignedAlloc((nuint)capacity, 64);
        }
        catch (OutOfMemoryException)
        {
            ReleaseCache();
        }

        try
        {
            return (nint)NativeMemory.AlignedAlloc((nuint)capacity, 64);
        }
        catch (OutOfMemoryException)
        {
            throw new DeviceOutOfMemoryException(DeviceOutOfMemoryException.Describe("The host", capacity, LiveBytes, live.Values.Select(block => block.Capacity)));
        }
    }

    private int FirstAtLeast(long capacity)
    {
        int low = 0;
        int high = free.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (free[middle].Capacity < capacity)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    private void ReleaseCache()
    {
        foreach (var (_, address) in free)
        {
            NativeMemory.AlignedFree((void*)address);
        }

        free.Clear();
        CachedBytes = 0;
    }
}
