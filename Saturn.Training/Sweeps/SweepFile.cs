using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Saturn.Training.Sweeps;

/// <summary>The value of an option in a sweep file.</summary>
/// <param name="Label">As it stands in the file, numbers in one canonical form; names of runs are made of it, so variables of the environment are not put in.</param>
/// <param name="Argument">What the command line gets, or null for none.</param>
/// <param name="Given">Whether the option stands in the command line; with no argument it is a bare flag.</param>
public sealed record SweepValue(string Label, string? Argument, bool Given);

/// <summary>An option with its values.</summary>
/// <param name="Option">The option of <c>saturn train</c>, without dashes.</param>
/// <param name="Values">One value, or those of an axis.</param>
/// <param name="IsAxis">Whether it was written as an array.</param>
public sealed record SweepSetting(string Option, IReadOnlyList<SweepValue> Values, bool IsAxis)
{
    /// <summary>The option that takes a method's settings.</summary>
    internal const string OfMethod = "set";

    /// <summary>In front of a method's setting where it stands among the options.</summary>
    internal const string MethodPrefix = "set.";
}

/// <summary>An arm: settings, those common to all arms included.</summary>
/// <param name="Name">The arm's name.</param>
/// <param name="Settings">Common ones first; an arm's own take their place.</param>
public sealed record SweepArm(string Name, IReadOnlyList<SweepSetting> Settings);

/// <summary>A sweep as written in its file: JSON with comments and trailing commas (docs/sweeps.md).</summary>
public sealed partial class SweepFile
{
    private static readonly string[] Keys = ["name", "workers", "threads", "common", "seeds", "arms"];

    // What the sweep itself decides, with what to use instead.
    private static readonly Dictionary<string, string> Reserved = new()
    {
        ["seed"] = "the seeds of all arms stand under \"seeds\"",
        ["run"] = "each cell's run is named after its arm, axis values and seed",
        ["runs"] = "the folder of all runs is given to 'saturn sweep --runs'",
        ["resume"] = "a cell that has a checkpoint is continued by itself",
        ["overwrite"] = "cells are replaced by 'saturn sweep --overwrite'",
    };

    private readonly string path;
    private readonly Func<string, string?> environment;

    private SweepFile(string path, Func<string, string?> environment)
    {
        this.path = path;
        this.environment = environment;
    }

    /// <summary>The folder of the sweep's runs.</summary>
    public string Name { get; private set; } = "";

    /// <summary>Processes at a time.</summary>
    public int Workers { get; private set; } = 1;

    /// <summary>Seeds of every point of the grid.</summary>
    public IReadOnlyList<ulong> Seeds { get; private set; } = [0];

    /// <summary>The arms.</summary>
    public IReadOnlyList<SweepArm> Arms { get; private set; } = [];

    /// <summary>Reads and checks a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="environment">Gives the value of a variable, or null.</param>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <exception cref="InvalidDataException">It is no sweep: one sentence that says what and where.</exception>
    public static SweepFile Read(string path, Func<string, string?> environment)
    {
        if (!File.Exists(path))
        {
            throw new IOException($"There is no sweep file '{path}'; docs/sweeps.md shows what one looks like.");
        }

        return Parse(path, File.ReadAllText(path), environment);
    }

