using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Saturn.Training.Sweeps;

/// <summary>One run of a sweep.</summary>
/// <param name="Arm">Its arm.</param>
/// <param name="Axes">The values of the arm's axes, in the file's order: options of <c>saturn train</c> without dashes.</param>
/// <param name="Seed">Its seed.</param>
/// <param name="Name">Name of its run folder.</param>
/// <param name="Arguments">Its arguments of <c>saturn train</c>, without --run and --runs.</param>
public sealed record SweepCell(string Arm, IReadOnlyList<KeyValuePair<string, string>> Axes, ulong Seed, string Name, IReadOnlyList<string> Arguments)
{
    /// <summary>Arm and axis values: what the seeds of one point share.</summary>
    public string Point => string.Join(' ', new[] { Arm }.Concat(Axes.Select(axis => $"{axis.Key}={axis.Value}")));
}

/// <summary>
/// A grid of runs, read from JSON (comments and trailing commas allowed): <c>name</c>, <c>common</c> options, <c>seeds</c>, <c>arms</c> with options of their own, <c>workers</c> and <c>threads</c>. Keys are the options of
/// <c>saturn train</c> without dashes; <c>true</c> is a bare flag, an array an axis of the arm's grid, an object under <c>set</c> the method's settings; <c>${VARIABLE}</c> is taken from the environment.
/// </summary>
public sealed partial class SweepFile
{
    private static readonly string[] Keys = ["name", "workers", "threads", "common", "seeds", "arms"];

    private SweepFile(string name, int workers, IReadOnlyList<SweepCell> cells)
    {
        Name = name;
        Workers = workers;
        Cells = cells;
    }

    /// <summary>The sweep's name; its runs lie in a folder of that name.</summary>
    public string Name { get; }

    /// <summary>Processes at a time.</summary>
    public int Workers { get; }

    /// <summary>All runs, seed by seed, so that a sweep that is stopped early has whole grids.</summary>
    public IReadOnlyList<SweepCell> Cells { get; }

    /// <summary>Reads a file.</summary>
    /// <exception cref="IOException">It does not exist.</exception>
    /// <exception cref="ArgumentException">It is no sweep; one sentence that says why.</exception>
    public static SweepFile Read(string path)
    {
        if (!File.Exists(path))
        {
            throw new IOException($"There is no sweep file '{path}'.");
        }

        try
        {
            return Parse(File.ReadAllText(path));
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or FormatException)
        {
            throw new ArgumentException($"The sweep file '{path}' is damaged: {exception.Message.TrimEnd('.')}.");
        }
        catch (ArgumentException exception)
        {
            throw new ArgumentException($"The sweep file '{path}': {exception.Message}");
        }
    }

    internal static SweepFile Parse(string text)
    {
        JsonObject root = JsonNode.Parse(text, null, new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true }) as JsonObject
            ?? throw new ArgumentException("it must hold one object.");
        string? unknown = root.Select(pair => pair.Key).FirstOrDefault(key => !Keys.Contains(key));
        if (unknown is not null)
        {
            throw new ArgumentException($"'{unknown}' is no key of a sweep; those are {string.Join(", ", Keys)}.");
        }

        string name = root["name"]?.GetValue<string>() ?? throw new ArgumentException("it has no \"name\".");
        if (name.Length == 0 || name.IndexOfAny(['/', '\\']) >= 0 || name is "." or "..")
        {
            throw new ArgumentException($"its name '{name}' is no name of a folder.");
        }

        int workers = root["workers"]?.GetValue<int>() ?? 1;
        if (workers < 1)
        {
            throw new ArgumentException($"\"workers\" must be at least 1, but is {workers}.");
        }

