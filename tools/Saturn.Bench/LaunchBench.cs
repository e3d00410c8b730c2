using System.Runtime.CompilerServices;
using System.Text;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;

namespace Saturn.Bench;

/// <summary>What a kernel launch costs: the way through Saturn alone, the driver's call, and a launch replayed from a graph.</summary>
public static class LaunchBench
{
    private const int Launches = 1_000;

    private const string EmptyKernel = """
        .version 7.0
        .target sm_80
        .address_size 64

        .visible .entry nothing(.param .align 8 .b8 nothing_param_0[64])
        {
            ret;
        }
        """;

    [InlineArray(8)]
    private struct Arguments
    {
        private long element;
    }

    /// <summary>Measures launches.</summary>
    /// <param name="device">The device; one that is no CUDA device leaves only the way through Saturn.</param>
    /// <param name="command">The command line, for the table's heading.</param>
    /// <param name="repetition">How often to measure.</param>
    public static BenchTable Run(Device device, string command, Repetition repetition)
    {
        BenchTable table = new($"Kernel launches on {device.Name} ({device.Description})", command, "what", "launches", "µs a launch", "p10–p90");
        using (CudaDevice idle = new("idle", new IdleDriver()))
        {
            Measure(table, "Saturn alone, a driver that does nothing", Kernel(idle), () => { }, repetition);
        }

        if (device is CudaDevice cuda)
        {
            CudaKernel<Arguments> kernel = Kernel(cuda);
            Measure(table, "issued to the driver", kernel, () => { }, repetition, after: cuda.Synchronize);
            Measure(table, "issued and executed", kernel, cuda.Synchronize, repetition);
            MeasureGraph(table, cuda, kernel, repetition);
        }

        table.Note($"{repetition.Rounds * repetition.Repetitions} times {Launches} launches; each passes {8 * sizeof(long)} bytes of arguments to a kernel that returns at once.");
        return table;
    }

    private static CudaKernel<Arguments> Kernel(CudaDevice device) =>
        device.Context.Module(Encoding.UTF8.GetBytes(EmptyKernel + '\0'), "nothing.ptx").Kernel<Arguments>("nothing");

    private static void Measure(BenchTable table, string what, CudaKernel<Arguments> kernel, Action finish, Repetition repetition, Action? after = null)
    {
        Arguments arguments = default;
        LaunchGeometry geometry = LaunchGeometry.Linear(1, 32);
        for (int i = 0; i < 10; i++)
        {
            Work();
            after?.Invoke();
        }

        List<double> milliseconds = [];
        for (int i = 0; i < repetition.Rounds * repetition.Repetitions; i++)
        {
            milliseconds.AddRange(Measurement.Time(Work, 0, 1));
            after?.Invoke();
        }

        Add(table, what, milliseconds);

        void Work()
        {
            for (int i = 0; i < Launches; i++)
            {
                kernel.Launch(arguments, geometry);
            }

            finish();
        }
    }

    private static void MeasureGraph(BenchTable table, CudaDevice device, CudaKernel<Arguments> kernel, Repetition repetition)
    {
        ICudaDriver driver = device.Context.Driver;
        nint stream = device.Context.Stream;
        driver.BeginCapture(stream);
        for (int i = 0; i < Launches; i++)
        {
            kernel.Launch(default, LaunchGeometry.Linear(1, 32));
        }

        nint graph = driver.EndCapture(stream);
        nint executable = driver.InstantiateGraph(graph);
        void Work()
        {
            driver.LaunchGraph(executable, stream);
            device.Synchronize();
        }

        Add(table, "replayed from a graph", Measurement.Time(Work, 3, repetition.Rounds * repetition.Repetitions));
        driver.DestroyExecutableGraph(executable);
        driver.DestroyGraph(graph);
    }

    private static void Add(BenchTable table, string what, IEnumerable<double> milliseconds)
    {
        Summary each = Summary.Of(milliseconds.Select(time => time * 1_000 / Launches));
        table.Add(what, $"{Launches}", BenchTable.Number(each.Median), BenchTable.Spread(each));
    }
}
