using Saturn.Bench.Works;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;

namespace Saturn.Bench.Gpu;

/// <summary>
/// One work on one GPU, ready to be timed: in as many sets of arrays, which take turns, as keep the second-level cache cold, and recorded into a graph so that what the host needs for a launch does not
/// count. What cannot be recorded is timed as it is issued.
/// </summary>
internal sealed class TimedWork : IDisposable
{
    /// <summary>Sets of arrays take turns until they hold this much.</summary>
    public const long ColdBytes = 200L << 20;

    /// <summary>The least number of calls between two events.</summary>
    public const int FewestLaunches = 10;

    private const int FewestSets = 4;
    private const int MostSets = 64;
    private const int MostLaunches = 400;
    private const double BatchMilliseconds = 1;
    private const double RoundMilliseconds = 400;

    private readonly CudaDevice device;
    private readonly List<WorkArrays> sets = [];
    private readonly List<Action> calls = [];
    private readonly LaunchTimer timer;
    private readonly RecordedCalls? recorded;
    private readonly double once;
    private readonly int launches;

    /// <summary>Makes the arrays, runs each call and records them.</summary>
    public TimedWork(CudaDevice device, KernelWork work)
    {
        this.device = device;
        timer = new LaunchTimer(device);
        try
        {
            ElementType activations = WorkCheck.ActivationType(device);
            do
            {
                WorkArrays arrays = new(device, activations, activations == ElementType.BFloat16);
                sets.Add(arrays);
                calls.Add(work.Prepare(device, arrays));
            }
            while (sets.Count < MostSets && (sets.Count < FewestSets || sets.Sum(set => set.TotalBytes) < ColdBytes));

            // Compiles what is not compiled yet, and tells how many calls make up a batch.
            once = timer.Measure(calls, calls.Count, 1, 1)[0];
            launches = (int)Math.Clamp(Math.Ceiling(BatchMilliseconds / Math.Max(once, 1e-3)), FewestLaunches, MostLaunches);
            recorded = Record();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Whether the calls are repeated from a graph.</summary>
    public bool IsRecorded => recorded is not null;

    /// <summary>The same with fewer repetitions where the work is slow.</summary>
    public Repetition Fit(Repetition repetition) =>
        repetition with { Repetitions = (int)Math.Clamp(RoundMilliseconds / (once * launches), 3, Math.Max(3, repetition.Repetitions)) };

    /// <summary>This work in a race: milliseconds of a call.</summary>
    public Contender Contender(Repetition repetition) => new("Saturn", () => recorded is null
        ? timer.Measure(calls, launches, repetition.Warmup, repetition.Repetitions)
        : [.. timer.Measure([recorded.Replay], 1, repetition.Warmup, repetition.Repetitions).Select(time => time / launches)]);

    /// <summary>Frees the arrays.</summary>
    public void Dispose()
    {
        recorded?.Dispose();
        timer.Dispose();
        device.Synchronize();
        foreach (WorkArrays arrays in sets)
        {
            arrays.Dispose();
        }
    }

    private RecordedCalls? Record()
    {
        try
        {
            return timer.Record(calls, launches);
        }
        catch (CudaException) when (!device.Context.Driver.IsLost)
        {
            return null;
        }
    }
}
