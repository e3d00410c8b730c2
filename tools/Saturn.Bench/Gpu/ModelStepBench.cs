using Saturn.Bench.Works;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;

namespace Saturn.Bench.Gpu;

/// <summary>
/// Whole training steps of models on a GPU or the emulated one, dense and at fewer channels, in interleaved rounds with PyTorch: time, images a second, launches and memory. Steps are repeated from a
/// recording, as training does by default, and after that launched call by call, so that the table shows what a recording gains.
/// </summary>
public static class ModelStepBench
{
    private const int StepsAtOnce = 5;

    /// <summary>Measures the cases.</summary>
    /// <param name="open">Opens the device; each model gets a fresh one, so that its memory is its own.</param>
    /// <param name="cases">The models.</param>
    /// <param name="options">Repetitions (each of some steps), time and peers.</param>
    /// <param name="recorded">Whether steps are recorded; otherwise they are only launched call by call.</param>
    public static BenchTable Run(Func<CudaDevice> open, IReadOnlyList<ModelCase> cases, GpuBenchOptions options, bool recorded = true)
    {
        (string title, bool emulated) = Describe(open);
        BenchTable table = new(
            title, options.Command,
            "model", "batch", "image", emulated ? "emulator ms" : "ms", "p10–p90", "images/s", "gain", "issued as", "launched ms", "launched/recorded", "launches", "device memory", "first ms", "eager ms", "eager/Saturn", "must / aim", "met", "compiled ms",
            "compiled/Saturn", "must / aim", "met", "eager memory", "compiled memory", "compiling ms")
        {
            RowAdded = options.RowAdded,
        };
        Dictionary<string, double> dense = [];
        int done = 0;
        foreach (ModelCase one in cases)
        {
            if (options.Deadline.IsOver)
            {
                table.Note($"The time was over after {done} of {cases.Count} models.");
                break;
            }

            done++;
            using CudaDevice device = open();
            try
            {
                table.Add(Measure(device, one, dense, options, emulated ? 1 : StepsAtOnce, recorded));
            }
            catch (Exception exception) when (GpuKernelBench.ConcernsOneWork(exception))
            {
                table.Add([one.Name, $"{one.Batch}", $"{one.Image}²", $"not supported: {GpuKernelBench.FirstLine(exception)}", .. Enumerable.Repeat("–", 20)]);
            }
        }

        table.Note(
            $"{options.Repetition}, of {(emulated ? 1 : StepsAtOnce)} steps each, between two events. ms: median of a whole step (forward, cross entropy, backward, SGD with momentum 0.9 and weight decay 5e-4) on a batch that stays on the device. Gain: the dense model's time by "
            + "this one's. Issued as: a recorded step is one graph. Launched ms: the same steps launched call by call, after the rounds; launched/recorded: what recording gains. Launches: kernel launches a step, cuBLAS not counted. Device memory: the largest sum of live buffers. First ms: the first step, with all compilation. Ratios: PyTorch's time by Saturn's, above 1 where Saturn is faster, median of the rounds' "
            + $"quotients. Compiling ms: what torch.compile needed before its first timed step. PyTorch: {options.Eager?.Name ?? options.Compiled?.Name ?? "not measured"}."
            + (emulated ? " Times are those of the interpreter, no hardware times." : ""));
        return table;
    }

    private static string[] Measure(CudaDevice device, ModelCase one, Dictionary<string, double> dense, GpuBenchOptions options, int steps, bool recorded)
    {
        try
        {
            using ModelStepWorkload workload = one.Open(device);
            using LaunchTimer timer = new(device);
            double first = timer.Measure([workload.Step], 1, 0, 1)[0];
            long before = device.Context.LaunchCount();
            workload.Step();
            device.Synchronize();
            long launches = device.Context.LaunchCount() - before;
            bool isGraph = recorded && workload.Record();
            string issued = isGraph ? "1 graph" : workload.WhyNotRecorded is { } reason ? $"launches: {reason}" : "launches";
            Repetition repetition = options.Repetition;
            Contender own = new("Saturn", () => timer.Measure([workload.Step], steps, repetition.Warmup, repetition.Repetitions));
            PeerRound[] peers = [.. ((PeerSide?[])[options.Eager, options.Compiled]).Select(side => new PeerRound(side, PeerWork.ModelStep(one).On(device.Precision, side?.IsCompiled == true), repetition))];
            (Timings timings, Timings?[] theirs) = PeerRound.Interleave(own, peers, repetition.Rounds);
            Summary time = timings.Milliseconds;
            long peakBytes = device.Memory.PeakLiveBytes;
            workload.StopRecording();
            double? launched = isGraph ? Summary.Of(timer.Measure([workload.Step], steps, repetition.Warmup, repetition.Rounds * repetition.Repetitions)).Median : null;
            if (one.LiveShare == 1)
            {
                dense[one.Model] = time.Median;
            }

            (string eagerRatio, string eagerTarget, string eagerMet) = Judge(theirs[0], timings, device.Kind == DeviceKind.Cuda ? one.Targets.Eager : null);
            (string compiledRatio, string compiledTarget, string compiledMet) = Judge(theirs[1], timings, device.Kind == DeviceKind.Cuda ? one.Targets.Compiled : null);
            return
            [
                one.Name, $"{one.Batch}", $"{one.Image}²", BenchTable.Number(time.Median), BenchTable.Spread(time), BenchTable.Number(one.Batch / time.Median * 1000),
                dense.TryGetValue(one.Model, out double whole) ? BenchTable.Ratio(whole / time.Median) : "–", issued, launched is { } slow ? BenchTable.Number(slow) : "–",
                launched is { } other ? BenchTable.Ratio(other / time.Median) : "–", $"{launches}", BenchTable.Mebibytes(peakBytes), BenchTable.Number(first),
                peers[0].MillisecondCell(theirs[0]), eagerRatio, eagerTarget, eagerMet, peers[1].MillisecondCell(theirs[1]), compiledRatio, compiledTarget, compiledMet,
                Memory(peers[0]), Memory(peers[1]), theirs[1] is null ? "–" : BenchTable.Number(peers[1].FirstMilliseconds),
            ];
        }
        finally
        {
            options.Eager?.Release();
            options.Compiled?.Release();
        }
    }

    private static (string Title, bool IsEmulated) Describe(Func<CudaDevice> open)
    {
        using CudaDevice device = open();
        return ($"Training steps on {device.Name} in {device.Precision.ToString().ToLowerInvariant()} ({device.Description})", device.Kind == DeviceKind.Emulated);
    }

    private static string Memory(PeerRound peer) => peer.PeakBytes == 0 ? "–" : BenchTable.Mebibytes(peer.PeakBytes);

    private static (string Ratio, string Target, string Met) Judge(Timings? theirs, Timings own, RatioTarget? target)
    {
        double? ratio = theirs?.RatioTo(own);
        return (ratio is { } value ? BenchTable.Ratio(value) : "–", target?.ToString() ?? "–", target is not null && ratio is { } reached ? target.Judge(reached) : "–");
    }
}
