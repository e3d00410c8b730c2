using System.Runtime.InteropServices;
using Saturn.Training;
using Saturn.Training.Reports;
using Saturn.Training.Runs;

namespace Saturn.Cli;

/// <summary>Runs a training in its folder, from the start or from the last checkpoint, and writes the report. Ctrl-C stops it after the current step, with a checkpoint.</summary>
internal static class RunSession
{
    public static int Start(TrainingOptions options, string path, bool overwrite)
    {
        RunFolder.RequireFree(path, overwrite);
        RunFolder? folder = null;
        try
        {
            return Finish(path, Run(options, () => folder = RunFolder.Create(path, options, overwrite), null, ""));
        }
        catch (Exception exception) when (exception is not OperationCanceledException && folder is not null && folder.IsEmpty)
        {
            // It failed before the first result: nothing half-made stays behind.
            Directory.Delete(path, recursive: true);
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

        return Finish(path, Run(folder.ReadOptions(), () => folder, folder.CheckpointPath, ""));
    }

    /// <summary>Trains, with Ctrl-C turned into a stop at the next step. The folder is made once options, data and model have proved good.</summary>
    public static RunSummary Run(TrainingOptions options, Func<RunFolder> folder, string? checkpoint, string label)
    {
        using CancellationTokenSource stop = new();
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using Trainer trainer = new(options, new ProgressDisplay(label), checkpoint);
        try
        {
            return trainer.Run(folder(), stop.Token);
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine($"\nStopped. The checkpoint is saved; continue with: saturn train --resume --run {options.Run}");
            throw;
        }

        void Stop(PosixSignalContext context)
        {
            context.Cancel = true;
            stop.Cancel();
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
