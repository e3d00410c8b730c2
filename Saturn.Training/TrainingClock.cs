using System.Diagnostics;
using Saturn.Kernels;
using Saturn.Training.Checkpoints;

namespace Saturn.Training;

/// <summary>
/// The time that training takes: steps and pruning, not evaluation and saving. On a GPU a call returns before its work is done, so how long a stretch of steps took is known when somebody waits for the device; the steps
/// of a stretch share its time evenly. On the host processor every step is a stretch of its own.
/// </summary>
/// <param name="device">Where the steps run.</param>
/// <param name="progress">Whose seconds of training are counted.</param>
/// <param name="times">Who is told the time of each step.</param>
internal sealed class TrainingClock(Device device, RunProgress progress, StepTimes times)
{
    private readonly bool returnsLate = device.Kind != DeviceKind.Cpu;
    private long stretchStart;
    private long settledAt;
    private long pruningStart;
    private int steps;
    private bool isOpen;
    private double flops;

    /// <summary>A step begins.</summary>
    public void BeginStep()
    {
        if (!isOpen)
        {
            isOpen = true;
            stretchStart = Stopwatch.GetTimestamp();
        }
    }

    /// <summary>A step has been issued.</summary>
    /// <param name="flops">Forward operations an image of the network it was taken with.</param>
    public void EndStep(double flops)
    {
        steps++;
        this.flops = flops;
        if (!returnsLate)
        {
            Settle();
        }
    }

    /// <summary>Waits for the steps that have been issued and counts their time; before anything that is timed on its own or not at all.</summary>
    public void Settle()
    {
        if (!isOpen)
        {
            return;
        }

        if (returnsLate)
        {
            device.Synchronize();
        }

        settledAt = Stopwatch.GetTimestamp();
        double seconds = Stopwatch.GetElapsedTime(stretchStart, settledAt).TotalSeconds;
        for (int step = 0; step < steps; step++)
        {
            times.Add(seconds * 1000 / steps, flops);
        }

        progress.TrainingSeconds += seconds;
        steps = 0;
        isOpen = false;
    }

    /// <summary>The pruning method is asked whether it has something to do.</summary>
    public void BeginPruning() => pruningStart = Stopwatch.GetTimestamp();

    /// <summary>The method has answered.</summary>
    /// <param name="hasPruned">Whether it did something.</param>
    /// <returns>Milliseconds it took.</returns>
    public double EndPruning(bool hasPruned)
    {
        if (hasPruned)
        {
            Settle();
        }

        if (isOpen)
        {
            return 0;
        }

        double seconds = Stopwatch.GetElapsedTime(Math.Max(pruningStart, settledAt)).TotalSeconds;
        progress.TrainingSeconds += seconds;
        return seconds * 1000;
    }
}
