using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;

namespace Saturn.Tests.Cuda;

/// <summary>The allocator of CUDA devices: cutting and merging, giving back, shortage, and no managed allocation in the steady state.</summary>
public sealed class CudaMemoryTests
{
    private const long Mebibyte = 1 << 20;

    private EmulatedDriver driver = null!;
    private CudaDevice device = null!;

    private IDeviceMemory Memory => device.Memory;

    private void Open(long memoryBytes, bool isChecked = false)
    {
        driver = new EmulatedDriver(new EmulatorOptions(isChecked, Workers: 1, memoryBytes));
        device = new CudaDevice("test", driver);
    }

    [TearDown]
    public void Close()
    {
        device.Dispose();
        Assert.That(driver.Leaks, Is.Empty);
    }

    [Test]
    public void A_reserve_gives_the_same_addresses_for_the_same_requests_and_to_nobody_else()
    {
        Open(200 * Mebibyte);
        CudaMemory memory = device.Context.Memory;
        memory.Free(memory.Allocate(Mebibyte));
        CudaMemory.Reserve reserve = new();
        nint[] first = Pass();
        Assert.That(reserve.HasGrown, "from nothing");
        Assert.That(memory.CachedBytes, Is.EqualTo(64 * Mebibyte), "the free segment was taken over, and one more was needed");
        reserve.HasGrown = false;
        nint[] second = Pass();
        DeviceBuffer[] others = [.. Enumerable.Range(0, 20).Select(_ => memory.Allocate(Mebibyte))];
        nint[] third = Pass();
        Assert.That(third, Is.EqualTo(second));
        Assert.That(reserve.HasGrown, Is.False);
        Assert.That(others.Select(buffer => (long)buffer.Address), Has.None.Matches<long>(address => first.Any(taken => address >= taken && address < taken + 20 * Mebibyte)));
        memory.Enter(reserve);
        DeviceBuffer kept = memory.Allocate(Mebibyte);
        memory.Leave();
        memory.Release(reserve);
        memory.Free(kept);
        Array.ForEach(others, memory.Free);
        Assert.That(memory.LiveBuffers, Is.Zero);
        memory.Trim();
        Assert.That(memory.CachedBytes, Is.Zero, "all segments are the common memory's again");

        nint[] Pass()
        {
            memory.Enter(reserve);
            DeviceBuffer[] buffers = [.. ((int[])[20, 1, 20, 3]).Select(size => memory.Allocate(size * Mebibyte))];
            Array.ForEach(buffers, memory.Free);
            memory.Leave();
            return [.. buffers.Select(buffer => buffer.Address)];
        }
    }

    [Test]
    public void Buffers_are_cut_from_one_segment_and_merge_again()
    {
        Open(100 * Mebibyte);
        DeviceBuffer[] buffers = [.. Enumerable.Range(1, 10).Select(i => Memory.Allocate(i * 1_000))];
        Assert.That(Memory.LiveBuffers, Is.EqualTo(10));
        Assert.That(Memory.LiveBytes, Is.InRange(55_000, 55_000 + 10 * 255));
        Assert.That(Memory.LiveBytes + Memory.CachedBytes, Is.EqualTo(32 * Mebibyte));
        Assert.That(buffers.Select(buffer => (long)buffer.Address % 256), Is.All.Zero);
        AssertDisjoint(buffers);
        foreach (int i in (int[])[3, 5, 4, 0, 9, 8, 1, 2, 7, 6])
        {
            Memory.Free(buffers[i]);
        }

        Assert.That((Memory.LiveBytes, Memory.LiveBuffers, Memory.CachedBytes), Is.EqualTo((0L, 0, 32 * Mebibyte)));
        Memory.Free(Memory.Allocate(32 * Mebibyte));
        Assert.That(Memory.CachedBytes, Is.EqualTo(32 * Mebibyte), "the pieces had merged into the whole");
        Memory.Trim();
        Assert.That(Memory.CachedBytes, Is.Zero);
        Assert.That(driver.MemoryInformation().Free, Is.EqualTo(100 * Mebibyte));
    }

    [Test]
    public void The_smallest_piece_that_is_large_enough_is_taken()
    {
        Open(100 * Mebibyte);
        DeviceBuffer large = Memory.Allocate(8_192);
        DeviceBuffer between = Memory.Allocate(256);
        DeviceBuffer small = Memory.Allocate(1_024);
        DeviceBuffer last = Memory.Allocate(256);
        Memory.Free(large);
        Memory.Free(small);
        DeviceBuffer taken = Memory.Allocate(1_000);
        Assert.That(taken.Address, Is.EqualTo(small.Address));
        DeviceBuffer another = Memory.Allocate(1_000);
        Assert.That(another.Address, Is.EqualTo(large.Address));
        foreach (DeviceBuffer buffer in (DeviceBuffer[])[between, last, taken, another])
        {
            Memory.Free(buffer);
        }
    }

