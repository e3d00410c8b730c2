using System.Diagnostics;
using Saturn.Bench.Works;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Cuda;

namespace Saturn.Bench.Gpu;

/// <summary>
/// Every kernel family on the emulated GPU at small sizes: results checked, bytes and multiply-adds that lanes ask for beside the least that the sizes allow. Its times say nothing about hardware.
/// </summary>
public static class KernelCountBench
{
    /// <summary>Counts the works whose name or family fits.</summary>
    /// <param name="name">The device's name: <c>emulated</c>, without checks <c>emulated:fast</c>, or of compute capability 9.0 <c>emulated:sm_90a</c>.</param>
    /// <param name="precision">The policy.</param>
    /// <param name="filter">Words with commas between them, or null.</param>
    /// <param name="command">The command line.</param>
    /// <param name="deadline">When no further row is begun.</param>
    public static BenchTable Run(string name, Precision precision, string? filter, string command, Deadline deadline)
    {
        MemoryTraffic traffic = new();
        using CpuDevice host = new();
        BenchTable table = new(
            $"Counts of kernels on {name} in {precision.ToString().ToLowerInvariant()}", command,
            "kernel", "launches", "warp instructions", "floor bytes", "loaded", "stored", "moved/floor", "floor multiply-adds", "plain", "in matrix instructions", "done/floor", "emulator ms");
        IReadOnlyList<KernelWork> works = KernelCatalog.At(WorkScale.Tiny);
        IReadOnlyList<int> chosen = KernelCatalog.Select(works, filter);
        int done = 0;

        // Cut down, layers of several networks become the same.
        foreach (KernelWork work in chosen.Select(i => works[i]).DistinctBy(work => work.Family == "convolution" ? work.Name[work.Name.IndexOf(' ')..] : work.Name))
        {
            if (deadline.IsOver)
            {
                table.Note($"The time was over after {done} of {chosen.Count} kernels.");
                break;
            }

            done++;

            // A kernel that failed has lost its device; the next one gets another.
            using CudaDevice device = Open(name, precision, traffic);
            try
            {
                table.Add(WorkCheck.Against(device, host, work) is { } wrong ? Row(work.Name, $"wrong: {wrong}") : Count(device, traffic, work));
            }
            catch (Exception exception) when (GpuKernelBench.ConcernsOneWork(exception))
            {
                table.Add(Row(work.Name, $"not supported: {GpuKernelBench.FirstLine(exception)}"));
            }
        }

        table.Note(
            "Sizes are cut down (two images, sides of at most 9 pixels, at most 72 channels). Floor bytes: each array once, pitch included. Loaded, stored: bytes that lanes ask of global memory; what is asked for again counts again, whichever cache would answer, so that a product, which reads its "
            + "operands many times, is far above its floor and a kernel that memory bounds should be near 1 (small arrays carry more of what is read once a thread). Plain: fused multiply-adds of lanes; additions and multiplications that are not fused are not counted. Emulator ms: time of the interpreter, no hardware time.");
        return table;
    }

    /// <summary>What one call does.</summary>
    internal readonly record struct Counts(long Launches, long WarpInstructions, long Loaded, long Stored, long MultiplyAdds, long MatrixMultiplyAdds, double Milliseconds);

    /// <summary>An emulated device that counts.</summary>
    /// <param name="name">Its name: see <see cref="Saturn.Training.Devices.Open"/>.</param>
    /// <param name="precision">The policy.</param>
    /// <param name="traffic">Where it counts.</param>
    /// <param name="replacement">Another text for one of Saturn's kernel files; null for none.</param>
    /// <param name="warpgroups">See <see cref="CudaDevice"/>.</param>
    public static CudaDevice Open(string name, Precision precision, MemoryTraffic traffic, KernelReplacement? replacement = null, bool? warpgroups = null) =>
        new(
            name,
            new EmulatedDriver(new EmulatorOptions(
                Checked: name != "emulated:fast", Architecture: name == "emulated:sm_90a" ? EmulatedArchitecture.Hopper : EmulatedArchitecture.Ampere, Traffic: traffic)),
            0, precision, replacement, warpgroups);

    internal static Counts Measure(CudaDevice device, MemoryTraffic traffic, KernelWork work)
    {
        ElementType activations = WorkCheck.ActivationType(device);
        using WorkArrays arrays = new(device, activations, activations == ElementType.BFloat16);
        Action call = work.Prepare(device, arrays);
        device.Synchronize();
        traffic.Reset();
        long launches = device.Context.LaunchCount();
        long start = Stopwatch.GetTimestamp();
        call();
        device.Synchronize();
        return new Counts(
            device.Context.LaunchCount() - launches, traffic.WarpInstructions, traffic.LoadedBytes, traffic.StoredBytes, traffic.MultiplyAdds, traffic.MatrixMultiplyAdds,
            Stopwatch.GetElapsedTime(start).TotalMilliseconds);
    }

    private static string[] Count(CudaDevice device, MemoryTraffic traffic, KernelWork work)
    {
        Counts counts = Measure(device, traffic, work);
        long floor = work.Bytes(WorkCheck.ActivationType(device).Size());
        double products = work.Operations / 2;
        return
        [
            work.Name, $"{counts.Launches}", $"{counts.WarpInstructions}", $"{floor}", $"{counts.Loaded}", $"{counts.Stored}", BenchTable.Ratio((double)(counts.Loaded + counts.Stored) / floor),
            products > 0 ? $"{products:0}" : "–", $"{counts.MultiplyAdds}", $"{counts.MatrixMultiplyAdds}",
            products > 0 ? BenchTable.Ratio((counts.MultiplyAdds + counts.MatrixMultiplyAdds) / products) : "–", BenchTable.Number(counts.Milliseconds),
        ];
    }

    private static string[] Row(string name, string what) => [name, what, .. Enumerable.Repeat("–", 10)];
}
