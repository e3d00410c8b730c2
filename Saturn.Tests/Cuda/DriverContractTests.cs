using System.Globalization;
using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Tests.Emulator;

namespace Saturn.Tests.Cuda;

/// <summary>
/// What Saturn relies on from a CUDA driver, on the emulated one and on the real one where there is one: the same calls, results and codes, so that what passes on the emulator passes on
/// hardware.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.DriverNames))]
public sealed unsafe class DriverContractTests(string name)
{
    private ICudaDriver driver = null!;
    private nint stream;
    private nint module;
    private nint scale;

    private int Ordinal => name.Contains(':') ? int.Parse(name[(name.IndexOf(':') + 1)..], CultureInfo.InvariantCulture) : 0;

    [SetUp]
    public void Open()
    {
        driver = name == "emulated" ? new EmulatedDriver(new EmulatorOptions(Checked: true, Workers: 2)) : LibCudaDriver.Open();
        driver.SetCurrentContext(driver.RetainPrimaryContext(Ordinal));
        stream = driver.CreateStream();
        module = driver.LoadModule(EmulatedDriverTest.ScaleImage, "scale.ptx");
        scale = driver.GetFunction(module, "scale");
    }

    [TearDown]
    public void Close()
    {
        driver.UnloadModule(module);
        driver.DestroyStream(stream);
        driver.ReleasePrimaryContext(Ordinal);
        driver.Dispose();
        Assert.That((driver as EmulatedDriver)?.Leaks ?? [], Is.Empty);
    }

    [Test]
    public void A_device_describes_itself()
    {
        Assert.That(driver.DriverVersion, Is.GreaterThanOrEqualTo(11_040));
        Assert.That(driver.DeviceName(Ordinal), Is.Not.Empty);
        Assert.That(driver.DeviceAttribute(Ordinal, CudaDeviceAttribute.WarpSize), Is.EqualTo(32));
        Assert.That(driver.DeviceAttribute(Ordinal, CudaDeviceAttribute.MaximumThreadsPerBlock), Is.EqualTo(1_024));
        Assert.That(driver.DeviceAttribute(Ordinal, CudaDeviceAttribute.MaximumSharedMemoryPerBlock), Is.EqualTo(48 * 1_024));
        Assert.That(driver.DeviceAttribute(Ordinal, CudaDeviceAttribute.MemoryPoolsSupported), Is.EqualTo(1));
        foreach (CudaDeviceAttribute attribute in Enum.GetValues<CudaDeviceAttribute>())
        {
            Assert.That(driver.DeviceAttribute(Ordinal, attribute), Is.GreaterThanOrEqualTo(0), attribute.ToString());
        }

        (long free, long total) = driver.MemoryInformation();
        Assert.That(free, Is.InRange(1, total));
        TestContext.Out.WriteLine($"{driver.DeviceName(Ordinal)}, {driver.TargetArchitecture(Ordinal)}, {driver.Description}");
    }

    [Test]
    public void A_kernel_describes_itself()
    {
        Assert.That(driver.FunctionAttribute(scale, CudaFunctionAttribute.MaximumThreadsPerBlock), Is.EqualTo(256));
        Assert.That(driver.FunctionAttribute(scale, CudaFunctionAttribute.SharedSizeBytes), Is.Zero);
        Assert.That(driver.FunctionAttribute(scale, CudaFunctionAttribute.LocalSizeBytes), Is.Zero);
        Assert.That(driver.FunctionAttribute(scale, CudaFunctionAttribute.RegisterCount), Is.InRange(1, 255));
        driver.SetFunctionAttribute(scale, CudaFunctionAttribute.MaximumDynamicSharedSizeBytes, 64 * 1_024);
        Assert.That(driver.FunctionAttribute(scale, CudaFunctionAttribute.MaximumDynamicSharedSizeBytes), Is.EqualTo(64 * 1_024));
    }

