using System.Diagnostics;

namespace Saturn.Emulator.Streams;

/// <summary>An event: how often it was recorded, which of these records have run, and when the last one did.</summary>
internal sealed class EmulatedEvent(bool timing)
{
    private long recorded;
    private long executed;

    /// <summary>Whether it keeps time.</summary>
    public bool Timing => timing;

    /// <summary>Whether it was ever recorded.</summary>
    public bool WasRecorded => recorded > 0;

    /// <summary>Whether the work before its last record has run; true before the first.</summary>
    public bool IsComplete => executed == recorded;

    /// <summary>The recording of a graph that its last record belongs to, or null.</summary>
    public Recording? CapturedBy { get; set; }

    /// <summary>When its last record ran, in ticks of <see cref="Stopwatch"/>.</summary>
    public long Timestamp { get; private set; }

    /// <summary>Counts a record.</summary>
    public long Record() => ++recorded;

    /// <summary>Notes that a record ran.</summary>
    public void Execute(long sequence)
    {
        executed = Math.Max(executed, sequence);
        Timestamp = Stopwatch.GetTimestamp();
    }
}
