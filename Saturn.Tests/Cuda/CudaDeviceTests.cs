using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Tests.Emulator;
using Saturn.Training;

namespace Saturn.Tests.Cuda;

/// <summary>A CUDA device over the emulated driver: uploads that do not wait, use from several threads, what remains of a lost context, names.</summary>
public sealed class CudaDeviceTests
{
    private EmulatedDriver driver = null!;
    private CudaDevice device = null!;

    [SetUp]
    public void Open()
    {
        driver = new EmulatedDriver(new EmulatorOptions(Checked: true, Workers: 1));
        device = new CudaDevice("test", driver);
    }

    [TearDown]
    public void Close()
    {
        device.Dispose();
        Assert.That(driver.Leaks, Is.Empty);
    }

    [Test]
    public void Uploads_do_not_wait_and_their_source_may_be_reused_at_once()
    {
        DeviceBuffer[] buffers = [.. Enumerable.Range(0, 40).Select(_ => device.Memory.Allocate(4_000))];
        Upload();
        device.Synchronize();
        Upload();
        device.Synchronize();
        long waits = driver.SynchronizingCalls;
        Upload();
        Assert.That(driver.SynchronizingCalls, Is.EqualTo(waits));
        for (int i = 0; i < buffers.Length; i++)
        {
            int[] values = new int[1_000];
            device.Download(buffers[i], MemoryMarshal.AsBytes(values.AsSpan()));
            Assert.That(values, Is.All.EqualTo(i));
            device.Memory.Free(buffers[i]);
        }

        void Upload()
        {
            int[] source = new int[1_000];
            for (int i = 0; i < buffers.Length; i++)
            {
                Array.Fill(source, i);
                device.Upload(MemoryMarshal.AsBytes(source.AsSpan()), buffers[i]);
            }
        }
    }

    [Test]
    public void Steady_uploads_allocate_nothing_on_the_managed_heap()
    {
        DeviceBuffer buffer = device.Memory.Allocate(4_000);
        byte[] source = new byte[4_000];
        for (int i = 0; i < 300; i++)
        {
            device.Upload(source, buffer);
        }

        device.Synchronize();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 10; i++)
        {
            device.Upload(source, buffer);
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        device.Memory.Free(buffer);
    }

    [Test]
    public void A_device_may_be_used_from_another_thread_and_beside_another_device()
    {
        using CudaDevice second = new("second", new EmulatedDriver(new EmulatorOptions(Workers: 1)));
        byte[] result = new byte[3];
        Thread thread = new(() =>
        {
            DeviceBuffer there = second.Memory.Allocate(3);
            DeviceBuffer here = device.Memory.Allocate(3);
            device.Upload([1, 2, 3], here);
            second.Clear(there);
            DeviceBuffer copy = device.Memory.Allocate(3);
            device.Copy(here, copy);
            second.Synchronize();
            device.Download(copy, result);
            second.Memory.Free(there);
            device.Memory.Free(here);
            device.Memory.Free(copy);
        });
        thread.Start();
        thread.Join();
        Assert.That(result, Is.EqualTo(new byte[] { 1, 2, 3 }));
    }

    [Test]
    public void After_a_lost_context_the_device_can_still_be_disposed()
    {
        DeviceBuffer buffer = device.Memory.Allocate(64);
        device.Upload(new byte[8], buffer);
        Assert.Throws<EmulatorException>(() => device.Download(buffer, new byte[64]));
        Assert.Throws<CudaException>(device.Synchronize);
        device.Memory.Free(buffer);
        Assert.DoesNotThrow(device.Dispose);
    }

    [Test]
    public void A_failure_that_nobody_waited_for_shows_when_the_device_is_disposed()
    {
        DeviceBuffer buffer = device.Memory.Allocate(64);
        device.Copy(new DeviceBuffer(buffer.Address + 32, 64), new DeviceBuffer(buffer.Address, 64));
        Assert.Throws<EmulatorException>(device.Dispose);
        Assert.DoesNotThrow(device.Dispose);
    }

    [Test]
    public void A_launch_costs_no_managed_memory()
    {
        using IdleDriver idle = new();
        using CudaDevice quiet = new("idle", idle);
        CudaKernel<EmulatedDriverTest.ScaleArguments> kernel = quiet.Context.Module([0], "none").Kernel<EmulatedDriverTest.ScaleArguments>("scale");
        EmulatedDriverTest.ScaleArguments arguments = default;
        kernel.Launch(arguments, LaunchGeometry.Cover(1_000, 256));
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1_000; i++)
        {
            arguments.Count = i;
            kernel.Launch(arguments, LaunchGeometry.Cover(i + 1, 256));
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        Assert.That(idle.Launches, Is.EqualTo(1_001));
    }

    [Test]
    public void Names_open_what_they_say()
    {
        using Device @checked = Devices.Open("emulated", 1);
        using Device fast = Devices.Open("emulated:fast", 1);
        Assert.That((@checked.Name, @checked.Kind, fast.Name, fast.Kind), Is.EqualTo(("emulated", DeviceKind.Emulated, "emulated:fast", DeviceKind.Emulated)));
        Assert.That(@checked.Description, Does.Contain("Saturn emulator").And.Contain("memory checked"));
        Assert.That(Assert.Throws<ArgumentException>(() => Devices.Open("cuda:x"))!.Message, Does.Contain("emulated:fast").And.Contain("cuda:N"));
        if (TestDevices.WithoutCuda is { } reason)
        {
            Assert.That(Assert.Throws<CudaException>(() => Devices.Open("cuda"))!.Message, Is.EqualTo(reason));
        }
    }

    [Test]
    public void A_cuda_device_is_tested()
    {
        if (!TestDevices.Names.Any(name => name.StartsWith("cuda", StringComparison.Ordinal)))
        {
            Assert.Ignore("The test matrix does not run on a CUDA device: " + (TestDevices.WithoutCuda?.Split('\n')[0] ?? "SATURN_TEST_DEVICES lists none."));
        }
    }
}
