namespace Saturn.Kernels.Cuda;

/// <summary>
/// Memory of one CUDA device. Buffers are cut out of large segments by best fit and merged with their neighbours when freed, so a steady training
/// step asks the driver for nothing. All work is issued on one stream, which is why a freed buffer may be handed out again at once. With a driver that
/// checks every access, each buffer is an allocation of its own instead.
/// </summary>
internal sealed class CudaMemory(CudaContext context) : IDeviceMemory, IDisposable
{
    private const long Alignment = 256;
    private const long SmallestSegment = 32L << 20;

    // The driver hands out memory in pieces of this size anyway.
    private const long SegmentGranularity = 2L << 20;

    private sealed class Block
    {
        public nint Address;
        public long Capacity;
        public bool IsFree;
        public Block? Previous;
        public Block? Next;

        public bool IsSegment => Previous is null && Next is null;
    }

    private readonly ICudaDriver driver = context.Driver;
    private readonly nint stream = context.Stream;
    private readonly Lock gate = new();
    private readonly Dictionary<nint, Block> live = [];
    private readonly List<Block> free = [];
    private readonly Stack<Block> spare = [];

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
        lock (gate)
        {
            Block block = driver.ChecksMemory ? AllocateAlone(byteLength) : AllocateFromSegments(RoundUp(byteLength, Alignment));
            live.Add(block.Address, block);
            LiveBytes += block.Capacity;
            PeakLiveBytes = Math.Max(PeakLiveBytes, LiveBytes);
            return new DeviceBuffer(block.Address, byteLength);
        }
    }

    /// <inheritdoc/>
    public void Free(DeviceBuffer buffer)
    {
        lock (gate)
        {
            if (!live.Remove(buffer.Address, out Block? block))
            {
                throw new InvalidOperationException(
                    $"The buffer at 0x{buffer.Address:x} is not a live allocation of this device: it was freed before, or is a slice or another device's.");
            }

            LiveBytes -= block.Capacity;
            if (driver.ChecksMemory)
            {
                context.MakeCurrent();
                driver.FreeAsync(block.Address, stream);
                spare.Push(block);
                return;
            }

            CachedBytes += block.Capacity;
            block.IsFree = true;
            if (block.Next is { IsFree: true } next)
            {
                RemoveFree(next);
                Absorb(block, next);
            }

            if (block.Previous is { IsFree: true } previous)
            {
                RemoveFree(previous);
                Absorb(previous, block);
                block = previous;
            }

            InsertFree(block);
        }
    }

    /// <inheritdoc/>
    public void Trim()
    {
        lock (gate)
        {
            ReleaseFreeSegments();
        }
    }

    /// <summary>Frees everything, live blocks included: the device is gone.</summary>
    public void Dispose()
    {
        lock (gate)
        {
            foreach (nint address in live.Keys.ToArray())
            {
                Free(new DeviceBuffer(address, 0));
            }

            if (!driver.ChecksMemory)
            {
                ReleaseFreeSegments();
            }
        }
    }

    private Block AllocateAlone(long byteLength)
    {
        context.MakeCurrent();
        try
        {
            return NewBlock(driver.AllocateAsync(byteLength, stream), byteLength);
        }
        catch (DeviceOutOfMemoryException)
        {
            throw Shortage(byteLength);
        }
    }

    private Block AllocateFromSegments(long capacity)
    {
        int index = FirstAtLeast(capacity);
        Block block;
        if (index < free.Count)
        {
            block = free[index];
            free.RemoveAt(index);
        }
        else
        {
            block = AllocateSegment(capacity);
        }

        if (block.Capacity > capacity)
        {
            Block rest = NewBlock(block.Address + (nint)capacity, block.Capacity - capacity);
            rest.IsFree = true;
            rest.Previous = block;
            rest.Next = block.Next;
            if (rest.Next is not null)
            {
                rest.Next.Previous = rest;
            }

            block.Next = rest;
            block.Capacity = capacity;
            InsertFree(rest);
        }

        block.IsFree = false;
        CachedBytes -= capacity;
        return block;
    }

    /// <summary>A new segment of at least that capacity: first of a comfortable size, then after giving back what is cached, at last of just the size that is needed.</summary>
    private Block AllocateSegment(long capacity)
    {
        long segment = RoundUp(Math.Max(capacity, SmallestSegment), SegmentGranularity);
        nint address = TryAllocate(segment);
        if (address == 0)
        {
            ReleaseFreeSegments();
            address = TryAllocate(segment);
        }

        if (address == 0 && capacity < segment)
        {
            segment = capacity;
            address = TryAllocate(segment);
        }

        if (address == 0)
        {
            throw Shortage(capacity);
        }

        CachedBytes += segment;
        return NewBlock(address, segment);
    }

    private nint TryAllocate(long byteLength)
    {
        context.MakeCurrent();
        try
        {
            return driver.Allocate(byteLength);
        }
        catch (DeviceOutOfMemoryException)
        {
            return 0;
        }
    }

    private DeviceOutOfMemoryException Shortage(long byteLength)
    {
        (long left, long total) = driver.MemoryInformation();
        return new DeviceOutOfMemoryException(DeviceOutOfMemoryException.Describe(
            $"The CUDA device ({left >> 20} of {total >> 20} MiB free)", byteLength, LiveBytes, live.Values.Select(block => block.Capacity)));
    }

    private static long RoundUp(long value, long granularity) => (value + granularity - 1) / granularity * granularity;

    private Block NewBlock(nint address, long capacity)
    {
        Block block = spare.TryPop(out Block? old) ? old : new Block();
        (block.Address, block.Capacity, block.IsFree, block.Previous, block.Next) = (address, capacity, false, null, null);
        return block;
    }

    /// <summary>Appends the right neighbour to a block.</summary>
    private void Absorb(Block left, Block right)
    {
        left.Capacity += right.Capacity;
        left.Next = right.Next;
        if (left.Next is not null)
        {
            left.Next.Previous = left;
        }

        spare.Push(right);
    }

    private void ReleaseFreeSegments()
    {
        context.MakeCurrent();
        for (int i = free.Count - 1; i >= 0; i--)
        {
            if (free[i].IsSegment)
            {
                driver.Free(free[i].Address);
                CachedBytes -= free[i].Capacity;
                spare.Push(free[i]);
                free.RemoveAt(i);
            }
        }
    }

    private void InsertFree(Block block) => free.Insert(FirstAtLeast(block.Capacity), block);

    private void RemoveFree(Block block) => free.RemoveAt(free.IndexOf(block, FirstAtLeast(block.Capacity)));

    // The free list is sorted by capacity, ascending: the first large enough is the best fit.
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
}