    [Test]
    public void Calls_run_in_the_order_of_the_calls()
    {
        nint data = Upload(1, 2, 3);
        nint copy = driver.AllocateAsync(12, stream);
        Scale(data, 3, 2);
        driver.FillWordsAsync(data, BitConverter.SingleToUInt32Bits(5), 1, stream);
        driver.CopyAsync(copy, data, 12, stream);
        driver.FillAsync(data + 4, 0, 4, stream);
        Scale(copy, 3, 10);
        Assert.That((float[])[.. Read(data, 3), .. Read(copy, 3)], Is.EqualTo(new float[] { 5, 0, 6, 50, 40, 60 }));
        driver.FreeAsync(data, stream);
        driver.FreeAsync(copy, stream);
    }

    [Test]
    public void Launch_attributes_do_no_harm()
    {
        nint data = Upload(1, 2, 3);
        EmulatedDriverTest.ScaleArguments arguments = new() { Data = data, Count = 3, Factor = 2 };
        driver.LaunchWithAttributes(scale, new LaunchGeometry(1, 1, 1, 128), [new CudaLaunchAttribute(6, 0)], &arguments, (nuint)sizeof(EmulatedDriverTest.ScaleArguments), stream);
        Assert.That(Read(data, 3), Is.EqualTo(new float[] { 2, 4, 6 }));
        driver.FreeAsync(data, stream);
    }

    [Test]
    public void Memory_comes_aligned_and_large_enough_or_not_at_all()
    {
        nint first = driver.Allocate(1_000);
        nint second = driver.AllocateAsync(1_000, stream);
        Assert.That(((long)first % 256, (long)second % 256), Is.EqualTo((0L, 0L)));
        Assert.Throws<DeviceOutOfMemoryException>(() => driver.Allocate(1L << 50));
        Assert.That(driver.IsLost, Is.False);
        driver.Free(first);
        driver.FreeAsync(second, stream);
        driver.SynchronizeStream(stream);
    }

    [Test]
    public void Page_locked_memory_holds_what_was_copied_once_the_stream_was_waited_for()
    {
        nint data = Upload(7, 8);
        float* host = (float*)driver.AllocatePinned(8);
        driver.CopyToHostAsync(host, data, 8, stream);
        driver.SynchronizeStream(stream);
        Assert.That((host[0], host[1]), Is.EqualTo((7f, 8f)));
        host[0] = 9;
        driver.CopyToDeviceAsync(data, host, 4, stream);
        Assert.That(Read(data, 2), Is.EqualTo(new float[] { 9, 8 }));
        driver.FreePinned((nint)host);
        driver.FreeAsync(data, stream);
    }

    [Test]
    public void Events_tell_when_work_is_done_and_how_long_it_took()
    {
        nint start = driver.CreateEvent(timing: true);
        nint end = driver.CreateEvent(timing: true);
        nint untimed = driver.CreateEvent(timing: false);
        Assert.That(driver.QueryEvent(untimed), Is.True);
        Fails(400, () => driver.ElapsedMilliseconds(start, end));
        nint data = Upload(1, 2);
        driver.RecordEvent(start, stream);
        Scale(data, 2, 2);
        driver.RecordEvent(end, stream);
        driver.RecordEvent(untimed, stream);
        driver.WaitEvent(stream, end);
        driver.SynchronizeEvent(untimed);
        Assert.That((driver.QueryEvent(start), driver.QueryEvent(untimed)), Is.EqualTo((true, true)));
        Assert.That(driver.ElapsedMilliseconds(start, end), Is.InRange(0f, 1_000f));
        Fails(400, () => driver.ElapsedMilliseconds(start, untimed));
        driver.FreeAsync(data, stream);
        foreach (nint @event in (nint[])[start, end, untimed])
        {
            driver.DestroyEvent(@event);
        }
    }

    [Test]
    public void A_graph_runs_what_was_recorded_each_time_it_is_launched()
    {
        nint result = Upload(1, 2);
        driver.SynchronizeStream(stream);
        driver.BeginCapture(stream);
        nint scratch = driver.AllocateAsync(8, stream);
        driver.CopyAsync(scratch, result, 8, stream);
        Scale(scratch, 2, 3);
        driver.CopyAsync(result, scratch, 8, stream);
        driver.FreeAsync(scratch, stream);
        nint graph = driver.EndCapture(stream);
        Assert.That(Read(result, 2), Is.EqualTo(new float[] { 1, 2 }), "recording runs nothing");
        nint executable = driver.InstantiateGraph(graph);
        driver.DestroyGraph(graph);
        driver.LaunchGraph(executable, stream);
        driver.LaunchGraph(executable, stream);
        Assert.That(Read(result, 2), Is.EqualTo(new float[] { 9, 18 }));
        driver.DestroyExecutableGraph(executable);
        driver.FreeAsync(result, stream);
    }

