namespace Saturn.Bench.Gpu;

/// <summary>How a bench on a GPU measures.</summary>
/// <param name="Command">The command line that is being run, for the table's heading.</param>
/// <param name="Repetition">Rounds, untimed and timed repetitions; a repetition is a batch of calls between two events.</param>
/// <param name="Deadline">When no further row is begun.</param>
/// <param name="Eager">PyTorch as it runs by default; null to leave it out.</param>
/// <param name="Compiled">PyTorch with <c>torch.compile(mode="max-autotune")</c>, in a process of its own; null to leave it out.</param>
public sealed record GpuBenchOptions(string Command, Repetition Repetition, Deadline Deadline, PeerSide? Eager = null, PeerSide? Compiled = null)
{
    /// <summary>Is told of each row as it is measured.</summary>
    public Action<IReadOnlyList<string>>? RowAdded { get; init; }
}

/// <summary>The end of a bench's time.</summary>
/// <param name="Seconds">How long it may take; infinity for no end.</param>
public sealed record Deadline(double Seconds)
{
    private readonly long start = System.Diagnostics.Stopwatch.GetTimestamp();

    /// <summary>Whether the time is over.</summary>
    public bool IsOver => SecondsLeft < 0;

    /// <summary>What is left of it; below 0 when it is over.</summary>
    public double SecondsLeft => Seconds - System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalSeconds;
}

/// <summary>
/// One way of running PyTorch. What it cannot do is told in the table and the bench goes on; a process that died or hung is not asked again.
/// </summary>
/// <param name="process">The process.</param>
/// <param name="compiled">Whether it compiles.</param>
public sealed class PeerSide(PeerProcess process, bool compiled)
{
    private bool ended;

    /// <summary>Versions and device.</summary>
    public string Name => process.Name;

    /// <summary>Whether it compiles.</summary>
    public bool IsCompiled => compiled;

    /// <summary>The last failure, or null.</summary>
    public string? Failure { get; private set; }

    /// <summary>Sets a work up, which may take long when it is compiled; false where that fails, with the reason in <see cref="Failure"/>.</summary>
    public bool Prepare(PeerWork work) => Try(() => process.Run(work, 1, 1)) is not null;

    /// <summary>Does one round; null where that fails.</summary>
    public PeerReply? Round(PeerWork work, Repetition repetition) => Try(() => process.Run(work, repetition.Warmup, repetition.Repetitions));

    /// <summary>Forgets all work.</summary>
    public void Release() => Try(() =>
    {
        process.Release();
        return null;
    });

    private PeerReply? Try(Func<PeerReply?> ask)
    {
        if (ended)
        {
            return null;
        }

        try
        {
            PeerReply? reply = ask();
            Failure = null;
            return reply;
        }
        catch (PeerException exception)
        {
            Failure = exception.Message;
            ended = process.HasEnded;
            return null;
        }
    }
}
