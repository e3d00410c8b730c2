namespace Saturn.Bench.Gpu;

/// <summary>One way of running PyTorch on one work, among the rounds of a race; it drops out where it fails.</summary>
/// <param name="side">The way; null where it is left out.</param>
/// <param name="work">The work; null where the peer has none like it.</param>
/// <param name="repetition">Untimed and timed repetitions of a round.</param>
internal sealed class PeerRound(PeerSide? side, PeerWork? work, Repetition repetition)
{
    private string? failure;

    private string Name => side?.Name ?? "–";

    /// <summary>Memory that the peer had at most, in bytes; 0 if it did not run.</summary>
    public long PeakBytes { get; private set; }

    /// <summary>Milliseconds of the first call with all it sets up and compiles.</summary>
    public double FirstMilliseconds { get; private set; }

    /// <summary>Runs Saturn and the peers in turn, round after round, after setting the peers up; a peer that failed has no timings.</summary>
    public static (Timings Own, Timings?[] Peers) Interleave(Contender own, IReadOnlyList<PeerRound> peers, int rounds)
    {
        foreach (PeerRound peer in peers)
        {
            peer.Prepare();
        }

        List<IReadOnlyList<double>> mine = [];
        List<IReadOnlyList<double>>[] theirs = [.. peers.Select(_ => new List<IReadOnlyList<double>>())];
        for (int round = 0; round < rounds; round++)
        {
            mine.Add(own.Round());
            for (int i = 0; i < peers.Count; i++)
            {
                if (peers[i].Run() is { } milliseconds)
                {
                    theirs[i].Add(milliseconds);
                }
            }
        }

        return (new Timings(own.Name, mine), [.. theirs.Select((measured, i) => measured.Count == rounds ? new Timings(peers[i].Name, measured) : null)]);
    }

    /// <summary>What stands in the table: microseconds, or why there are none.</summary>
    public string Cell(Timings? timings) => timings is not null ? GpuKernelBench.Microseconds(timings.Milliseconds.Median) : failure ?? "–";

    /// <summary>The same in milliseconds.</summary>
    public string MillisecondCell(Timings? timings) => timings is not null ? BenchTable.Number(timings.Milliseconds.Median) : failure ?? "–";

    private static string Shorten(string? failure)
    {
        const int longest = 100;
        string line = (failure ?? "the peer has ended").Split('\n')[0];
        return line.Length <= longest ? line : line[..longest] + "…";
    }

    private void Prepare()
    {
        if (side is null || work is null)
        {
            return;
        }

        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        failure = side.Prepare(work) ? null : Shorten(side.Failure);
        FirstMilliseconds = System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalMilliseconds;
    }

    private IReadOnlyList<double>? Run()
    {
        if (side is null || work is null || failure is not null)
        {
            return null;
        }

        PeerReply? reply = side.Round(work, repetition);
        failure = reply is null ? Shorten(side.Failure) : null;
        PeakBytes = reply?.PeakResidentBytes ?? PeakBytes;
        return reply?.Milliseconds;
    }
}