    [TestCase("stream")]
    [TestCase("event")]
    [TestCase("query")]
    [TestCase("allocate")]
    [TestCase("free")]
    public void Calls_that_wait_or_allocate_spoil_a_recording(string what)
    {
        nint data = driver.Allocate(16);
        nint @event = driver.CreateEvent(timing: false);
        driver.RecordEvent(@event, stream);
        driver.SynchronizeStream(stream);
        driver.BeginCapture(stream);
        Scale(data, 2, 1);

        // Which of the errors of a recording it is, the manual does not say for every call.
        Fails([900, 901, 907], () =>
        {
            switch (what)
            {
                case "stream": driver.SynchronizeStream(stream); break;
                case "event": driver.SynchronizeEvent(@event); break;
                case "query": driver.QueryEvent(@event); break;
                case "allocate": driver.Allocate(16); break;
                default: driver.Free(data); break;
            }
        });
        Fails(901, () => driver.EndCapture(stream));
        driver.SynchronizeStream(stream);
        driver.DestroyEvent(@event);
        driver.Free(data);
    }

    [Test]
    public void Misuse_is_refused_and_loses_nothing()
    {
        EmulatedDriverTest.ScaleArguments arguments = default;
        EmulatedDriverTest.ScaleArguments* pointer = &arguments;
        Fails(1, () => driver.Launch(scale, new LaunchGeometry(1, 1, 1, 1_025), pointer, 16, stream));
        Fails(1, () => driver.Launch(scale, new LaunchGeometry(1, 65_536, 1, 32), pointer, 16, stream));
        Fails(1, () => driver.Launch(scale, new LaunchGeometry(1, 1, 1, 32, 1, 1, 100 * 1_024), pointer, 16, stream));
        Fails(1, () => driver.SetFunctionAttribute(scale, CudaFunctionAttribute.MaximumDynamicSharedSizeBytes, 1 << 20));
        Fails(500, () => driver.GetFunction(module, "stale"));
        Assert.That(Assert.Catch<CudaException>(() => driver.LoadModule("no PTX at all"u8, "nonsense.ptx"))!.Message, Does.Contain("nonsense.ptx"));
        Assert.That(driver.IsLost, Is.False);
        driver.Launch(scale, new LaunchGeometry(1, 1, 1, 32), pointer, 16, stream);
        driver.SynchronizeStream(stream);
    }

    [Test]
    public void A_thread_without_the_context_is_refused()
    {
        int code = 0;
        Thread thread = new(() => code = Assert.Catch<CudaException>(() => driver.CreateEvent(timing: false))!.Code);
        thread.Start();
        thread.Join();
        Assert.That(code, Is.EqualTo(201));
    }

    private void Scale(nint data, int count, float factor)
    {
        EmulatedDriverTest.ScaleArguments arguments = new() { Data = data, Count = count, Factor = factor };
        driver.Launch(scale, LaunchGeometry.Cover(count, 128), &arguments, (nuint)sizeof(EmulatedDriverTest.ScaleArguments), stream);
    }

    private nint Upload(params ReadOnlySpan<float> values)
    {
        nint address = driver.AllocateAsync(values.Length * sizeof(float), stream);
        fixed (float* first = values)
        {
            driver.CopyToDeviceAsync(address, first, values.Length * sizeof(float), stream);
        }

        return address;
    }

    private float[] Read(nint address, int count)
    {
        float[] values = new float[count];
        fixed (float* first = values)
        {
            driver.CopyToHostAsync(first, address, count * sizeof(float), stream);
            driver.SynchronizeStream(stream);
        }

        return values;
    }

    private static void Fails(int code, Action call) => Fails([code], call);

    private static void Fails(int[] codes, Action call)
    {
        CudaException exception = Assert.Catch<CudaException>(call)!;
        Assert.That(codes, Does.Contain(exception.Code), exception.Message);
    }
}
