using System.Diagnostics;
using Saturn.Emulator;
using Saturn.Emulator.Execution;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Families;

namespace Saturn.Bench;

/// <summary>How fast the emulator interprets: nanoseconds a warp instruction on one core, with and without checks, and whole training steps.</summary>
public static class EmulatorBench
{
    private static readonly Shape Array = new(1 << 14, 64);

    /// <summary>Measures the emulator on one worker, and a training step of ResNet-18 on all of them.</summary>
    /// <param name="rounds">Rounds; the fastest counts.</param>
    public static BenchTable Run(int rounds)
    {
        BenchTable table = new(
            "The emulator", "saturn bench emulator", "kernel", "warp instructions", "ns each, unchecked", "ns each, checked", "checked / unchecked");
        using CudaDevice fast = new("emulated:fast", new EmulatedDriver(new EmulatorOptions(Checked: false, Workers: 1)));
        using CudaDevice careful = new("emulated", new EmulatedDriver(new EmulatorOptions(Checked: true, Workers: 1)));
        Add(table, rounds, fast, careful, "add", (device, x, y) => device.Elementwise.Binary(BinaryOperation.Add, Array, x, Array, x, Array, y));
        Add(table, rounds, fast, careful, "exponential", (device, x, y) => device.Elementwise.Unary(UnaryOperation.Exponential, Array, x, y));
        Add(table, rounds, fast, careful, "sum over rows", (device, x, y) => device.Reduction.Reduce(ReductionOperation.Sum, Array, x, new Shape(64), y));
        Add(table, rounds, fast, careful, "sum over channels", (device, x, y) => device.Reduction.Reduce(ReductionOperation.Sum, Array, x, new Shape(Array.Rows, 1), y));
        Add(table, rounds, fast, careful, "normal numbers", (device, _, y) => device.Random.Normal(Array, new RandomKey(1, 0, 0), 0, 1, y));
        Add(table, rounds, fast, careful, "batch norm moments", (device, x, y) => device.Normalization.BatchMoments(Array.Rows, 64, x, y));
        AddStep(table, isChecked: false);
        AddStep(table, isChecked: true);
        table.Note($"Arrays of {Array.Rows} × {Array.Channels}; one worker, the fastest of {rounds} rounds. The training steps: ResNet-18 on 32×32 images, all cores, the second step.");
        return table;
    }

    private static void Add(BenchTable table, int rounds, CudaDevice fast, CudaDevice careful, string name, Action<Device, DeviceBuffer, DeviceBuffer> launch)
    {
        (long instructions, double plain) = Measure(fast, rounds, launch);
        (_, double guarded) = Measure(careful, rounds, launch);
        table.Add(name, $"{instructions}", BenchTable.Number(plain), BenchTable.Number(guarded), BenchTable.Ratio(guarded / plain));
    }

    private static (long Instructions, double Nanoseconds) Measure(CudaDevice device, int rounds, Action<Device, DeviceBuffer, DeviceBuffer> launch)
    {
        DeviceBuffer x = device.Memory.Allocate(Array.StorageCount * sizeof(float));
        DeviceBuffer y = device.Memory.Allocate(Array.StorageCount * sizeof(float));
        device.Elementwise.Fill(Array, x, 0.5f);
        device.Synchronize();
        long instructions = 0;
        double best = double.PositiveInfinity;
        for (int round = 0; round < rounds; round++)
        {
            long before = KernelExecution.ExecutedInstructions;
            long start = Stopwatch.GetTimestamp();
            launch(device, x, y);
            device.Synchronize();
            double nanoseconds = Stopwatch.GetElapsedTime(start).TotalNanoseconds;
            instructions = KernelExecution.ExecutedInstructions - before;
            best = Math.Min(best, nanoseconds / instructions);
        }

        device.Memory.Free(x);
        device.Memory.Free(y);
        return (instructions, best);
    }

    private static void AddStep(BenchTable table, bool isChecked)
    {
        using CudaDevice device = new("emulated", new EmulatedDriver(new EmulatorOptions(Checked: isChecked)));
        using ModelStepWorkload workload = StepCase.Scaled(8, 8).Open(device);
        workload.Step();
        device.Synchronize();
        long before = KernelExecution.ExecutedInstructions;
        long start = Stopwatch.GetTimestamp();
        workload.Step();
        device.Synchronize();
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        long instructions = KernelExecution.ExecutedInstructions - before;
        string time = $"{BenchTable.Number(seconds)} s a step";
        table.Add($"ResNet-18 width 8, batch 8, {(isChecked ? "checked" : "unchecked")}", $"{instructions}", isChecked ? "" : time, isChecked ? time : "", "");
    }
}
