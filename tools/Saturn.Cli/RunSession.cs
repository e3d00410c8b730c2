using System.Runtime.InteropServices;
using Saturn.Training;
using Saturn.Training.Checkpoints;
using Saturn.Training.Reports;
using Saturn.Training.Runs;

namespace Saturn.Cli;

/// <summary>
/// Runs a training in its folder, from the start or from the last checkpoint, and writes the report. Ctrl-C stops it after the current step, with a checkpoint; a second Ctrl-C ends it at once, and the
/// checkpoint before stands.
/// </summary>
internal static class RunSession
{
    /// <summary>Printed on standard error when the first signal has come; a sweep sends no second one to a run that has said so.</summary>
    public const string StopNotice = "Stopping after this step; once more stops at once.";

    public static int Start(TrainingOptions options, string path, bool overwrite)
    {
        RunFolder.RequireFree(path, overwrite);
        RunFolder? folder = null;
        try
        {
            return Finish(path, Run(options, path, () => folder = RunFolder.Create(path, options, overwrite), null, ""));
        }
        catch (Exception exception) when (exception is not InterruptedException && folder is not null && folder.IsEmpty)
        {
            // It failed before the first result: nothing half-made stays behind.
            folder.Delete();
            throw;
        }
    }

    public static int Resume(string path)
    {
        RunFolder folder = RunFolder.Open(path);
        if (folder.ReadSummary() is not null)
        {
            throw new InvalidOperationException($"The run '{path}' has finished; there is nothing to resume. Replace it with --overwrite or choose another --run name.");
        }

        string? checkpoint = Checkpoint.Exists(folder.CheckpointPath) ? folder.CheckpointPath : null;
        if (checkpoint is null)
        {
            Console.WriteLine("The run was stopped before its first checkpoint: it begins again.");
        }

        return Finish(path, Run(folder.ReadOptions(), path, () => folder, checkpoint, ""));
    }

    /// <summary>Trains, with Ctrl-C turned into a stop at the next step. The folder is made once options, data and model have proved good.</summary>
    public static RunSummary Run(TrainingOptions options, string path, Func<RunFolder> folder, string? checkpoint, string label)
    {
        using CancellationTokenSource stop = new();
        PosixSignal received = default;
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using Trainer trainer = new(options, new ProgressDisplay(label), checkpoint);
        try
        {
            return trainer.Run(folder(), stop.Token);
        }
        catch (OperationCanceledException)
        {
            string runs = Path.GetDirectoryName(path) is { Length: > 0 } parent && parent != "runs" ? $" --runs {parent}" : "";
            throw new InterruptedException(received, $"Stopped. The checkpoint is saved; continue with: saturn train --resume --run {options.Run}{runs}");
        }

        void Stop(PosixSignalContext context)
        {
            // Only the first one is ours; a second one does what the system does by itself.
            context.Cancel = !stop.IsCancellationRequested;
            if (context.Cancel)
            {
                Console.Error.WriteLine("\n" + StopNotice);
                received = context.Signal;
                stop.Cancel();
            }
        }
    }

    private static int Finish(string path, RunSummary summary)
    {
        string report = HtmlReport.Write([RunFolder.Open(path)]);
        ProgressDisplay.WriteComparison(Path.GetFileName(Path.GetFullPath(path)), [(summary.Method, summary)]);
        Console.WriteLine($"Report: {report}");
        return 0;
    }
}
