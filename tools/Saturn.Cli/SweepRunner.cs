using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Saturn.Training;
using Saturn.Training.Checkpoints;
using Saturn.Training.Runs;
using Saturn.Training.Sweeps;

namespace Saturn.Cli;

/// <summary>How a run of a sweep stands.</summary>
internal enum CellStatus
{
    /// <summary>It has a summary.</summary>
    Done,

    /// <summary>Another process holds its lock.</summary>
    Running,

    /// <summary>It has a checkpoint to go on from.</summary>
    Stopped,

    /// <summary>Nothing is there.</summary>
    Waiting,
}

/// <summary>Runs a sweep's cells in child processes. A lock file, open while a cell runs, keeps two sweeps from running the same one.</summary>
internal sealed class SweepRunner
{
    private readonly string folder;
    private readonly SweepCell[] cells;
    private readonly Lock gate = new();
    private readonly List<Process> children = [];
    private PosixSignal? stopped;

    /// <summary>Checks every cell's options, so that a mistake shows before the first run.</summary>
    /// <exception cref="ArgumentException">A cell's options do not fit, or a finished run of its name had others.</exception>
    public SweepRunner(string folder, SweepCell[] cells)
    {
        this.folder = folder;
        this.cells = cells;
        foreach (SweepCell cell in cells)
        {
            TrainingOptions options;
            try
            {
                options = TrainCommand.Read([.. Arguments(cell).Skip(1)]);
            }
            catch (ArgumentException exception)
            {
                throw new ArgumentException($"The arm '{cell.Arm}' ({cell.Name}): {exception.Message}");
            }

            string path = Path.Combine(folder, cell.Name);
            if (File.Exists(Path.Combine(path, "config.json")) && StatusOf(cell) is not CellStatus.Waiting && Comparable(RunFolder.Open(path).ReadOptions()) != Comparable(options))
            {
                throw new ArgumentException($"The run '{path}' was made with other options than the sweep now gives it; move it away, or give the sweep another name.");
            }
        }
    }

    /// <summary>The arguments of <c>saturn</c> that run a cell from its start.</summary>
    public IReadOnlyList<string> Arguments(SweepCell cell) => ["train", .. cell.Arguments, "--run", cell.Name, "--runs", folder];

    /// <summary>How a cell stands.</summary>
    public CellStatus StatusOf(SweepCell cell)
    {
        string path = Path.Combine(folder, cell.Name);
        if (File.Exists(Path.Combine(path, "summary.json")))
        {
            return CellStatus.Done;
        }

        if (File.Exists(LockPath(cell)))
        {
            using FileStream? free = TryLock(cell);
            if (free is null)
            {
                return CellStatus.Running;
            }
        }

        return Checkpoint.Exists(Path.Combine(path, "checkpoint")) ? CellStatus.Stopped : CellStatus.Waiting;
    }

    /// <summary>Runs what has not finished.</summary>
    /// <param name="workers">Processes at a time.</param>
    /// <returns>How many failed, and the signal that stopped the sweep, if one did.</returns>
    public (int Failed, PosixSignal? Stopped) Run(int workers)
    {
        Directory.CreateDirectory(folder);
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        int next = -1;
        int failed = 0;
        int done = 0;
        Thread[] threads = [.. Enumerable.Range(0, Math.Min(workers, cells.Length)).Select(_ => new Thread(() =>
        {
            for (int i = Interlocked.Increment(ref next); i < cells.Length && stopped is null; i = Interlocked.Increment(ref next))
            {
                bool good = RunCell(cells[i]);
                Interlocked.Add(ref failed, good || stopped is not null ? 0 : 1);
                Announce(cells[i], Interlocked.Increment(ref done), good);
            }
        }))];
        foreach (Thread thread in threads)
        {
            thread.Start();
        }

        foreach (Thread thread in threads)
        {
            thread.Join();
        }

        return (failed, stopped);
    }