    /// <summary>The same for a text.</summary>
    public static SweepFile Parse(string path, string text, Func<string, string?> environment)
    {
        SweepFile file = new(path, environment);
        try
        {
            using JsonDocument document = JsonDocument.Parse(
                text, new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, AllowDuplicateProperties = false });
            file.Fill(document.RootElement);
            return file;
        }
        catch (JsonException exception)
        {
            throw file.Error($"it is no valid JSON ({exception.Message.TrimEnd('.')})");
        }
    }

    /// <summary>Throws if an arm uses an option that is not known.</summary>
    /// <param name="options">The names that are known, without dashes.</param>
    /// <exception cref="InvalidDataException">It does.</exception>
    public void RequireKnown(IEnumerable<string> options)
    {
        string[] known = [.. options.Except(Reserved.Keys)];
        foreach (SweepArm arm in Arms)
        {
            foreach (string option in arm.Settings.Select(setting => setting.Option))
            {
                if (Reserved.TryGetValue(option, out string? instead))
                {
                    throw Error($"the arm '{arm.Name}' sets '{option}', but {instead}");
                }

                if (!known.Contains(option.StartsWith(SweepSetting.MethodPrefix, StringComparison.Ordinal) ? SweepSetting.OfMethod : option))
                {
                    throw Error($"the arm '{arm.Name}' sets '{option}', which 'saturn train' does not know; the nearest option is '{NearestName.Of(option, known)}'");
                }
            }
        }
    }

    private void Fill(JsonElement root)
    {
        Require(root.ValueKind == JsonValueKind.Object, "it must be an object in braces");
        foreach (JsonProperty property in root.EnumerateObject())
        {
            Require(Keys.Contains(property.Name), $"the key '{property.Name}' is not known; the nearest one is '{NearestName.Of(property.Name, Keys)}'");
        }

        Require(root.TryGetProperty("name", out JsonElement name) && name.ValueKind == JsonValueKind.String && FolderName().IsMatch(name.GetString()!),
            "\"name\" must be the name of a folder, made of letters, digits and . _ + = -");
        Name = name.GetString()!;
        Workers = Count(root, "workers") ?? 1;
        if (root.TryGetProperty("seeds", out JsonElement seeds))
        {
            Require(seeds.ValueKind == JsonValueKind.Array && seeds.GetArrayLength() > 0, "\"seeds\" must be an array of whole numbers, such as [0, 1, 2]");
            Seeds = [.. seeds.EnumerateArray().Select(seed => seed.ValueKind == JsonValueKind.Number && seed.TryGetUInt64(out ulong value)
                ? value
                : throw Error($"\"seeds\" must be whole numbers, 0 or above, but one is {seed.GetRawText()}"))];
            Require(Seeds.Distinct().Count() == Seeds.Count, "a seed stands twice under \"seeds\"");
        }

        // The file's threads are an option like others, which an arm may set otherwise.
        List<SweepSetting> common = [];
        if (Count(root, "threads") is { } threads)
        {
            string text = threads.ToString(CultureInfo.InvariantCulture);
            common.Add(new SweepSetting("threads", [new SweepValue(text, text, true)], false));
        }

        if (root.TryGetProperty("common", out JsonElement shared))
        {
            common = Merge(common, Settings(shared, "\"common\""));
        }

        Require(root.TryGetProperty("arms", out JsonElement arms) && arms.ValueKind == JsonValueKind.Object && arms.EnumerateObject().Any(),
            "\"arms\" must be an object with at least one arm, such as { \"dense\": { \"method\": \"dense\" } }");
        Arms = [.. arms.EnumerateObject().Select(arm =>
        {
            Require(FolderName().IsMatch(arm.Name), $"the arm '{arm.Name}' must have a name made of letters, digits and . _ + = -");
            return new SweepArm(arm.Name, Merge(common, Settings(arm.Value, $"the arm '{arm.Name}'")));
        })];
    }

    private int? Count(JsonElement root, string key)
    {
        if (!root.TryGetProperty(key, out JsonElement element))
        {
            return null;
        }

        return element.ValueKind == JsonValueKind.Number && element.TryGetInt32(out int value) && value >= 1
            ? value
            : throw Error($"\"{key}\" must be a whole number, at least 1, but is {element.GetRawText()}");
    }

    private List<SweepSetting> Settings(JsonElement element, string where)
    {
        Require(element.ValueKind == JsonValueKind.Object, $"{where} must be an object of options of 'saturn train'");
        List<SweepSetting> settings = [];
        foreach (JsonProperty property in element.EnumerateObject())
        {
            if (property.NameEquals(SweepSetting.OfMethod) && property.Value.ValueKind == JsonValueKind.Object)
            {
                // "set": { "c": [1e-3, 1e-2] }: settings of the method, each of which may be an axis.
                settings.AddRange(Settings(property.Value, $"{where}, '{property.Name}'").Select(setting => setting with { Option = SweepSetting.MethodPrefix + setting.Option }));
                continue;
            }

            bool isAxis = property.Value.ValueKind == JsonValueKind.Array;
            SweepValue[] values = isAxis ? [.. property.Value.EnumerateArray().Select(Value)] : [Value(property.Value)];
            Require(values.Length > 0, $"{where} has no value for '{property.Name}': the array is empty");
            settings.Add(new SweepSetting(property.Name, values, isAxis));

            SweepValue Value(JsonElement value) => value.ValueKind switch
            {
                JsonValueKind.String => new SweepValue(value.GetString()!, Substitute(value.GetString()!, $"{where}, '{property.Name}'"), true),
                JsonValueKind.Number => Number(value.GetRawText()),
                JsonValueKind.True => new SweepValue("true", null, true),
                JsonValueKind.False => new SweepValue("false", null, false),
                JsonValueKind.Null => new SweepValue("default", null, false),
                _ => throw Error($"{where} must give '{property.Name}' a text, a number, true, false or null, or an array of such, but it is {value.GetRawText()}"),
            };
        }

        return settings;
    }

    // 1e-3 and 0.001 are one value and name one run.
    private static SweepValue Number(string raw)
    {
        string text = raw.AsSpan().ContainsAny('.', 'e', 'E') ? double.Parse(raw, CultureInfo.InvariantCulture).ToString(CultureInfo.InvariantCulture).ToLowerInvariant() : raw;
        return new SweepValue(text, text, true);
    }

    private string Substitute(string text, string where)
    {
        string result = Variable().Replace(text, match => environment(match.Groups["name"].Value) is { Length: > 0 } value
            ? value
            : throw Error($"{where} needs the variable {match.Groups["name"].Value} of the environment, which is not set"));
        Require(!Variable().Replace(text, "").Contains("${"), $"{where} has a '${{' that names no variable; write ${{NAME}}");
        return result;
    }

    private static List<SweepSetting> Merge(List<SweepSetting> common, List<SweepSetting> own) =>
    [
        .. common.Where(setting => own.All(other => other.Option != setting.Option)), .. own,
    ];

    private void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw Error(message);
        }
    }

    private InvalidDataException Error(string message) => new($"The sweep file '{path}' cannot be used: {message}.");

    [GeneratedRegex("^[A-Za-z0-9_][A-Za-z0-9._+=-]*$")]
    private static partial Regex FolderName();

    [GeneratedRegex(@"\$\{(?<name>[A-Za-z_][A-Za-z0-9_]*)\}")]
    private static partial Regex Variable();
}
