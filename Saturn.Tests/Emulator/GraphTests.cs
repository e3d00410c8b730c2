using NUnit.Framework;

namespace Saturn.Tests.Emulator;

/// <summary>Recorded graphs of the emulated driver: what is recorded does not run, what replays reads memory as it is then, and calls that hardware forbids while recording fail.</summary>
public sealed unsafe class GraphTests : EmulatedDriverTest
{
    [Test]
    public void A_recording_runs_only_when_it_is_launched_and_as_often()
    {
        nint module = Driver.LoadModule(ScaleImage, "scale.ptx");
        nint scale = Driver.GetFunction(module, "scale");
        nint data = Upload(1, 2);
        Driver.BeginCapture(Stream);
        LaunchScale(scale, data, 2, 3);
        nint graph = Driver.EndCapture(Stream);
        Assert.That(Read(data, 2), Is.EqualTo(new float[] { 1, 2 }), "recording runs nothing");
        nint executable = Driver.InstantiateGraph(graph);
        Driver.DestroyGraph(graph);
        Driver.LaunchGraph(executable, Stream);
        Driver.LaunchGraph(executable, Stream);
        Assert.That(Read(data, 2), Is.EqualTo(new float[] { 9, 18 }));
        Driver.DestroyExecutableGraph(executable);
        Fails(400, () => Driver.LaunchGraph(executable, Stream));
        Driver.FreeAsync(data, Stream);
        Driver.UnloadModule(module);
    }

    [Test]
    public void A_replay_reads_page_locked_memory_as_it_is_then()
    {
        nint data = Driver.AllocateAsync(4, Stream);
        float* host = (float*)Driver.AllocatePinned(4);
        Driver.BeginCapture(Stream);
        Driver.CopyToDeviceAsync(data, host, 4, Stream);
        nint graph = Driver.EndCapture(Stream);
        nint executable = Driver.InstantiateGraph(graph);
        foreach (float value in (float[])[4, 5])
        {
            *host = value;
            Driver.LaunchGraph(executable, Stream);
            Assert.That(Read(data, 1), Is.EqualTo(new[] { value }));
        }

        Driver.DestroyExecutableGraph(executable);
        Driver.DestroyGraph(graph);
        Driver.FreePinned((nint)host);
        Driver.FreeAsync(data, Stream);
    }

    [Test]
    public void Memory_allocated_while_recording_lives_in_each_replay_at_one_address_and_no_longer()
    {
        nint result = Upload(0);
        Driver.BeginCapture(Stream);
        nint scratch = Driver.AllocateAsync(4, Stream);
        Driver.FillWordsAsync(scratch, BitConverter.SingleToUInt32Bits(6), 1, Stream);
        Driver.CopyAsync(result, scratch, 4, Stream);
        Driver.FreeAsync(scratch, Stream);
        nint graph = Driver.EndCapture(Stream);
        nint executable = Driver.InstantiateGraph(graph);
        for (int i = 0; i < 2; i++)
        {
            Driver.LaunchGraph(executable, Stream);
            Assert.That(Read(result, 1), Is.EqualTo(new float[] { 6 }));
        }

        Driver.DestroyExecutableGraph(executable);
        Driver.DestroyGraph(graph);
        Driver.FreeAsync(result, Stream);
        Driver.SynchronizeStream(Stream);
        Assert.That(Driver.MemoryInformation().Free, Is.EqualTo(Driver.MemoryInformation().Total), "the graph's memory went with it");
    }

    private static IEnumerable<string> ForbiddenCalls =>
        ["synchronize stream", "synchronize event", "query event", "allocate", "free", "load module", "pinned memory", "pageable upload", "pageable download", "launch graph", "foreign event"];