        JsonObject common = root["common"] as JsonObject ?? [];
        ulong[] seeds = [.. (root["seeds"] as JsonArray ?? new JsonArray(0UL)).Select(seed => seed!.GetValue<ulong>())];
        JsonObject arms = root["arms"] as JsonObject ?? throw new ArgumentException("it has no \"arms\".");
        if (arms.Count == 0 || seeds.Length == 0)
        {
            throw new ArgumentException($"{(arms.Count == 0 ? "\"arms\"" : "\"seeds\"")} is empty.");
        }

        List<SweepCell> points = [];
        foreach (var (arm, options) in arms)
        {
            points.AddRange(Expand(arm, common, options as JsonObject ?? throw new ArgumentException($"the arm '{arm}' must be an object of options."), root["threads"]));
        }

        SweepCell[] cells = [.. seeds.SelectMany(seed => points.Select(point => point with
        {
            Seed = seed,
            Name = FileName(string.Join('-', new[] { point.Arm }.Concat(point.Axes.Select(axis => $"{axis.Key}={axis.Value}")).Append($"seed={seed}"))),
            Arguments = [.. point.Arguments, "--seed", seed.ToString(System.Globalization.CultureInfo.InvariantCulture)],
        }))];
        string? twice = cells.GroupBy(cell => cell.Name).FirstOrDefault(group => group.Count() > 1)?.Key;
        return twice is null ? new SweepFile(name, workers, cells) : throw new ArgumentException($"two runs would be called '{twice}'; give the arms names that tell them apart.");
    }

    private static IEnumerable<SweepCell> Expand(string arm, JsonObject common, JsonObject own, JsonNode? threads)
    {
        List<(string Option, string[] Values, bool IsAxis)> options = [];
        foreach (var (option, value) in common.Where(pair => !own.ContainsKey(pair.Key)).Concat(own))
        {
            if (option is "seed" or "run" or "runs" or "resume" or "overwrite")
            {
                throw new ArgumentException($"'{option}' is the sweep's own business and cannot be an option of the arm '{arm}'{(option == "seed" ? "; use \"seeds\"" : "")}.");
            }

            if (option == "set" && value is JsonObject settings)
            {
                options.AddRange(settings.Select(setting => ("set:" + setting.Key, Values(arm, setting.Key, setting.Value), setting.Value is JsonArray)));
            }
            else
            {
                options.Add((option, Values(arm, option, value), value is JsonArray));
            }
        }

        if (threads is not null && options.All(option => option.Option != "threads"))
        {
            options.Add(("threads", [Text(threads)], false));
        }

        IEnumerable<int[]> choices = [[]];
        foreach (var (_, values, _) in options)
        {
            choices = [.. choices.SelectMany(choice => Enumerable.Range(0, values.Length).Select(i => (int[])[.. choice, i]))];
        }

        foreach (int[] choice in choices)
        {
            List<string> arguments = [];
            List<KeyValuePair<string, string>> axes = [];
            for (int i = 0; i < choice.Length; i++)
            {
                var (option, values, isAxis) = options[i];
                string value = values[choice[i]];
                bool isSetting = option.StartsWith("set:", StringComparison.Ordinal);
                if (isSetting)
                {
                    arguments.AddRange(["--set", $"{option[4..]}={value}"]);
                }
                else if (value == "true")
                {
                    arguments.Add("--" + option);
                }
                else if (value != "false")
                {
                    arguments.AddRange(["--" + option, value]);
                }

                if (isAxis)
                {
                    axes.Add(new KeyValuePair<string, string>(isSetting ? option[4..] : option, value));
                }
            }

            yield return new SweepCell(arm, axes, 0, "", arguments);
        }
    }

    private static string[] Values(string arm, string option, JsonNode? value) => value switch
    {
        JsonArray { Count: 0 } => throw new ArgumentException($"the option '{option}' of the arm '{arm}' has an empty list of values."),
        JsonArray array => [.. array.Select(element => Text(element ?? throw new ArgumentException($"the option '{option}' of the arm '{arm}' has a value null.")))],
        JsonValue single => [Text(single)],
        _ => throw new ArgumentException($"the option '{option}' of the arm '{arm}' must be a value or a list of values."),
    };

    /// <summary>A value as on the command line: numbers as they are written, variables of the environment filled in.</summary>
    private static string Text(JsonNode value)
    {
        string text = value.GetValueKind() == JsonValueKind.String ? value.GetValue<string>() : value.ToJsonString();
        return Variable().Replace(text, match => Environment.GetEnvironmentVariable(match.Groups[1].Value)
            ?? throw new ArgumentException($"it uses ${{{match.Groups[1].Value}}}, but the environment has no variable of that name; set it first."));
    }

    private static string FileName(string name) => Unsafe().Replace(name, "_");

    [GeneratedRegex(@"\$\{(\w+)\}")]
    private static partial Regex Variable();

    [GeneratedRegex(@"[^\w.=+-]")]
    private static partial Regex Unsafe();
}
