namespace Saturn.Bench;

/// <summary>How <see cref="StepBench"/> measures.</summary>
/// <param name="Command">The command line that is being run, for the table's heading.</param>
/// <param name="Device">What Saturn runs on, for the heading.</param>
/// <param name="Threads">Threads that Saturn and the peer use.</param>
/// <param name="Repetition">How often to measure.</param>
public sealed record StepBenchOptions(string Command, string Device, int Threads, Repetition Repetition);

/// <summary>
/// Whole training steps side by side: time, images a second, the ratio to the peer, what a smaller network gains, and peak memory. All cases and both sides
/// run interleaved, so every figure of a table is from the same minutes.
/// </summary>
public static class StepBench
{
    /// <summary>Measures all cases.</summary>
    /// <param name="cases">The networks; the first one is what the gain of the others is counted against, where the batch is the same.</param>
    /// <param name="open">Makes Saturn's side of a case; null to measure the peer alone.</param>
    /// <param name="peer">The peer; null to measure Saturn alone.</param>
    /// <param name="peakBytes">Saturn's peak resident memory on a case, best from a fresh process (<see cref="FreshProcess"/>); null to leave it out.</param>
    /// <param name="options">Threads and repetitions.</param>
    public static BenchTable Run(
        IReadOnlyList<StepCase> cases, Func<StepCase, ITrainingStepWorkload>? open, PeerProcess? peer, Func<StepCase, long>? peakBytes, StepBenchOptions options)
    {
        List<ITrainingStepWorkload> opened = [];
        List<Contender> own = [];
        List<Contender> theirs = [];
        try
        {
            foreach (StepCase step in cases)
            {
                if (open is not null)
                {
                    ITrainingStepWorkload workload = open(step);
                    opened.Add(workload);
                    own.Add(Measurement.Of("Saturn", workload.Step, options.Repetition));
                }

                if (peer is not null)
                {
                    theirs.Add(Measurement.Of(peer, PeerWork.TrainStep(step, options.Threads), options.Repetition));
                }
            }

            // Case by case, Saturn and then the peer, so that the two sides of a ratio are neighbours in time.
            List<Contender> contenders = [];
            for (int i = 0; i < cases.Count; i++)
            {
                contenders.AddRange(own.Skip(i).Take(1));
                contenders.AddRange(theirs.Skip(i).Take(1));
            }

            IReadOnlyList<Timings> timings = Measurement.Interleave(contenders, options.Repetition.Rounds);
            int sides = contenders.Count / cases.Count;
            Side ownSide = new(own.Count == 0 ? null : [.. timings.Where((_, i) => i % sides == 0)]);
            Side peerSide = new(theirs.Count == 0 ? null : [.. timings.Where((_, i) => i % sides == sides - 1)]);
            return Tabulate(cases, ownSide, peerSide, peer, peakBytes, options);
        }
        finally
        {
            foreach (ITrainingStepWorkload workload in opened)
            {
                workload.Dispose();
            }

            peer?.Release();
        }
    }

    /// <summary>The timings of one side, one entry a case, or null if it did not run.</summary>
    private readonly record struct Side(IReadOnlyList<Timings>? Cases)
    {
        public string[] Cells(IReadOnlyList<StepCase> cases, int index)
        {
            if (Cases is null)
            {
                return ["–", "–", "–", "–"];
            }

            Summary summary = Cases[index].Milliseconds;
            bool comparable = cases[index].Batch == cases[0].Batch;
            return
            [
                BenchTable.Number(summary.Median), BenchTable.Spread(summary), BenchTable.Number(cases[index].Batch / summary.Median * 1000),
                comparable ? BenchTable.Ratio(Cases[0].RatioTo(Cases[index])) : "–",
            ];
        }
    }

    private static BenchTable Tabulate(
        IReadOnlyList<StepCase> cases, Side own, Side theirs, PeerProcess? peer, Func<StepCase, long>? peakBytes, StepBenchOptions options)
    {
        BenchTable table = new(
            $"Training steps on {options.Device}", options.Command,
            "network", "channels", "batch", "ms", "p10–p90", "images/s", "gain", "peak", "peer ms", "peer p10–p90", "peer images/s", "peer gain", "peer peak",
            "peer/Saturn");
        for (int i = 0; i < cases.Count; i++)
        {
            StepCase step = cases[i];
            string ownPeak = peakBytes is null ? "–" : BenchTable.Mebibytes(peakBytes(step));
            string peerPeak = peer is null ? "–" : BenchTable.Mebibytes(peer.PeakResidentBytes(PeerWork.TrainStep(step, options.Threads)));
            string ratio = own.Cases is null || theirs.Cases is null ? "–" : BenchTable.Ratio(theirs.Cases[i].RatioTo(own.Cases[i]));
            table.Add(
                [step.Name, string.Join("/", step.Channels), $"{step.Batch}", .. own.Cells(cases, i), ownPeak, .. theirs.Cells(cases, i), peerPeak, ratio]);
        }

        string idle = peer is null ? "" : $" (the peer's process before any work: {BenchTable.Mebibytes(peer.IdleResidentBytes)})";
        table.Note(
            $"Peer: {peer?.Name ?? "none"}, channels last; {options.Threads} threads; {options.Repetition}. ms: median of a whole step (forward, cross "
            + "entropy, backward, SGD with momentum 0.9 and weight decay 5e-4) on a fixed batch of 32×32 images. Gain: how many times as fast as the first row. "
            + $"Peak: largest resident memory of a process that does only this{idle}. Peer/Saturn: above 1 where Saturn is faster; median of the rounds' "
            + "quotients.");
        return table;
    }
}
