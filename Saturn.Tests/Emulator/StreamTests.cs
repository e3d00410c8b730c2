using NUnit.Framework;

namespace Saturn.Tests.Emulator;

/// <summary>Streams and events of the emulated driver: calls run in their order, and no earlier than somebody waits.</summary>
public sealed unsafe class StreamTests : EmulatedDriverTest
{
    [Test]
    public void Calls_run_in_the_order_of_the_calls()
    {
        nint module = Driver.LoadModule(ScaleImage, "scale.ptx");
        nint scale = Driver.GetFunction(module, "scale");
        nint data = Upload(1, 2, 3);
        LaunchScale(scale, data, 3, 2);
        Driver.FillWordsAsync(data, BitConverter.SingleToUInt32Bits(5), 1, Stream);
        LaunchScale(scale, data, 3, 10);
        Assert.That(Read(data, 3), Is.EqualTo(new float[] { 50, 40, 60 }));
        Driver.FreeAsync(data, Stream);
        Driver.UnloadModule(module);
    }

    [Test]
    public void Page_locked_memory_is_stale_until_the_stream_was_waited_for()
    {
        nint data = Upload(7);
        float* host = (float*)Driver.AllocatePinned(sizeof(float));
        *host = -1;
        Driver.CopyToHostAsync(host, data, sizeof(float), Stream);
        Assert.That(*host, Is.EqualTo(-1), "nobody has waited");
        Driver.SynchronizeStream(Stream);
        Assert.That(*host, Is.EqualTo(7));
        Driver.FreePinned((nint)host);
        Driver.FreeAsync(data, Stream);
    }

    [Test]
    public void A_page_locked_source_is_read_when_the_copy_runs_and_a_pageable_one_at_the_call()
    {
        nint data = Driver.AllocateAsync(8, Stream);
        float* locked = (float*)Driver.AllocatePinned(sizeof(float));
        float pageable = 1;
        *locked = 1;
        Driver.CopyToDeviceAsync(data, locked, 4, Stream);
        Driver.CopyToDeviceAsync(data + 4, &pageable, 4, Stream);
        *locked = 2;
        pageable = 2;
        Assert.That(Read(data, 2), Is.EqualTo(new float[] { 2, 1 }));
        Driver.FreePinned((nint)locked);
        Driver.FreeAsync(data, Stream);
    }

    [Test]
    public void An_event_is_ready_after_as_many_queries_as_calls_stand_before_it()
    {
        nint data = Driver.AllocateAsync(4, Stream);
        nint @event = Driver.CreateEvent(timing: false);
        Assert.That(Driver.QueryEvent(@event), Is.True, "an event that was never recorded is ready");
        Driver.FillAsync(data, 1, 4, Stream);
        Driver.FillAsync(data, 2, 4, Stream);
        Driver.RecordEvent(@event, Stream);
        Assert.That(Enumerable.Range(0, 3).Select(_ => Driver.QueryEvent(@event)), Is.EqualTo(new[] { false, false, true }));
        Driver.FillAsync(data, 3, 4, Stream);
        Driver.RecordEvent(@event, Stream);
        Assert.That(Driver.QueryEvent(@event), Is.False, "recorded again");
        Driver.SynchronizeEvent(@event);
        Assert.That(Driver.QueryEvent(@event), Is.True);
        Driver.DestroyEvent(@event);
        Driver.FreeAsync(data, Stream);
    }

    [Test]
    public void Waiting_for_an_event_runs_what_stands_before_it_and_no_more()
    {
        nint data = Upload(3);
        float* host = (float*)Driver.AllocatePinned(8);
        host[0] = host[1] = -1;
        nint @event = Driver.CreateEvent(timing: false);
        Driver.CopyToHostAsync(host, data, 4, Stream);
        Driver.RecordEvent(@event, Stream);
        Driver.CopyToHostAsync(host + 1, data, 4, Stream);
        Driver.SynchronizeEvent(@event);
        Assert.That((host[0], host[1]), Is.EqualTo((3f, -1f)));
        Driver.DestroyEvent(@event);
        Driver.FreePinned((nint)host);
        Driver.FreeAsync(data, Stream);
    }