    [TestCaseSource(nameof(ForbiddenCalls))]
    public void Calls_that_wait_allocate_or_load_spoil_a_recording(string what)
    {
        nint data = Driver.Allocate(4);
        nint @event = Driver.CreateEvent(timing: false);
        nint foreign = Driver.CreateEvent(timing: false);
        Driver.RecordEvent(foreign, Stream);
        Driver.BeginCapture(Stream);
        nint empty = Driver.EndCapture(Stream);
        nint executable = Driver.InstantiateGraph(empty);
        float* value = stackalloc float[1];
        Driver.BeginCapture(Stream);
        Driver.RecordEvent(@event, Stream);
        Fails(what == "foreign event" ? 905 : 900, () => Call(value));
        Assert.That(Fails(901, () => Driver.EndCapture(Stream)), Does.Contain("cu"));
        Driver.SynchronizeStream(Stream);
        Driver.DestroyExecutableGraph(executable);
        Driver.DestroyGraph(empty);
        Driver.DestroyEvent(@event);
        Driver.DestroyEvent(foreign);
        Driver.Free(data);

        void Call(float* host)
        {
            switch (what)
            {
                case "synchronize stream": Driver.SynchronizeStream(Stream); break;
                case "synchronize event": Driver.SynchronizeEvent(@event); break;
                case "query event": Driver.QueryEvent(@event); break;
                case "allocate": Driver.Allocate(4); break;
                case "free": Driver.Free(data); break;
                case "load module": Driver.LoadModule(ScaleImage, "scale.ptx"); break;
                case "pinned memory": Driver.AllocatePinned(4); break;
                case "pageable upload": Driver.CopyToDeviceAsync(data, host, 4, Stream); break;
                case "pageable download": Driver.CopyToHostAsync(host, data, 4, Stream); break;
                case "launch graph": Driver.LaunchGraph(executable, Stream); break;
                case "foreign event": Driver.WaitEvent(Stream, foreign); break;
                default: throw new ArgumentException(what);
            }
        }
    }

    [Test]
    public void Recordings_that_were_not_begun_or_are_ended_elsewhere_fail()
    {
        Fails(903, () => Driver.EndCapture(Stream));
        Fails(900, () => Driver.BeginCapture(0));
        Driver.BeginCapture(Stream);
        Fails(401, () => Driver.BeginCapture(Stream));
        CudaExceptionOnAnotherThread(908);
        Driver.DestroyGraph(Driver.EndCapture(Stream));
    }

    [Test]
    public void An_event_recorded_while_recording_cannot_be_waited_for()
    {
        nint @event = Driver.CreateEvent(timing: false);
        Driver.BeginCapture(Stream);
        Driver.RecordEvent(@event, Stream);
        Driver.WaitEvent(Stream, @event);
        Driver.DestroyGraph(Driver.EndCapture(Stream));
        Fails(907, () => Driver.SynchronizeEvent(@event));
        Driver.RecordEvent(@event, Stream);
        Driver.SynchronizeEvent(@event);
        Driver.DestroyEvent(@event);
    }

    [Test]
    public void A_graph_that_launches_a_kernel_of_an_unloaded_module_is_found()
    {
        nint module = Driver.LoadModule(ScaleImage, "scale.ptx");
        nint data = Upload(1, 2);
        Driver.BeginCapture(Stream);
        LaunchScale(Driver.GetFunction(module, "scale"), data, 2, 3);
        nint graph = Driver.EndCapture(Stream);
        nint executable = Driver.InstantiateGraph(graph);
        Driver.UnloadModule(module);
        Driver.LaunchGraph(executable, Stream);
        Assert.That(Fails(719, () => Driver.SynchronizeStream(Stream)), Does.Contain("unloaded"));
        Driver.DestroyExecutableGraph(executable);
        Driver.DestroyGraph(graph);
    }

    private void CudaExceptionOnAnotherThread(int code)
    {
        nint context = Driver.RetainPrimaryContext(0);
        Exception? caught = null;
        Thread thread = new(() =>
        {
            Driver.SetCurrentContext(context);
            try
            {
                Fails(code, () => Driver.EndCapture(Stream));
            }
            catch (Exception exception)
            {
                caught = exception;
            }
        });
        thread.Start();
        thread.Join();
        Driver.ReleasePrimaryContext(0);
        Assert.That(caught, Is.Null);
    }
}
