using System.Globalization;
using System.Text;

namespace Saturn.Training.Sweeps;

/// <summary>One run of a sweep: a point of an arm's grid with a seed.</summary>
public sealed record SweepCell
{
    /// <summary>The arm.</summary>
    public required string Arm { get; init; }

    /// <summary>All options with the values of this point.</summary>
    public required IReadOnlyList<(string Option, SweepValue Value)> Settings { get; init; }

    /// <summary>The options that are axes of the arm's grid.</summary>
    public required IReadOnlyList<string> Axes { get; init; }

    /// <summary>The seed.</summary>
    public required ulong Seed { get; init; }

    /// <summary>The point of the grid, such as <c>demp-lambda=0.01</c>: the same for all seeds.</summary>
    public string Point => Arm + string.Concat(Axes.Select(axis => $"-{axis}={FileNameOf(Label(axis)!)}"));

    /// <summary>The run's name, such as <c>demp-lambda=0.01-seed=2</c>.</summary>
    public string Name => $"{Point}-seed={Seed.ToString(CultureInfo.InvariantCulture)}";

    /// <summary>The label of an option's value, or null where the cell does not have the option.</summary>
    public string? Label(string option) => Settings.Where(setting => setting.Option == option).Select(setting => setting.Value.Label).FirstOrDefault();

    /// <summary>The command line that trains this cell, without the program.</summary>
    /// <param name="folder">The folder of the sweep's runs.</param>
    public IReadOnlyList<string> Arguments(string folder)
    {
        List<string> words = ["train"];
        foreach (var (option, value) in Settings.Where(setting => setting.Value.Given))
        {
            if (option.StartsWith(SweepSetting.MethodPrefix, StringComparison.Ordinal))
            {
                words.AddRange(["--" + SweepSetting.OfMethod, $"{option[SweepSetting.MethodPrefix.Length..]}={value.Argument ?? "on"}"]);
                continue;
            }

            if (value.Argument is { Length: > 0 } argument && argument[0] is '-' or '@')
            {
                // Apart, the parser would take it for an option or for a file of options.
                words.Add($"--{option}={value.Argument}");
                continue;
            }

            words.Add("--" + option);
            if (value.Argument is not null)
            {
                words.Add(value.Argument);
            }
        }

        return [.. words, "--seed", Seed.ToString(CultureInfo.InvariantCulture), .. Place(folder)];
    }

    /// <summary>The command line that continues it from its checkpoint.</summary>
    public IReadOnlyList<string> ResumeArguments(string folder) => ["train", "--resume", .. Place(folder)];

    /// <summary>All cells of a sweep: arm by arm, the last axis changes fastest but for the seed.</summary>
    /// <exception cref="InvalidDataException">Two cells would share a run folder, or a name is too long for one.</exception>
    public static IReadOnlyList<SweepCell> Expand(SweepFile file)
    {
        List<SweepCell> cells = [];
        HashSet<string> names = new(StringComparer.OrdinalIgnoreCase);
        foreach (SweepArm arm in file.Arms)
        {
            IEnumerable<(string Option, SweepValue Value)[]> points = [[]];
            foreach (SweepSetting setting in arm.Settings)
            {
                points = points.SelectMany(point => setting.Values, (point, value) => point.Append((setting.Option, value)).ToArray());
            }

            string[] axes = [.. arm.Settings.Where(setting => setting.IsAxis).Select(setting => setting.Option)];
            foreach (var point in points)
            {
                foreach (ulong seed in file.Seeds)
                {
                    SweepCell cell = new() { Arm = arm.Name, Settings = point, Axes = axes, Seed = seed };
                    if (!names.Add(cell.Name))
                    {
                        throw new InvalidDataException($"Two cells of the sweep would be named '{cell.Name}'; an axis of the arm '{arm.Name}' has a value twice, or another arm's name is to blame.");
                    }

                    // Room for the endings of logs and temporary files within the 255 bytes of a file name.
                    if (cell.Name.Length > 240)
                    {
                        throw new InvalidDataException($"The run '{cell.Name}' of the arm '{arm.Name}' has a name of {cell.Name.Length} characters, more than the 240 of a folder; use shorter values or fewer axes.");
                    }

                    cells.Add(cell);
                }
            }
        }

        return cells;
    }

    private string[] Place(string folder) => ["--run", Name, "--runs", folder];

    // Paths and spaces have no place in a folder's name: other characters become one underscore.
    private static string FileNameOf(string label)
    {
        StringBuilder name = new();
        foreach (char character in label)
        {
            if (char.IsAsciiLetterOrDigit(character) || character is '.' or '_' or '+' or '-')
            {
                name.Append(character);
            }
            else if (name.Length == 0 || name[^1] != '_')
            {
                name.Append('_');
            }
        }

        return name.ToString();
    }
}

/// <summary>A cell with the options that its command line makes.</summary>
/// <param name="Cell">The cell.</param>
/// <param name="Options">What <c>saturn train</c> would run.</param>
public sealed record PlannedCell(SweepCell Cell, TrainingOptions Options);
