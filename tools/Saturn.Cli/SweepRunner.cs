using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using Saturn.Training.Sweeps;

namespace Saturn.Cli;

/// <summary>
/// Runs the cells of a sweep that have no result, several at a time. A cell that fails is reported and the others go on. The first Ctrl-C or SIGTERM lets the running cells save a checkpoint; a second one
/// ends them at once.
/// </summary>
internal sealed class SweepRunner(SweepFolder folder, IReadOnlyList<PlannedCell> cells, int workers)
{
    // A signal to the whole group reaches the sweep more than once, or its processes as well; what comes within this time is one wish to stop.
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(1);

    private readonly Lock gate = new();
    private readonly HashSet<CellProcess> running = [];
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private PosixSignal? received;
    private TimeSpan receivedAt;
    private int done;
    private int finishedHere;
    private int failed;
    private int elsewhere;

    private bool IsStopping
    {
        get
        {
            lock (gate)
            {
                return received is not null;
            }
        }
    }

    /// <summary>Runs them.</summary>
    /// <param name="commandLine">What continues the sweep.</param>
    /// <returns>The exit code.</returns>
    /// <exception cref="InterruptedException">A signal has stopped it.</exception>
    public int Run(string commandLine)
    {
        Directory.CreateDirectory(folder.Path);
        ConcurrentQueue<PlannedCell> waiting = new(cells.Where(planned => folder.StateOfFiles(planned) != CellState.Done));
        done = cells.Count - waiting.Count;
        Console.WriteLine($"{cells.Count} cells, {done} of them done{(waiting.IsEmpty ? "" : $"; {Math.Min(workers, waiting.Count)} at a time")}.");
        using (PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop))
        using (PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop))
        {
            Task[] loops = [.. Enumerable.Range(0, Math.Min(workers, waiting.Count)).Select(_ => Task.Factory.StartNew(
                () =>
                {
                    while (!IsStopping && waiting.TryDequeue(out PlannedCell? planned))
                    {
                        RunCell(planned);
                    }
                },
                TaskCreationOptions.LongRunning))];
            Task.WaitAll(loops);
        }

        if (received is { } signal)
        {
            throw new InterruptedException(signal, $"Stopped. {done} of {cells.Count} cells are done; continue with: {commandLine}");
        }

        if (elsewhere > 0)
        {
            Console.WriteLine($"Left to another sweep that runs them: {elsewhere} cells.");
        }

        if (failed > 0)
        {
            Console.Error.WriteLine($"error: {failed} of {cells.Count} cells failed; try those again with: {commandLine}");
            return CommandErrors.Failure;
        }

        return 0;
    }

    private void RunCell(PlannedCell planned)
    {
        SweepCell cell = planned.Cell;
        using CellLock? held = CellLock.TryTake(folder.LockPath(cell));
        if (held is null)
        {
            lock (gate)
            {
                elsewhere++;
                Console.WriteLine($"{cell.Name}: runs in another sweep.");
            }

            return;
        }

        AwaitOrphan(cell, held);
        if (folder.StateOfFiles(planned) == CellState.Done)
        {
            Report(cell, 0, "");
            return;
        }

        bool resumes = folder.CanResume(cell) && folder.Differences(planned).Count == 0;
        CellProcess? process = null;
        try
        {
            lock (gate)
            {
                if (received is not null)
                {
                    return;
                }

                process = CellProcess.Start(resumes ? cell.ResumeArguments(folder.Path) : [.. cell.Arguments(folder.Path), "--overwrite"], folder.LogPath(cell));
                running.Add(process);
                held.Note(process.Process);
            }

            int code = process.Wait();
            held.Clear();
            Report(cell, code, process.LastError);
        }
        finally
        {
            lock (gate)
            {
                if (process is not null)
                {
                    running.Remove(process);
                    process.Dispose();
                }
            }
        }
    }

    private void AwaitOrphan(SweepCell cell, CellLock held)
    {
        using Process? orphan = held.FindProcess();
        if (orphan is null)
        {
            return;
        }

        Console.WriteLine($"{cell.Name}: still runs as process {orphan.Id} of a sweep that was killed; waiting for it.");
        while (!CellLock.HasEnded(orphan))
        {
            if (IsStopping)
            {
                return;
            }

            Thread.Sleep(100);
        }

        held.Clear();
    }

    private void Report(SweepCell cell, int code, string lastError)
    {
        CellResult? result = File.Exists(folder.SummaryPath(cell)) ? CellResult.Read(folder.SummaryPath(cell)) : null;
        lock (gate)
        {
            if (result is not null)
            {
                done++;
                finishedHere++;
                int left = cells.Count - done - failed - elsewhere;
                string remains = left == 0 ? "" : ProgressDisplay.Invariant($"; {left} left, about {ProgressDisplay.Duration(clock.Elapsed.TotalSeconds / finishedHere * left)}");
                Console.WriteLine(ProgressDisplay.Invariant(
                    $"[{done}/{cells.Count}] {cell.Name}: accuracy {result.Accuracy:P2}, neuron sparsity {result.NeuronSparsity:P1}, weight sparsity {result.WeightSparsity:P1}, {result.Seconds:F1} s{remains}"));
            }
            else if (received is not null)
            {
                Console.WriteLine($"{cell.Name}: stopped.");
            }
            else
            {
                failed++;
                Console.Error.WriteLine($"{cell.Name}: failed with exit code {code}: {(lastError.Length > 0 ? lastError : "it said nothing")} (all of it: {folder.LogPath(cell)})");
            }
        }
    }

    private void Stop(PosixSignalContext context)
    {
        context.Cancel = true;
        lock (gate)
        {
            if (received is null)
            {
                received = context.Signal;
                receivedAt = clock.Elapsed;
                Console.Error.WriteLine("\nStopping: the running cells save a checkpoint; once more stops at once.");
                Task.Delay(Grace).ContinueWith(_ => ForEachRunning(process => process.Stop()), TaskScheduler.Default);
            }
            else if (clock.Elapsed - receivedAt > Grace)
            {
                ForEachRunning(process => process.Process.Kill());
            }
        }
    }

    private void ForEachRunning(Action<CellProcess> act)
    {
        lock (gate)
        {
            foreach (CellProcess process in running)
            {
                act(process);
            }
        }
    }
}
