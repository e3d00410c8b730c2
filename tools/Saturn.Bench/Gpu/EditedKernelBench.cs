using Saturn.Bench.Works;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Diagnostics;

namespace Saturn.Bench.Gpu;

/// <summary>
/// An edited copy of one of Saturn's kernel files against the file itself, on every work of the catalog that launches it: first whether the results agree, then the times, or on the emulated GPU the
/// counts.
/// </summary>
public static class EditedKernelBench
{
    /// <summary>Compares and measures.</summary>
    /// <param name="name">The file, such as <c>elementwise.cu</c>.</param>
    /// <param name="builtIn">A device with Saturn's own files.</param>
    /// <param name="edited">A device of the same kind with the edited file.</param>
    /// <param name="batch">Images at once of the timed works.</param>
    /// <param name="tolerance">Relative error that is allowed between the two; 0 for equal bits.</param>
    /// <param name="traffic">The counters of both devices where they are emulated; null where they are hardware.</param>
    /// <param name="options">Repetitions and time.</param>
    /// <exception cref="WrongResultException">A result of the edited file differs; the message names work, place and values.</exception>
    /// <exception cref="ArgumentException">No work of the catalog launches the file.</exception>
    public static BenchTable Run(string name, CudaDevice builtIn, CudaDevice edited, int batch, double tolerance, MemoryTraffic? traffic, GpuBenchOptions options)
    {
        if (IsNeverLaunched(name, builtIn))
        {
            throw NotLaunched(name, builtIn);
        }

        WorkScale checkScale = traffic is null ? WorkScale.Check : WorkScale.Tiny;
        IReadOnlyList<KernelWork> checks = KernelCatalog.At(checkScale);
        List<int> touched = [];
        for (int i = 0; i < checks.Count && !(options.Deadline.IsOver && touched.Count > 0); i++)
        {
            if (IsTouched(builtIn, checks[i], name))
            {
                touched.Add(i);
                if (WorkCheck.Between(edited, builtIn, checks[i], tolerance) is { } wrong)
                {
                    throw new WrongResultException($"The edited {name} gives other results on '{checks[i].Name}': {wrong}.");
                }
            }
        }

        if (touched.Count == 0)
        {
            throw NotLaunched(name, builtIn);
        }

        return traffic is null ? Time(name, builtIn, edited, batch, touched, tolerance, options) : Count(name, builtIn, edited, checks, touched, tolerance, traffic, options);
    }

    // What the precision decides, without running a work.
    private static bool IsNeverLaunched(string name, CudaDevice device) => name switch
    {
        "convolution_wgmma.cu" => device.Precision != Precision.Bf16,
        "convolution_tensor.cu" or "convolution_filter_tensor.cu" or "matrix_tensor.cu" or "batch_statistics.cu" => device.Precision == Precision.Fp32,
        "convolution.cu" or "matrix.cu" => device.Precision != Precision.Fp32,
        _ => false,
    };

    private static ArgumentException NotLaunched(string name, CudaDevice device)
    {
        string hint = name switch
        {
            "convolution_wgmma.cu" =>
                $" They are launched with --precision bf16 on a device of compute capability 9.0 (this one is {device.Context.Driver.TargetArchitecture(device.Context.Ordinal)}; emulated:sm_90a emulates one) where {EnvironmentVariable.Wgmma.Name}=1 is set (it is {(EnvironmentVariable.Wgmma.IsOn ? "" : "not ")}here).",
            "convolution_tensor.cu" or "convolution_filter_tensor.cu" or "matrix_tensor.cu" or "batch_statistics.cu" => " They are launched with --precision tf32 or --precision bf16.",
            "convolution.cu" or "matrix.cu" => " They are launched with --precision fp32.",
            _ => "",
        };
        return new ArgumentException($"No kernel of {name} is launched by the works of this bench in {device.Precision.ToString().ToLowerInvariant()}.{hint}");
    }

    /// <summary>Whether a work launches a kernel of the file: runs it.</summary>
    internal static bool Launches(CudaDevice device, KernelWork work, string name)
    {
        ElementType activations = WorkCheck.ActivationType(device);
        using WorkArrays arrays = new(device, activations, activations == ElementType.BFloat16);
        Action call = work.Prepare(device, arrays);
        long before = device.Context.LaunchCount(name);
        call();
        device.Synchronize();
        return device.Context.LaunchCount(name) > before;
    }