    [Test]
    public void Random_use_keeps_buffers_apart_and_ends_with_nothing()
    {
        Open(1_000 * Mebibyte);
        Random random = new(1);
        List<DeviceBuffer> live = [];
        for (int i = 0; i < 3_000; i++)
        {
            if (live.Count > 60 || (live.Count > 0 && random.Next(2) == 0))
            {
                int index = random.Next(live.Count);
                Memory.Free(live[index]);
                live.RemoveAt(index);
            }
            else
            {
                live.Add(Memory.Allocate(1 + (long)(Math.Pow(random.NextDouble(), 6) * 50_000_000)));
            }

            if (i % 100 == 0)
            {
                AssertDisjoint(live);
                Assert.That(Memory.LiveBytes + Memory.CachedBytes, Is.EqualTo(1_000 * Mebibyte - driver.MemoryInformation().Free), "every byte of the driver's is live or cached");
            }
        }

        foreach (DeviceBuffer buffer in live)
        {
            Memory.Free(buffer);
        }

        Memory.Trim();
        Assert.That((Memory.LiveBytes, Memory.CachedBytes, driver.MemoryInformation().Free), Is.EqualTo((0L, 0L, 1_000 * Mebibyte)), "all segments were whole again");
    }

    [Test]
    public void Cached_segments_are_given_back_before_memory_is_short()
    {
        Open(100 * Mebibyte);
        Memory.Free(Memory.Allocate(60 * Mebibyte));
        DeviceBuffer buffer = Memory.Allocate(80 * Mebibyte);
        Assert.That(Memory.CachedBytes, Is.Zero);
        DeviceBuffer small = Memory.Allocate(10 * Mebibyte);
        Assert.That(Memory.CachedBytes, Is.Zero, "20 MiB are left, too few for a segment of 32 MiB: it gets just what it needs");
        DeviceOutOfMemoryException exception = Assert.Throws<DeviceOutOfMemoryException>(() => Memory.Allocate(11 * Mebibyte))!;
        Assert.That(exception.Message, Does.Contain("10 of 100 MiB free").And.Contain("2 live buffers").And.Contain("80.00 MiB"));
        Memory.Free(small);
        Memory.Free(buffer);
    }

    [TestCase(true)]
    [TestCase(false)]
    public void A_steady_pattern_allocates_nothing_and_waits_for_nothing(bool isChecked)
    {
        Open(100 * Mebibyte, isChecked);
        DeviceBuffer[] buffers = new DeviceBuffer[50];

        // In checked mode records of freed memory come back when 64 MiB are in quarantine.
        for (int i = 0; i < 60; i++)
        {
            Step();
        }

        device.Synchronize();
        long waits = driver.SynchronizingCalls;
        long before = GC.GetAllocatedBytesForCurrentThread();
        Step();
        Step();
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        Assert.That(driver.SynchronizingCalls, Is.EqualTo(waits));

        void Step()
        {
            for (int i = 0; i < buffers.Length; i++)
            {
                buffers[i] = Memory.Allocate(1_000 * (i % 7 + 1) * 11);
                if (i % 3 == 2)
                {
                    Memory.Free(buffers[i - 1]);
                }
            }

            for (int i = 0; i < buffers.Length; i++)
            {
                if (i % 3 != 1 || i == buffers.Length - 1)
                {
                    Memory.Free(buffers[i]);
                }
            }
        }
    }

    [Test]
    public void Freeing_what_is_not_live_is_an_error()
    {
        Open(100 * Mebibyte);
        DeviceBuffer buffer = Memory.Allocate(1_000);
        Memory.Free(buffer);
        Assert.That(Assert.Throws<InvalidOperationException>(() => Memory.Free(buffer))!.Message, Does.Contain("freed before"));
        DeviceBuffer other = Memory.Allocate(1_000);
        Assert.Throws<InvalidOperationException>(() => Memory.Free(other.Slice(256, 16)));
        Memory.Free(other);
    }

    [Test]
    public void Buffers_left_behind_go_with_the_device()
    {
        Open(100 * Mebibyte);
        Memory.Allocate(1_000);
        Memory.Allocate(50 * Mebibyte);
        Assert.That(Memory.PeakLiveBytes, Is.EqualTo(Memory.LiveBytes));
    }

    private static void AssertDisjoint(IReadOnlyList<DeviceBuffer> buffers)
    {
        DeviceBuffer[] sorted = [.. buffers.OrderBy(buffer => buffer.Address)];
        for (int i = 1; i < sorted.Length; i++)
        {
            Assert.That((long)sorted[i].Address, Is.GreaterThanOrEqualTo((long)sorted[i - 1].Address + sorted[i - 1].ByteLength));
        }
    }
}
