using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Saturn.Prune;

namespace Saturn.Training.Runs;

/// <summary>
/// A run's folder: <c>config.json</c>, <c>metrics.jsonl</c> (a line an epoch), <c>summary.json</c>, <c>report.html</c> and <c>checkpoint/</c>, and <c>deaths.jsonl</c> where deaths are counted.
/// </summary>
public sealed class RunFolder
{
    private RunFolder(string path) => Path = path;

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>The checkpoint's folder; it exists once one was written.</summary>
    public string CheckpointPath => System.IO.Path.Combine(Path, "checkpoint");

    private bool HasRun => File.Exists(System.IO.Path.Combine(Path, "config.json")) || Directory.Exists(CheckpointPath);

    private string MetricsPath => System.IO.Path.Combine(Path, "metrics.jsonl");

    private string DeathsPath => System.IO.Path.Combine(Path, "deaths.jsonl");

    /// <summary>Creates a folder for a new run and writes its configuration.</summary>
    /// <exception cref="IOException">A run of this name exists and is not to be replaced, or the folder cannot be written.</exception>
    public static RunFolder Create(string path, TrainingOptions options, bool overwrite)
    {
        RequireFree(path, overwrite);
        RunFolder folder = new(path);
        try
        {
            Directory.CreateDirectory(path);
            if (folder.HasRun)
            {
                folder.DeleteFiles();
            }

            AtomicFile.WriteText(System.IO.Path.Combine(path, "config.json"), JsonSerializer.Serialize(options, RunJson.Default.TrainingOptions));
            return folder;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"The run folder '{path}' cannot be written ({exception.Message.TrimEnd('.')}); choose another --runs folder.");
        }
    }

    /// <summary>Deletes what a run writes, and the folder if nothing else is in it.</summary>
    public void Delete()
    {
        DeleteFiles();
        if (!Directory.EnumerateFileSystemEntries(Path).Any())
        {
            Directory.Delete(Path);
        }
    }

    /// <summary>Throws if a run of this name exists and is not to be replaced.</summary>
    /// <exception cref="IOException">It exists.</exception>
    public static void RequireFree(string path, bool overwrite)
    {
        if (!overwrite && new RunFolder(path).HasRun)
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
    public TrainingOptions ReadOptions()
    {
        // Options that a run of an earlier version did not know take their defaults.
        JsonObject values = ReadJson("config.json", RunJson.Default.JsonObject);
        TrainingOptions defaults = new() { Pruning = values["pruning"] is null ? null : new() };
        Complete(values, JsonSerializer.SerializeToNode(defaults, RunJson.Default.TrainingOptions)!.AsObject());
        return Parse("config.json", () => values.Deserialize(RunJson.Default.TrainingOptions));
    }

    /// <summary>The run's summary, or null while it has not finished.</summary>
    public RunSummary? ReadSummary() => File.Exists(System.IO.Path.Combine(Path, "summary.json")) ? ReadJson("summary.json", RunJson.Default.RunSummary) : null;

    /// <summary>Writes the summary.</summary>
    public void WriteSummary(RunSummary summary) =>
        AtomicFile.WriteText(System.IO.Path.Combine(Path, "summary.json"), JsonSerializer.Serialize(summary, RunJson.Default.RunSummary));

    /// <summary>Adds an epoch.</summary>
    public void Append(EpochMetrics metrics) => File.AppendAllText(MetricsPath, JsonSerializer.Serialize(metrics, MetricsJson.Default.EpochMetrics) + "\n");

    /// <summary>Adds a count of the dead.</summary>
    public void Append(DeathCount deaths) => File.AppendAllText(DeathsPath, JsonSerializer.Serialize(deaths, MetricsJson.Default.DeathCount) + "\n");

    /// <summary>Drops epochs and counts that a resumed run will run again.</summary>
    /// <param name="step">The step the run resumes at.</param>
    public void TruncateMetrics(long step)
    {
        Truncate(MetricsPath, MetricsJson.Default.EpochMetrics, metrics => step > 0 && metrics.Step <= step);
        Truncate(DeathsPath, MetricsJson.Default.DeathCount, deaths => step > 0 && deaths.Step <= step);
    }

    /// <summary>All epochs so far.</summary>
    public IReadOnlyList<EpochMetrics> ReadMetrics() => ReadLines(MetricsPath, MetricsJson.Default.EpochMetrics);

    /// <summary>All counts of the dead so far; empty where none were asked for.</summary>
    public IReadOnlyList<DeathCount> ReadDeaths() => ReadLines(DeathsPath, MetricsJson.Default.DeathCount);

    private static void Truncate<T>(string path, JsonTypeInfo<T> type, Func<T, bool> stays)
    {
        if (File.Exists(path))
        {
            AtomicFile.WriteText(path, string.Concat(ReadLines(path, type).Where(stays).Select(line => JsonSerializer.Serialize(line, type) + "\n")));
        }
    }

    private static List<T> ReadLines<T>(string path, JsonTypeInfo<T> type)
    {
        if (!File.Exists(path))
        {
            return [];
        }

        List<T> values = [];
        string[] lines = File.ReadAllLines(path);
        for (int i = 0; i < lines.Length; i++)
        {
            try
            {
                values.Add(JsonSerializer.Deserialize(lines[i], type) ?? throw new JsonException("it is null"));
            }
            catch (JsonException exception) when (i < lines.Length - 1)
            {
                throw new IOException($"Line {i + 1} of {path} is damaged ({exception.Message.TrimEnd('.')}); restore it, or delete the line.");
            }
            catch (JsonException)
            {
                // The last line of an interrupted run may be cut off; what stands before it is whole.
            }
        }

        return values;
    }

    private void DeleteFiles()
    {
        foreach (string name in (string[])["metrics.jsonl", "deaths.jsonl", "summary.json", "report.html", "config.json"])
        {
            File.Delete(System.IO.Path.Combine(Path, name));
        }

        foreach (string folder in (string[])[CheckpointPath, CheckpointPath + ".tmp", CheckpointPath + ".old"])
        {
            if (Directory.Exists(folder))
            {
                Directory.Delete(folder, recursive: true);
            }
        }
    }

    private static void Complete(JsonObject values, JsonObject defaults)
    {
        foreach (var (name, value) in defaults)
        {
            if (!values.TryGetPropertyValue(name, out JsonNode? own))
            {
                values[name] = value?.DeepClone();
            }
            else if (own is JsonObject inner && value is JsonObject innerDefaults)
            {
                Complete(inner, innerDefaults);
            }
        }
    }

    private T ReadJson<T>(string name, JsonTypeInfo<T> type) => Parse(name, () => JsonSerializer.Deserialize(File.ReadAllText(System.IO.Path.Combine(Path, name)), type));

    private T Parse<T>(string name, Func<T?> parse)
    {
        try
        {
            return parse() ?? throw new JsonException("it is empty");
        }
        catch (JsonException exception)
        {
            throw new IOException($"{System.IO.Path.Combine(Path, name)} is damaged ({exception.Message.TrimEnd('.')}); restore it from a copy, or train again with --overwrite.");
        }
    }
}