    // What is not supported is no affair of the edited file.
    private static bool IsTouched(CudaDevice device, KernelWork work, string name)
    {
        try
        {
            return Launches(device, work, name);
        }
        catch (Exception exception) when (!device.Context.Driver.IsLost && GpuKernelBench.ConcernsOneWork(exception))
        {
            return false;
        }
    }

    private static BenchTable Time(
        string name, CudaDevice builtIn, CudaDevice edited, int batch, IReadOnlyList<int> touched, double tolerance, GpuBenchOptions options)
    {
        BenchTable table = new(
            $"Edited {name} on {builtIn.Name} ({builtIn.Description})", options.Command, "kernel", "built-in µs", "p10–p90", "edited µs", "p10–p90", "built-in/edited");
        IReadOnlyList<KernelWork> works = KernelCatalog.At(new WorkScale(batch));
        foreach (KernelWork work in touched.Select(i => works[i]))
        {
            if (options.Deadline.IsOver)
            {
                table.Note("The time was over before all works were measured.");
                break;
            }

            // The tile and the library that does it depend on the size.
            long before = builtIn.Context.LaunchCount(name);
            if (WorkCheck.Between(edited, builtIn, work, tolerance) is { } wrong)
            {
                throw new WrongResultException($"The edited {name} gives other results on '{work.Name}' at the timed size: {wrong}.");
            }

            if (builtIn.Context.LaunchCount(name) == before)
            {
                table.Add(work.Name, $"launches none of its kernels at this size{(builtIn.Context.Cublas is null ? "" : $", perhaps as cuBLAS does it ({EnvironmentVariable.Cublas.Name}=off leaves it to Saturn)")}", "–", "–", "–", "–");
                continue;
            }

            using TimedWork first = new(builtIn, work), second = new(edited, work);
            Repetition repetition = first.Fit(options.Repetition);
            IReadOnlyList<Timings> timings = Measurement.Interleave([first.Contender(repetition), second.Contender(repetition)], repetition.Rounds);
            Summary own = timings[0].Milliseconds, theirs = timings[1].Milliseconds;
            table.Add(
                work.Name, GpuKernelBench.Microseconds(own.Median), GpuKernelBench.Spread(own), GpuKernelBench.Microseconds(theirs.Median), GpuKernelBench.Spread(theirs), BenchTable.Ratio(timings[0].RatioTo(timings[1])));
        }

        table.Note($"{Agreement(tolerance, ", at a small size and at the timed one")} {options.Repetition}, of {TimedWork.FewestLaunches} or more calls each, replayed from a graph where they can be recorded, over cold sets of arrays. Built-in/edited: above 1 where the edited file is faster; median of the rounds' quotients.");
        return table;
    }

    private static BenchTable Count(
        string name, CudaDevice builtIn, CudaDevice edited, IReadOnlyList<KernelWork> works, IReadOnlyList<int> touched, double tolerance, MemoryTraffic traffic, GpuBenchOptions options)
    {
        BenchTable table = new(
            $"Edited {name} on {builtIn.Name}: counts, no hardware time", options.Command, "kernel", "instructions, built-in", "edited", "bytes, built-in", "edited", "multiply-adds, built-in", "edited",
            "instructions, built-in/edited");
        foreach (KernelWork work in touched.Select(i => works[i]))
        {
            if (options.Deadline.IsOver)
            {
                table.Note("The time was over before all works were counted.");
                break;
            }

            KernelCountBench.Counts own = KernelCountBench.Measure(builtIn, traffic, work), theirs = KernelCountBench.Measure(edited, traffic, work);
            table.Add(
                work.Name, $"{own.WarpInstructions}", $"{theirs.WarpInstructions}", $"{own.Loaded + own.Stored}", $"{theirs.Loaded + theirs.Stored}", $"{own.MultiplyAdds + own.MatrixMultiplyAdds}",
                $"{theirs.MultiplyAdds + theirs.MatrixMultiplyAdds}", BenchTable.Ratio((double)own.WarpInstructions / theirs.WarpInstructions));
        }

        table.Note($"{Agreement(tolerance, "")} Sizes are cut down. Warp instructions, and bytes and multiply-adds that lanes ask for, of one call with all its launches; the emulator's time would say nothing about hardware.");
        return table;
    }

    private static string Agreement(double tolerance, string sizes) => tolerance == 0
        ? $"Before that, the results of all works agreed bit for bit{sizes}."
        : $"Before that, the results of all works agreed within a relative error of {tolerance.ToString("0.#e+0", System.Globalization.CultureInfo.InvariantCulture)}{sizes}.";
}

/// <summary>Thrown when an edited kernel computes something else.</summary>
public sealed class WrongResultException(string message) : Exception(message);
