using Saturn.Bench.Works;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Cuda;

namespace Saturn.Bench.Gpu;

/// <summary>
/// Every kernel family on a GPU: time, rate, share of the device's limit, and the ratio to PyTorch on the same GPU in interleaved rounds. Each work is first checked against the host processor at a
/// reduced size, then at the timed size, whose tiles and splits may be others, against another precision on the same GPU, both times run twice for equal bits; one that fails or is not there is told in
/// its row.
/// </summary>
public static class GpuKernelBench
{
    /// <summary>Measures the works whose name or family fits.</summary>
    /// <param name="device">The GPU.</param>
    /// <param name="batch">Images at once at the shapes of CIFAR.</param>
    /// <param name="filter">Words with commas between them, or null.</param>
    /// <param name="options">Repetitions, time and peers.</param>
    /// <param name="reference">The same GPU in the precision of <see cref="ReferencePrecision"/>; null to check at the reduced size alone.</param>
    public static BenchTable Run(CudaDevice device, int batch, string? filter, GpuBenchOptions options, CudaDevice? reference = null)
    {
        string precision = device.Precision.ToString().ToLowerInvariant();
        BenchTable table = new(
            $"Kernels on {device.Name} in {precision} ({device.Description})", options.Command,
            "kernel", "µs", "p10–p90", "TFLOP/s", "GB/s", "floor µs", "of limit", "eager µs", "eager/Saturn", "compiled µs", "compiled/Saturn", "must / aim", "against eager")
        {
            RowAdded = options.RowAdded,
        };
        IReadOnlyList<KernelWork> works = KernelCatalog.At(new WorkScale(batch)), checks = KernelCatalog.At(WorkScale.Check);
        IReadOnlyList<int> chosen = KernelCatalog.Select(works, filter);
        DeviceLimits limits = DeviceLimits.Of(device);
        using CpuDevice host = new();
        int done = 0;
        foreach (int i in chosen)
        {
            if (options.Deadline.IsOver)
            {
                table.Note($"The time was over after {done} of {chosen.Count} kernels.");
                break;
            }

            done++;
            try
            {
                table.Add(WorkCheck.Against(device, host, checks[i]) is { } wrong
                    ? Row(works[i].Name, $"wrong: {wrong}")
                    : reference is not null && WorkCheck.Against(device, reference, works[i]) is { } large ? Row(works[i].Name, $"wrong at this size: {large}")
                    : Measure(device, limits, works[i], options));
            }
            catch (Exception exception) when (ConcernsOneWork(exception))
            {
                table.Add(Row(works[i].Name, $"not supported: {FirstLine(exception)}"));
                if (device.Context.Driver.IsLost || reference?.Context.Driver.IsLost == true)
                {
                    table.Note($"The last kernel lost the device, after {done} of {chosen.Count}; what follows needs a new process.");
                    break;
                }
            }
        }

        table.Note(
            $"{options.Repetition}, of {TimedWork.FewestLaunches} or more calls each, replayed from a graph between two events; fewer repetitions of slow kernels. Inputs are normal random numbers in sets that take turns (at least four of them, "
            + $"{TimedWork.ColdBytes >> 20} MiB together), so that the second-level cache is cold. µs: median of a call. GB/s: bytes that cannot be avoided, of a table of sizes. Floor: the longer of bytes by {BenchTable.Number(limits.GigabytesPerSecond)} GB/s and "
            + $"operations by the limit of the arithmetic that they run in{Arithmetic(limits)} ({limits.Source}); of limit: floor by time. Ratios: PyTorch's time by Saturn's, above 1 where Saturn is faster, median of the rounds' quotients. "
            + $"PyTorch: {options.Eager?.Name ?? options.Compiled?.Name ?? "not measured"}.");
        return table;
    }

    /// <summary>
    /// In which precision the results at the timed size are computed a second time: float32, whose products are other kernels than those on tensor cores, and beside float32 itself TF32.
    /// </summary>
    public static Precision ReferencePrecision(Precision precision) => precision == Precision.Fp32 ? Precision.Tf32 : Precision.Fp32;

    /// <summary>Whether a failure is told in the work's row, so that the bench can go on.</summary>
    internal static bool ConcernsOneWork(Exception exception) =>
        exception is CudaException or NotSupportedException or NotImplementedException or ArgumentException or InvalidOperationException or DeviceOutOfMemoryException
            or Saturn.Emulator.EmulatorException or Saturn.Kernels.Cuda.Compilation.KernelCompilationException;

    private static string Arithmetic(DeviceLimits limits) => limits.Fp32Teraflops is null
        ? ", which is not known"
        : $": {string.Join(", ", Enum.GetValues<Precision>().Select(one => $"{one.ToString().ToLowerInvariant()} {BenchTable.Number(limits.Teraflops(one)!.Value)}"))} TFLOP/s";

    internal static string FirstLine(Exception exception) => exception.Message.Split('\n')[0].Trim();

    private static string[] Row(string name, string what) => [name, what, .. Enumerable.Repeat("–", 11)];

    private static string[] Measure(CudaDevice device, DeviceLimits limits, KernelWork work, GpuBenchOptions options)
    {
        try
        {
            using TimedWork timed = new(device, work);
            return Race(device, timed, limits, work, timed.Fit(options.Repetition), options);
        }
        finally
        {
            options.Eager?.Release();
            options.Compiled?.Release();
        }
    }

    private static string[] Race(CudaDevice device, TimedWork timed, DeviceLimits limits, KernelWork work, Repetition repetition, GpuBenchOptions options)
    {
        List<PeerRound> peers = [];
        foreach (PeerSide? side in (PeerSide?[])[options.Eager, options.Compiled])
        {
            peers.Add(new PeerRound(side, work.Peer?.On(device.Precision, side?.IsCompiled == true), repetition));
        }

        (Timings own, Timings?[] theirs) = PeerRound.Interleave(timed.Contender(repetition), peers, repetition.Rounds);
        double bytes = work.Bytes(WorkCheck.ActivationType(device).Size());
        double floor = limits.FloorMilliseconds(work.Arithmetic(device.Precision), bytes, work.Operations);
        Summary time = own.Milliseconds;
        double? eager = theirs[0]?.RatioTo(own);
        return
        [
            timed.IsRecorded ? work.Name : $"{work.Name} (no graph)", Microseconds(time.Median), Spread(time),
            work.Operations > 0 ? BenchTable.Number(work.Operations / time.Median / 1e9) : "–", BenchTable.Number(bytes / time.Median / 1e6), Microseconds(floor), BenchTable.Percent(floor / time.Median),
            peers[0].Cell(theirs[0]), eager is { } one ? BenchTable.Ratio(one) : "–", peers[1].Cell(theirs[1]), theirs[1] is { } compiled ? BenchTable.Ratio(compiled.RatioTo(own)) : "–",
            work.Target?.ToString() ?? "–", work.Target is { } target && eager is { } ratio ? target.Judge(ratio) : "–",
        ];
    }

    internal static string Microseconds(double milliseconds) => BenchTable.Number(milliseconds * 1000);

    internal static string Spread(Summary summary) => $"{Microseconds(summary.Percentile10)}–{Microseconds(summary.Percentile90)}";
}
