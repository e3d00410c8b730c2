using Saturn.Kernels.Cuda;

namespace Saturn.Bench.Gpu;

/// <summary>Times work on a CUDA device between events on its stream: many calls between two events, over several sets of arrays in turn so that the second-level cache is cold.</summary>
public sealed class LaunchTimer : IDisposable
{
    private readonly CudaDevice device;
    private readonly ICudaDriver driver;
    private readonly nint begin;
    private readonly nint end;

    /// <summary>A timer on a device's stream.</summary>
    public LaunchTimer(CudaDevice device)
    {
        this.device = device;
        driver = device.Context.Driver;
        begin = driver.CreateEvent(timing: true);
        end = driver.CreateEvent(timing: true);
    }

    /// <summary>Milliseconds a call, one figure a repetition.</summary>
    /// <param name="sets">The calls, one for each set of arrays; they take turns.</param>
    /// <param name="launches">Calls between the two events; at least 1.</param>
    /// <param name="warmup">Untimed repetitions.</param>
    /// <param name="repetitions">Timed repetitions.</param>
    public double[] Measure(IReadOnlyList<Action> sets, int launches, int warmup, int repetitions)
    {
        double[] milliseconds = new double[repetitions];
        int next = 0;
        for (int i = -warmup; i < repetitions; i++)
        {
            driver.RecordEvent(begin, device.Context.Stream);
            for (int launch = 0; launch < launches; launch++)
            {
                sets[next]();
                next = (next + 1) % sets.Count;
            }

            driver.RecordEvent(end, device.Context.Stream);
            driver.SynchronizeEvent(end);
            if (i >= 0)
            {
                milliseconds[i] = driver.ElapsedMilliseconds(begin, end) / launches;
            }
        }

        return milliseconds;
    }

    /// <summary>The same with the calls recorded into a graph once, so that what the host needs for a launch does not count.</summary>
    /// <param name="sets">The calls, one for each set of arrays; each must have run before.</param>
    /// <param name="launches">Calls in the graph.</param>
    public RecordedCalls Record(IReadOnlyList<Action> sets, int launches)
    {
        nint stream = device.Context.Stream;
        driver.BeginCapture(stream);
        nint graph;
        try
        {
            for (int launch = 0; launch < launches; launch++)
            {
                sets[launch % sets.Count]();
            }
        }
        finally
        {
            // A capture that failed must be ended all the same, or the stream stays unusable.
            graph = driver.EndCapture(stream);
        }

        try
        {
            nint executable = driver.InstantiateGraph(graph);
            return new RecordedCalls(driver, stream, executable);
        }
        finally
        {
            driver.DestroyGraph(graph);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        driver.DestroyEvent(begin);
        driver.DestroyEvent(end);
    }
}

/// <summary>Calls in an executable graph.</summary>
public sealed class RecordedCalls(ICudaDriver driver, nint stream, nint executable) : IDisposable
{
    /// <summary>Issues one replay.</summary>
    public void Replay() => driver.LaunchGraph(executable, stream);

    /// <inheritdoc/>
    public void Dispose() => driver.DestroyExecutableGraph(executable);
}
