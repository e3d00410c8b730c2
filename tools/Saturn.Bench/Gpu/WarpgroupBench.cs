using Saturn.Bench.Works;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;

namespace Saturn.Bench.Gpu;

/// <summary>
/// Convolutions of bfloat16 by products of warpgroups (<c>wgmma</c>) against the same by products of warps (<c>mma.sync</c>), on every work of the catalog that warpgroups can do: first whether the
/// results agree, then the times in turn, or on the emulated GPU the counts.
/// </summary>
public static class WarpgroupBench
{
    private const string FileName = "convolution_wgmma.cu";

    /// <summary>Compares and measures.</summary>
    /// <param name="warps">A device of compute capability 9.0 under bf16, without products of warpgroups.</param>
    /// <param name="warpgroups">The same device with them.</param>
    /// <param name="batch">Images at once of the timed works.</param>
    /// <param name="filter">Words with commas between them, or null.</param>
    /// <param name="traffic">The counters of both devices where they are emulated; null where they are hardware.</param>
    /// <param name="options">Repetitions and time.</param>
    /// <exception cref="NotSupportedException">The device has no products of warpgroups.</exception>
    public static BenchTable Run(CudaDevice warps, CudaDevice warpgroups, int batch, string? filter, MemoryTraffic? traffic, GpuBenchOptions options)
    {
        int capability = warpgroups.Context.Driver.DeviceAttribute(warpgroups.Context.Ordinal, CudaDeviceAttribute.ComputeCapabilityMajor);
        if (capability != 9)
        {
            throw new NotSupportedException(
                $"Products of warpgroups need a device of compute capability 9.0, but {warpgroups.Name} ({warpgroups.Context.Driver.DeviceName(warpgroups.Context.Ordinal)}) has {capability}.x; to try this out, use --device emulated:sm_90a.");
        }

        string[] columns = traffic is null
            ? ["kernel", "mma.sync µs", "p10–p90", "TFLOP/s", "wgmma µs", "p10–p90", "TFLOP/s", "floor µs", "faster one, of limit", "mma.sync/wgmma"]
            : ["kernel", "mma.sync instructions", "wgmma", "bytes, mma.sync", "wgmma", "multiply-adds, mma.sync", "wgmma"];
        BenchTable table = new($"Convolutions by warps and by warpgroups on {warps.Name} in bf16 ({warps.Description})", options.Command, columns) { RowAdded = options.RowAdded };
        DeviceLimits? limits = traffic is null ? DeviceLimits.Of(warps) : null;
        IReadOnlyList<KernelWork> checks = KernelCatalog.At(traffic is null ? WorkScale.Check : WorkScale.Tiny), works = traffic is null ? KernelCatalog.At(new WorkScale(batch)) : checks;
        HashSet<string> seen = [];
        foreach (int i in KernelCatalog.Select(works, filter))
        {
            if (options.Deadline.IsOver)
            {
                table.Note("The time was over before all works were measured.");
                break;
            }

            if (!seen.Add(works[i].Name))
            {
                continue;
            }

            try
            {
                if (!EditedKernelBench.Launches(warpgroups, checks[i], FileName))
                {
                    continue;
                }

                // The tile depends on the size: what is timed is compared at its own size too.
                double tolerance = WorkCheck.Tolerance(Precision.Bf16, checks[i]);
                table.Add(
                    WorkCheck.Between(warpgroups, warps, checks[i], tolerance) is { } wrong ? Row(columns, works[i].Name, $"wrong: {wrong}")
                    : traffic is null && WorkCheck.Between(warpgroups, warps, works[i], tolerance) is { } large ? Row(columns, works[i].Name, $"wrong at this size: {large}")
                    : traffic is null ? Time(warps, warpgroups, limits!, works[i], options)
                    : Count(warps, warpgroups, traffic, works[i]));
            }
            catch (Exception exception) when (GpuKernelBench.ConcernsOneWork(exception))
            {
                table.Add(Row(columns, works[i].Name, $"not supported: {GpuKernelBench.FirstLine(exception)}"));
                if (warps.Context.Driver.IsLost || warpgroups.Context.Driver.IsLost)
                {
                    table.Note("The last kernel lost the device; what follows needs a new process.");
                    break;
                }
            }
        }

        table.Note(traffic is null
            ? $"{options.Repetition}, of {TimedWork.FewestLaunches} or more calls each, replayed from a graph between two events, over cold sets of arrays. mma.sync/wgmma: above 1 where warpgroups are faster; median of the rounds' quotients. Floor: see the "
                + "table of kernels. Before that, the results of each work agreed within the tolerance of bf16, at a small size and at the timed one."
            : "Sizes are cut down. Warp instructions, and bytes and multiply-adds that lanes and bulk copies ask for, of one call with all its launches; the emulator's time would say nothing about hardware.");
        return table;
    }

    private static string[] Time(CudaDevice warps, CudaDevice warpgroups, DeviceLimits limits, KernelWork work, GpuBenchOptions options)
    {
        using TimedWork one = new(warps, work), four = new(warpgroups, work);
        Repetition repetition = one.Fit(options.Repetition);
        IReadOnlyList<Timings> timings = Measurement.Interleave([one.Contender(repetition), four.Contender(repetition)], repetition.Rounds);
        Summary first = timings[0].Milliseconds, second = timings[1].Milliseconds;
        double floor = limits.FloorMilliseconds(Precision.Bf16, work.Bytes(sizeof(ushort)), work.Operations);
        return
        [
            one.IsRecorded && four.IsRecorded ? work.Name : $"{work.Name} (no graph)",
            GpuKernelBench.Microseconds(first.Median), GpuKernelBench.Spread(first), BenchTable.Number(work.Operations / first.Median / 1e9),
            GpuKernelBench.Microseconds(second.Median), GpuKernelBench.Spread(second), BenchTable.Number(work.Operations / second.Median / 1e9),
            GpuKernelBench.Microseconds(floor), BenchTable.Percent(floor / Math.Min(first.Median, second.Median)), BenchTable.Ratio(timings[0].RatioTo(timings[1])),
        ];
    }

    private static string[] Count(CudaDevice warps, CudaDevice warpgroups, MemoryTraffic traffic, KernelWork work)
    {
        KernelCountBench.Counts one = KernelCountBench.Measure(warps, traffic, work), four = KernelCountBench.Measure(warpgroups, traffic, work);
        return
        [
            work.Name, $"{one.WarpInstructions}", $"{four.WarpInstructions}", $"{one.Loaded + one.Stored}", $"{four.Loaded + four.Stored}", $"{one.MultiplyAdds + one.MatrixMultiplyAdds}",
            $"{four.MultiplyAdds + four.MatrixMultiplyAdds}",
        ];
    }

    private static string[] Row(string[] columns, string name, string what) => [name, what, .. Enumerable.Repeat("–", columns.Length - 2)];
}
