using System.Text.Json;
using System.Text.Json.Nodes;
using Saturn.Training.Checkpoints;
using Saturn.Training.Runs;

namespace Saturn.Training.Sweeps;

/// <summary>Where a cell stands.</summary>
public enum CellState
{
    /// <summary>Nothing of it exists.</summary>
    Waiting,

    /// <summary>It was begun and has no result.</summary>
    Stopped,

    /// <summary>Its last process ended with an error.</summary>
    Failed,

    /// <summary>A process is at it.</summary>
    Running,

    /// <summary>It has a summary.</summary>
    Done,

    /// <summary>Its run was made with other options than the file's.</summary>
    Changed,
}

/// <summary>The folder of a sweep: a run folder, a log and a lock for each cell, and the report.</summary>
/// <param name="path">RUNS/NAME.</param>
public sealed class SweepFolder(string path)
{
    /// <summary>The folder.</summary>
    public string Path { get; } = path;

    /// <summary>The cell's run folder.</summary>
    public string RunPath(SweepCell cell) => System.IO.Path.Combine(Path, cell.Name);

    /// <summary>What the cell's processes have printed.</summary>
    public string LogPath(SweepCell cell) => RunPath(cell) + ".log";

    /// <summary>The file that is held while the cell runs.</summary>
    public string LockPath(SweepCell cell) => RunPath(cell) + ".lock";

    /// <summary>The cell's result.</summary>
    public string SummaryPath(SweepCell cell) => System.IO.Path.Combine(RunPath(cell), "summary.json");

    /// <summary>Whether the cell can be continued from a checkpoint.</summary>
    public bool CanResume(SweepCell cell) =>
        File.Exists(ConfigurationPath(cell)) && !File.Exists(SummaryPath(cell)) && Checkpoint.Exists(System.IO.Path.Combine(RunPath(cell), "checkpoint"));

    /// <summary>Where a cell stands, running ones included.</summary>
    /// <exception cref="IOException">A file of its run folder is damaged.</exception>
    public CellState State(PlannedCell planned)
    {
        CellState state = StateOfFiles(planned);
        return state != CellState.Done && CellLock.IsHeld(LockPath(planned.Cell)) ? CellState.Running : state;
    }

    /// <summary>The same for one who holds the cell's lock, and so knows that nobody runs it.</summary>
    public CellState StateOfFiles(PlannedCell planned)
    {
        SweepCell cell = planned.Cell;
        if (Differences(planned).Count > 0)
        {
            return CellState.Changed;
        }

        if (File.Exists(SummaryPath(cell)))
        {
            return CellState.Done;
        }

        // 128 + 2 and 128 + 15: stopped by a signal, with a checkpoint.
        return CellLog.LastExitCode(LogPath(cell)) is { } code and not (0 or 130 or 143) ? CellState.Failed
            : File.Exists(ConfigurationPath(cell)) ? CellState.Stopped
            : CellState.Waiting;
    }

    /// <summary>
    /// What the run's config.json has otherwise than the file, such as <c>epochs is 3 there and 5 in the file</c>; empty where there is no config.json. The run's name, threads, the interval of checkpoints, and the
    /// folder of the data change no result; a device counts where the file names one.
    /// </summary>
    public IReadOnlyList<string> Differences(PlannedCell planned)
    {
        if (!File.Exists(ConfigurationPath(planned.Cell)))
        {
            return [];
        }

        TrainingOptions found = RunFolder.Open(RunPath(planned.Cell)).ReadOptions();
        TrainingOptions expected = planned.Options with
        {
            Run = found.Run,
            Threads = found.Threads,
            CheckpointEvery = found.CheckpointEvery,
            Data = Kind(found.Data) == Kind(planned.Options.Data) ? found.Data : planned.Options.Data,
            Device = planned.Cell.Label("device") is null ? found.Device : planned.Options.Device,
        };
        SortedDictionary<string, string> there = Flatten(found);
        SortedDictionary<string, string> here = Flatten(expected);
        return [.. there.Keys.Union(here.Keys).Where(key => there.GetValueOrDefault(key) != here.GetValueOrDefault(key))
            .Select(key => $"{key} is {there.GetValueOrDefault(key, "not set")} there and {here.GetValueOrDefault(key, "not set")} in the file")];
    }

    private static string Kind(string data) => data.Split(':')[0];

    private static SortedDictionary<string, string> Flatten(TrainingOptions options)
    {
        SortedDictionary<string, string> values = new(StringComparer.Ordinal);
        Add("", JsonSerializer.SerializeToNode(options, RunJson.Default.TrainingOptions));
        return values;

        void Add(string name, JsonNode? node)
        {
            if (node is JsonObject inner)
            {
                foreach (var (key, value) in inner)
                {
                    Add(name.Length == 0 ? key : $"{name}.{key}", value);
                }
            }
            else if (node is not null)
            {
                values[name] = node.ToJsonString();
            }
        }
    }

    private string ConfigurationPath(SweepCell cell) => System.IO.Path.Combine(RunPath(cell), "config.json");
}
