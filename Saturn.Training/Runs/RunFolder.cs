using System.Text.Json;

namespace Saturn.Training.Runs;

/// <summary>
/// A run's folder: <c>config.json</c>, <c>metrics.jsonl</c> (a line an epoch), <c>summary.json</c>, <c>report.html</c> and <c>checkpoint/</c>.
/// </summary>
public sealed class RunFolder
{
    private RunFolder(string path) => Path = path;

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>The checkpoint's folder; it exists once one was written.</summary>
    public string CheckpointPath => System.IO.Path.Combine(Path, "checkpoint");

    private string MetricsPath => System.IO.Path.Combine(Path, "metrics.jsonl");

    /// <summary>Creates a folder for a new run and writes its configuration.</summary>
    /// <exception cref="IOException">A run of this name exists and is not to be replaced.</exception>
    public static RunFolder Create(string path, TrainingOptions options, bool overwrite)
    {
        RequireFree(path, overwrite);
        if (File.Exists(System.IO.Path.Combine(path, "config.json")))
        {
            Directory.Delete(path, recursive: true);
        }

        Directory.CreateDirectory(path);
        RunFolder folder = new(path);
        AtomicFile.WriteText(System.IO.Path.Combine(path, "config.json"), JsonSerializer.Serialize(options, RunJson.Default.TrainingOptions));
        return folder;
    }

    /// <summary>Throws if a run of this name exists and is not to be replaced.</summary>
    /// <exception cref="IOException">It exists.</exception>
    public static void RequireFree(string path, bool overwrite)
    {
        if (!overwrite && File.Exists(System.IO.Path.Combine(path, "config.json")))
        {
            throw new IOException($"The run folder '{path}' exists; choose another --run name, continue it with --resume, or replace it with --overwrite.");
        }
    }

    /// <summary>Whether the run has left no result yet.</summary>
    public bool IsEmpty => !File.Exists(MetricsPath) && !Directory.Exists(CheckpointPath);

    /// <summary>Opens the folder of an existing run.</summary>
    /// <exception cref="IOException">There is none.</exception>
    public static RunFolder Open(string path) =>
        File.Exists(System.IO.Path.Combine(path, "config.json"))
            ? new RunFolder(path)
            : throw new IOException($"'{path}' is no run folder: it has no config.json. Run 'saturn train --run NAME' first.");

    /// <summary>The run's options.</summary>
    /// <exception cref="IOException">The file is damaged.</exception>
    public TrainingOptions ReadOptions() => ReadJson("config.json", RunJson.Default.TrainingOptions);

    /// <summary>The run's summary, or null while it has not finished.</summary>
    public RunSummary? ReadSummary() => File.Exists(System.IO.Path.Combine(Path, "summary.json")) ? ReadJson("summary.json", RunJson.Default.RunSummary) : null;

    /// <summary>Writes the summary.</summary>
    public void WriteSummary(RunSummary summary) =>
        AtomicFile.WriteText(System.IO.Path.Combine(Path, "summary.json"), JsonSerializer.Serialize(summary, RunJson.Default.RunSummary));

    /// <summary>Adds an epoch.</summary>
    public void Append(EpochMetrics metrics) => File.AppendAllText(MetricsPath, JsonSerializer.Serialize(metrics, MetricsJson.Default.EpochMetrics) + "\n");

    /// <summary>Drops epochs that a resumed run will run again.</summary>
    /// <param name="step">The step the run resumes at.</param>
    public void TruncateMetrics(long step)
    {
        if (!File.Exists(MetricsPath))
        {
            return;
        }

        IEnumerable<EpochMetrics> kept = ReadMetrics().Where(metrics => metrics.Step <= step);
        AtomicFile.WriteText(MetricsPath, string.Concat(kept.Select(metrics => JsonSerializer.Serialize(metrics, MetricsJson.Default.EpochMetrics) + "\n")));
    }

    /// <summary>All epochs so far.</summary>
    public IReadOnlyList<EpochMetrics> ReadMetrics()
    {
        if (!File.Exists(MetricsPath))
        {
            return [];
        }

        List<EpochMetrics> metrics = [];
        foreach (string line in File.ReadLines(MetricsPath))
        {
            try
            {
                metrics.Add(JsonSerializer.Deserialize(line, MetricsJson.Default.EpochMetrics)!);
            }
            catch (JsonException)
            {
                // The last line of an interrupted run may be cut off; what stands before it is whole.
                break;
            }
        }

        return metrics;
    }

    private T ReadJson<T>(string name, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
    {
        string file = System.IO.Path.Combine(Path, name);
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllText(file), type) ?? throw new JsonException("it is empty");
        }
        catch (JsonException exception)
        {
            throw new IOException($"{file} is damaged: {exception.Message}");
        }
    }
}
