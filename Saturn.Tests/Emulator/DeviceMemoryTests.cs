using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Emulator.Memory;
using Saturn.Kernels;

namespace Saturn.Tests.Emulator;

/// <summary>Memory of the emulated device in checked mode: its bounds, its life, and what was never written.</summary>
public sealed unsafe class DeviceMemoryTests : EmulatedDriverTest
{
    private protected override EmulatorOptions Options => base.Options with { MemoryBytes = 1 << 20 };

    [Test]
    public void Bytes_that_were_never_written_do_not_reach_the_host()
    {
        nint data = Driver.AllocateAsync(64, Stream);
        Driver.FillAsync(data, 0, 24, Stream);
        Driver.FillAsync(data + 25, 0, 39, Stream);
        Assert.That(Assert.Catch<EmulatorException>(() => Read(data, 16))!.Message, Does.Contain("byte 24 ").And.Contain("never written").And.Contain("64 bytes"));
    }

    [Test]
    public void The_record_of_written_bytes_goes_along_with_copies_inside_the_device()
    {
        nint source = Driver.AllocateAsync(16, Stream);
        nint target = Upload(1, 2, 3, 4);
        Driver.FillAsync(source, 0, 8, Stream);
        Driver.CopyAsync(target, source, 16, Stream);
        Assert.That(Read(target, 2), Is.EqualTo(new float[] { 0, 0 }));
        Assert.That(Assert.Catch<EmulatorException>(() => Read(target, 3))!.Message, Does.Contain("byte 8 "));
    }

    [Test]
    public void Use_after_free_is_found_while_the_memory_may_already_be_asked_for_again()
    {
        nint module = Driver.LoadModule(ScaleImage, "scale.ptx");
        nint data = Upload(1, 2);
        Driver.FreeAsync(data, Stream);
        nint other = Upload(3, 4);
        Assert.That(other, Is.Not.EqualTo(data), "freed memory waits in quarantine");
        LaunchScale(Driver.GetFunction(module, "scale"), data, 2, 3);
        Assert.That(Assert.Catch<EmulatorException>(() => Driver.SynchronizeStream(Stream))!.Message, Does.Contain("freed"));
        Driver.UnloadModule(module);
    }

    [Test]
    public void Memory_freed_in_stream_order_lives_until_its_turn()
    {
        nint data = Upload(5);
        float* host = (float*)Driver.AllocatePinned(4);
        Driver.CopyToHostAsync(host, data, 4, Stream);
        Driver.FreeAsync(data, Stream);
        Driver.SynchronizeStream(Stream);
        Assert.That(*host, Is.EqualTo(5));
        Driver.FreePinned((nint)host);
    }

    [Test]
    public void Freeing_twice_and_freeing_the_middle_fail()
    {
        nint data = Driver.Allocate(64);
        Driver.Free(data);
        Assert.That(Fails(1, () => Driver.Free(data)), Does.Contain("freed"));
        nint other = Driver.Allocate(64);
        Fails(1, () => Driver.Free(other + 16));
        Driver.Free(other);
    }

    [TestCase(60, 8, "4 bytes behind its end")]
    [TestCase(64, 4, "0 bytes behind the end")]
    [TestCase(-4, 4, "4 bytes before the start")]
    public void Copies_beyond_an_allocation_are_found(int offset, int length, string place)
    {
        nint data = Driver.Allocate(64);
        Driver.FillAsync(data + offset, 1, length, Stream);
        Assert.That(Assert.Catch<EmulatorException>(() => Driver.SynchronizeStream(Stream))!.Message, Does.Contain(place).And.Contain("cuMemsetD8Async"));
    }

    [Test]
    public void A_kernel_beyond_an_allocation_is_found_though_memory_lies_there()
    {
        nint module = Driver.LoadModule(ScaleImage, "scale.ptx");
        nint data = Upload(1, 2, 3);
        LaunchScale(Driver.GetFunction(module, "scale"), data - 4, 3, 2);
        Assert.That(Assert.Catch<EmulatorException>(() => Driver.SynchronizeStream(Stream))!.Message, Does.Contain("scale"));
        Driver.UnloadModule(module);
    }

    [Test]
    public void The_device_is_as_large_as_the_options_say()
    {
        nint half = Driver.Allocate(512 << 10);
        nint rest = Driver.AllocateAsync(512 << 10, Stream);
        Assert.That(Driver.MemoryInformation(), Is.EqualTo((0L, 1L << 20)));
        Assert.That(Assert.Throws<DeviceOutOfMemoryException>(() => Driver.Allocate(1))!.Message, Does.Contain("0 of the emulated device's 1048576"));
        Driver.FreeAsync(rest, Stream);
        rest = Driver.AllocateAsync(512 << 10, Stream);
        Driver.Free(half);
        Driver.FreeAsync(rest, Stream);
    }

    [Test]
    public void Overlapping_copies_fail()
    {
        nint data = Upload(1, 2, 3, 4);
        Driver.CopyAsync(data + 4, data, 8, Stream);
        Assert.That(Assert.Catch<EmulatorException>(() => Driver.SynchronizeStream(Stream))!.Message, Does.Contain("overlap"));
    }

    [Test]
    public void Leaks_are_listed()
    {
        EmulatedDriver driver = new(Options);
        driver.SetCurrentContext(driver.RetainPrimaryContext(0));
        nint stream = driver.CreateStream();
        driver.CreateEvent(timing: false);
        driver.AllocatePinned(10);
        driver.AllocateAsync(12, stream);
        nint freed = driver.AllocateAsync(14, stream);
        driver.FreeAsync(freed, stream);
        driver.Dispose();
        Driver.SetCurrentContext(Driver.RetainPrimaryContext(0));
        Driver.ReleasePrimaryContext(0);
        Assert.That(driver.Leaks, Has.Count.EqualTo(5));
        Assert.That(string.Join('\n', driver.Leaks), Does.Contain("12 bytes").And.Contain("10 bytes of page-locked").And.Contain("stream").And.Contain("event").And.Contain("context"));
    }

    [Test]
    public void Addresses_are_found_in_any_order_of_allocation_and_release()
    {
        using DeviceAllocations allocations = new(isChecked: false, 1 << 30);
        Random random = new(1);
        List<DeviceAllocation> live = [];
        for (int i = 0; i < 2_000; i++)
        {
            if (live.Count > 0 && random.Next(3) == 0)
            {
                int index = random.Next(live.Count);
                nint gone = live[index].Base;
                allocations.Free(gone);
                live.RemoveAt(index);
                Assert.That(allocations.Find(gone)?.Base, Is.Not.EqualTo(gone));
            }
            else
            {
                live.Add(allocations.Add(random.Next(1, 5_000)));
            }
        }

        foreach (DeviceAllocation allocation in live)
        {
            Assert.That((long)allocation.Base % 256, Is.Zero);
            Assert.That(allocations.Find(allocation.Base), Is.SameAs(allocation));
            Assert.That(allocations.Find(allocation.Base + (nint)allocation.Length - 1), Is.SameAs(allocation));
            Assert.That(allocations.Find(allocation.Base + (nint)allocation.Length), Is.Not.SameAs(allocation));
        }

        Assert.That(allocations.LiveBytes, Is.EqualTo(live.Sum(allocation => allocation.Length)));
    }
}
