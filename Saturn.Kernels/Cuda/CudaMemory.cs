namespace Saturn.Kernels.Cuda;

/// <summary>
/// Memory of one CUDA device. Buffers are cut out of large segments by best fit and merged with their neighbours when freed, so a steady training
/// step asks the driver for nothing. All work is issued on one stream, which is why a freed buffer may be handed out again at once. With a driver that
/// checks every access, each buffer is an allocation of its own instead.
///
/// A recorded step keeps the addresses that it was recorded with. It therefore lives in a <see cref="Reserve"/>: segments that hand out memory to this step only. Starting from the same free
/// blocks, the same sequence of requests is served with the same addresses.
/// </summary>
internal sealed class CudaMemory(CudaContext context) : IDeviceMemory, IDisposable
{
    private const long Alignment = 256;
    private const long SmallestSegment = 32L << 20;

    // The driver hands out memory in pieces of this size anyway.
    private const long SegmentGranularity = 2L << 20;

    internal sealed class Block
    {
        public nint Address;
        public long Capacity;
        public bool IsFree;
        public Reserve Home = null!;
        public Block? Previous;
        public Block? Next;

        public bool IsSegment => Previous is null && Next is null;
    }

    /// <summary>Segments with their free blocks, sorted by capacity, ascending.</summary>
    internal sealed class Reserve
    {
        public List<Block> Free { get; } = [];

        /// <summary>Whether a segment was added since this was last set.</summary>
        public bool HasGrown { get; set; }
    }

    private readonly ICudaDriver driver = context.Driver;
    private readonly nint stream = context.Stream;
    private readonly Lock gate = new();
    private readonly Dictionary<nint, Block> live = [];
    private readonly Reserve common = new();
    private Reserve? entered;
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

    /// <summary>From now on memory comes from a reserve; what is freed goes back to where it came from.</summary>
    public void Enter(Reserve reserve)
    {
        lock (gate)
        {
            entered = reserve;
        }
    }

    /// <summary>From now on memory comes from what all share.</summary>
    public void Leave()
    {
        lock (gate)
        {
            entered = null;
        }
    }

    /// <summary>Hands a reserve's segments over to all; whoever holds memory of it keeps it.</summary>
    public void Release(Reserve reserve)
    {
        lock (gate)
        {
            foreach (Block block in live.Values)
            {
                block.Home = block.Home == reserve ? common : block.Home;
            }

            foreach (Block block in reserve.Free)
            {
                block.Home = common;
                InsertFree(block);
            }

            reserve.Free.Clear();
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
        Reserve from = entered ?? common;
        int index = FirstAtLeast(from.Free, capacity);
        Block block;
        if (index < from.Free.Count)
        {
            block = from.Free[index];
            from.Free.RemoveAt(index);
        }
        else
        {
            block = from == common ? AllocateSegment(capacity) : TakeSegment(capacity);
            block.Home = from;
            from.HasGrown = true;
        }

        if (block.Capacity > capacity)
        {
            Block rest = NewBlock(block.Address + (nint)capacity, block.Capacity - capacity);
            rest.IsFree = true;
            rest.Home = block.Home;
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

    /// <summary>The smallest segment of the common memory that is free as a whole and large enough, or a new one.</summary>
    private Block TakeSegment(long capacity)
    {
        for (int i = FirstAtLeast(common.Free, capacity); i < common.Free.Count; i++)
        {
            Block block = common.Free[i];
            if (block.IsSegment)
            {
                common.Free.RemoveAt(i);
                return block;
            }
        }

        return AllocateSegment(capacity);
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
        (block.Address, block.Capacity, block.IsFree, block.Home, block.Previous, block.Next) = (address, capacity, false, common, null, null);
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
        List<Block> free = common.Free;
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

    private static void InsertFree(Block block) => block.Home.Free.Insert(FirstAtLeast(block.Home.Free, block.Capacity), block);

    private static void RemoveFree(Block block) => block.Home.Free.RemoveAt(block.Home.Free.IndexOf(block, FirstAtLeast(block.Home.Free, block.Capacity)));

    // The first that is large enough is the best fit.
    private static int FirstAtLeast(List<Block> free, long capacity)
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
