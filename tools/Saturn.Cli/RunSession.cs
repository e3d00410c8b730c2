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
        // The data are opened before the folder is made, so that bad input leaves nothing behind.
        bool existed = Directory.Exists(path);
        RunFolder folder = RunFolder.Create(path, options, overwrite);
        try
        {
            return Finish(folder, Run(options, folder, false, ""));
        }
        catch (Exception exception) when (exception is not OperationCanceledException && !existed && folder.ReadMetrics().Count == 0 && !Directory.Exists(folder.CheckpointPath))
        {
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

        return Finish(folder, Run(folder.ReadOptions(), folder, true, ""));
    }

    /// <summary>Trains, with Ctrl-C turned into a stop at the next step.</summary>
    public static RunSummary Run(TrainingOptions options, RunFolder folder, bool resume, string label)
    {
        using CancellationTokenSource stop = new();
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using Trainer trainer = new(options, folder, new ProgressDisplay(label), resume);
        try
        {
            return trainer.Run(stop.Token);
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

    private static int Finish(RunFolder folder, RunSummary summary)
    {
        string report = HtmlReport.Write([folder]);
        ProgressDisplay.WriteComparison(Path.GetFileName(Path.GetFullPath(folder.Path)), [(summary.Method, summary)]);
        Console.WriteLine($"Report: {report}");
        return 0;
    }
}