    private static string Comparable(TrainingOptions options) =>
        System.Text.Json.JsonSerializer.Serialize(options with { Threads = null, CheckpointEvery = 1, Run = "" }, RunJson.Default.TrainingOptions);

    /// <summary>The program that is running now, so that a cell runs the same one.</summary>
    private static ProcessStartInfo Saturn(IEnumerable<string> arguments)
    {
        string self = Environment.ProcessPath!;
        bool isHost = Path.GetFileNameWithoutExtension(self) == "dotnet";
        return new ProcessStartInfo(self, isHost ? [Environment.GetCommandLineArgs()[0], .. arguments] : arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
    }

    private bool RunCell(SweepCell cell)
    {
        if (StatusOf(cell) == CellStatus.Done)
        {
            return true;
        }

        using FileStream? held = TryLock(cell);
        if (held is null)
        {
            return true;
        }

        string path = Path.Combine(folder, cell.Name);
        bool resumes = Checkpoint.Exists(Path.Combine(path, "checkpoint")) && File.Exists(Path.Combine(path, "config.json"));
        ProcessStartInfo start = Saturn(resumes ? ["train", "--resume", "--run", cell.Name, "--runs", folder] : [.. Arguments(cell), "--overwrite"]);
        using StreamWriter log = new(LogPath(cell), append: resumes) { AutoFlush = true };
        using Process child = new() { StartInfo = start };
        child.OutputDataReceived += Write;
        child.ErrorDataReceived += Write;
        lock (gate)
        {
            if (stopped is not null)
            {
                return false;
            }

            child.Start();
            children.Add(child);
        }

        child.BeginOutputReadLine();
        child.BeginErrorReadLine();
        child.WaitForExit();
        lock (gate)
        {
            children.Remove(child);
        }

        return child.ExitCode == 0;

        void Write(object sender, DataReceivedEventArgs line)
        {
            if (line.Data is not null)
            {
                lock (log)
                {
                    log.WriteLine(line.Data);
                }
            }
        }
    }

    private void Announce(SweepCell cell, int done, bool good)
    {
        string head = string.Create(CultureInfo.InvariantCulture, $"[{done}/{cells.Length}] {cell.Name}: ");
        string path = Path.Combine(folder, cell.Name);
        if (good && File.Exists(Path.Combine(path, "summary.json")) && RunFolder.Open(path).ReadSummary() is { } summary)
        {
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"{head}accuracy {summary.Accuracy:P2}, neurons {summary.NeuronSparsity:P1} gone, weights {summary.WeightSparsity:P1} gone, {summary.Seconds:F0} s"));
        }
        else if (good)
        {
            Console.WriteLine(head + "another sweep is running it");
        }
        else if (stopped is not null)
        {
            Console.WriteLine(head + "stopped");
        }
        else
        {
            string last = File.ReadLines(LogPath(cell)).LastOrDefault(line => line.Length > 0) ?? "it said nothing";
            Console.Error.WriteLine($"{head}failed: {last} ({LogPath(cell)})");
        }
    }

    /// <summary>On Ctrl-C the terminal has told the children itself, and they save; another SIGTERM reaches this process alone and is passed on.</summary>
    private void Stop(PosixSignalContext context)
    {
        lock (gate)
        {
            context.Cancel = stopped is null;
            stopped ??= context.Signal;
            if (context.Signal == PosixSignal.SIGTERM)
            {
                foreach (Process child in children)
                {
                    using Process? kill = Process.Start("kill", ["-TERM", child.Id.ToString(CultureInfo.InvariantCulture)]);
                    kill?.WaitForExit();
                }
            }
        }
    }

    private string LogPath(SweepCell cell) => Path.Combine(folder, cell.Name + ".log");

    private string LockPath(SweepCell cell) => Path.Combine(folder, cell.Name + ".lock");

    private FileStream? TryLock(SweepCell cell)
    {
        try
        {
            return new FileStream(LockPath(cell), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose);
        }
        catch (IOException)
        {
            return null;
        }
    }
}