    [Test]
    public void Timing_needs_two_timing_events_that_have_run()
    {
        nint start = Driver.CreateEvent(timing: true);
        nint end = Driver.CreateEvent(timing: true);
        nint untimed = Driver.CreateEvent(timing: false);
        Fails(400, () => Driver.ElapsedMilliseconds(start, end));
        Driver.RecordEvent(start, Stream);
        Driver.RecordEvent(end, Stream);
        Driver.RecordEvent(untimed, Stream);
        Fails(600, () => Driver.ElapsedMilliseconds(start, end));
        Driver.SynchronizeStream(Stream);
        Assert.That(Driver.ElapsedMilliseconds(start, end), Is.GreaterThanOrEqualTo(0f).And.LessThan(10_000f));
        Fails(400, () => Driver.ElapsedMilliseconds(start, untimed));
        foreach (nint @event in (nint[])[start, end, untimed])
        {
            Driver.DestroyEvent(@event);
        }

        Fails(400, () => Driver.RecordEvent(start, Stream));
    }

    [Test]
    public void A_queue_that_grows_long_runs_by_itself()
    {
        nint data = Driver.AllocateAsync(4, Stream);
        float* host = (float*)Driver.AllocatePinned(4);
        *host = -1;
        Driver.FillAsync(data, 0, 4, Stream);
        Driver.CopyToHostAsync(host, data, 4, Stream);
        for (int i = 0; i < 1_100; i++)
        {
            Driver.FillAsync(data, 1, 4, Stream);
        }

        Assert.That(*host, Is.Zero);
        Driver.FreePinned((nint)host);
        Driver.FreeAsync(data, Stream);
    }

    [Test]
    public void Calls_that_wait_are_counted_and_others_are_not()
    {
        nint module = Driver.LoadModule(ScaleImage, "scale.ptx");
        nint scale = Driver.GetFunction(module, "scale");
        nint @event = Driver.CreateEvent(timing: false);
        long before = Driver.SynchronizingCalls;
        nint data = Upload(1, 2);
        LaunchScale(scale, data, 2, 2);
        Driver.RecordEvent(@event, Stream);
        Driver.QueryEvent(@event);
        Driver.FreeAsync(data, Stream);
        Assert.That(Driver.SynchronizingCalls, Is.EqualTo(before));
        Driver.SynchronizeEvent(@event);
        Driver.SynchronizeStream(Stream);
        Driver.Free(Driver.Allocate(4));
        Assert.That(Driver.SynchronizingCalls, Is.EqualTo(before + 4));
        Driver.DestroyEvent(@event);
        Driver.UnloadModule(module);
    }

    [Test]
    public void Launches_copies_and_events_allocate_nothing_on_the_managed_heap_in_the_steady_state()
    {
        nint module = Driver.LoadModule(ScaleImage, "scale.ptx");
        nint scale = Driver.GetFunction(module, "scale");
        nint data = Upload(1, 2, 3, 4);
        nint @event = Driver.CreateEvent(timing: false);
        float* host = (float*)Driver.AllocatePinned(4);
        *host = 1;
        Issue();
        Driver.SynchronizeStream(Stream);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Issue();
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        Driver.SynchronizeStream(Stream);
        Driver.DestroyEvent(@event);
        Driver.FreePinned((nint)host);
        Driver.FreeAsync(data, Stream);
        Driver.UnloadModule(module);

        void Issue()
        {
            for (int i = 0; i < 100; i++)
            {
                LaunchScale(scale, data, 4, 1);
                Driver.CopyToDeviceAsync(data, host, 4, Stream);
                Driver.RecordEvent(@event, Stream);
            }
        }
    }

    [Test]
    public void A_failure_is_reported_to_who_waits_and_the_context_is_lost_afterwards()
    {
        nint module = Driver.LoadModule(ScaleImage, "scale.ptx");
        nint scale = Driver.GetFunction(module, "scale");
        nint data = Upload(1, 2, 3);
        LaunchScale(scale, data, 4, 2);
        string report = Fails(719, () => Driver.SynchronizeStream(Stream));
        Assert.That(report, Does.Contain("scale"));
        Assert.That(Driver.IsLost);
        Assert.That(Fails(719, () => Driver.AllocateAsync(4, Stream)), Does.Contain("context is lost").And.Contain(report));
        Driver.FreeAsync(data, Stream);
        Driver.UnloadModule(module);
    }
}
