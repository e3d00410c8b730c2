using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace Saturn.Bench;

/// <summary>
/// A table of measurements with what is needed to judge and repeat it: the machine, the date, the command and notes. The first column holds names and is
/// aligned to the left, the others hold figures and are aligned to the right.
/// </summary>
public sealed class BenchTable
{
    private readonly string[] columns;
    private readonly List<string[]> rows = [];
    private readonly List<string> notes = [];

    /// <summary>Starts a table.</summary>
    /// <param name="title">Its heading.</param>
    /// <param name="command">The command line that makes it.</param>
    /// <param name="columns">The heads of the columns, at least one.</param>
    public BenchTable(string title, string command, params string[] columns)
    {
        ArgumentOutOfRangeException.ThrowIfZero(columns.Length);
        Title = title;
        Command = command;
        this.columns = columns;
    }

    /// <summary>The heading.</summary>
    public string Title { get; }

    /// <summary>The command line that makes the table.</summary>
    public string Command { get; }

    /// <summary>The machine; by default the one that this process runs on.</summary>
    public string MachineDescription { get; init; } = Machine.Describe();

    /// <summary>The day of the measurement; by default today.</summary>
    public DateOnly Date { get; init; } = DateOnly.FromDateTime(DateTime.Now);

    /// <summary>Is told of each row as it is added, so that a bench that is ended has not worked for nothing; null for nobody.</summary>
    public Action<IReadOnlyList<string>>? RowAdded { get; init; }

    /// <summary>The rows so far, one string a column.</summary>
    public IReadOnlyList<IReadOnlyList<string>> Rows => rows;

    /// <summary>Adds a row.</summary>
    /// <exception cref="ArgumentException">The row has another number of cells than the table has columns.</exception>
    public void Add(params string[] cells)
    {
        if (cells.Length != columns.Length)
        {
            throw new ArgumentException(
                $"The table '{Title}' has {columns.Length} columns, but the row has {cells.Length} cells: {string.Join(" | ", cells)}.", nameof(cells));
        }

        rows.Add(cells);
        RowAdded?.Invoke(cells);
    }

    /// <summary>Adds a sentence that stands below the table.</summary>
    public void Note(string sentence) => notes.Add(sentence);

    /// <summary>A number with a sensible count of digits: three significant ones, none after the point from 100 on.</summary>
    public static string Number(double value) => value.ToString(
        Math.Abs(value) switch { >= 100 => "0", >= 10 => "0.0", >= 1 => "0.00", _ => "0.000" }, CultureInfo.InvariantCulture);

    /// <summary>The tenth and ninetieth percentile, as in <c>4.65–8.71</c>.</summary>
    public static string Spread(Summary summary) => $"{Number(summary.Percentile10)}–{Number(summary.Percentile90)}";

    /// <summary>A quotient, as in <c>1.23×</c>.</summary>
    public static string Ratio(double value) => value.ToString("0.00", CultureInfo.InvariantCulture) + "×";

    /// <summary>A share of the whole, as in <c>71 %</c>.</summary>
    public static string Percent(double share) => (share * 100).ToString("0", CultureInfo.InvariantCulture) + " %";

    /// <summary>Bytes in MiB, as in <c>412 MiB</c>.</summary>
    public static string Mebibytes(long bytes) => (bytes / 1048576.0).ToString("0", CultureInfo.InvariantCulture) + " MiB";

    /// <summary>The table for a terminal.</summary>
    public string ToPlainText()
    {
        StringBuilder text = new();
        text.Append(Title).Append('\n');
        foreach (string line in Heading("", ""))
        {
            text.Append(line).Append('\n');
        }

        text.Append('\n');
        int[] widths = Widths();
        AppendAligned(text, columns, widths, "", "  ", "");
        text.Append(string.Join("  ", widths.Select(width => new string('-', width)))).Append('\n');
        foreach (string[] row in rows)
        {
            AppendAligned(text, row, widths, "", "  ", "");
        }

        AppendNotes(text);
        return text.ToString();
    }

    /// <summary>The table for a Markdown page, under a heading of the third level.</summary>
    public string ToMarkdown()
    {
        StringBuilder text = new();
        text.Append("### ").Append(Title).Append("\n\n");
        foreach (string line in Heading("- ", "`"))
        {
            text.Append(line).Append('\n');
        }

        text.Append('\n');
        int[] widths = Widths();
        AppendAligned(text, columns, widths, "| ", " | ", " |");
        string[] rules = [.. widths.Select((width, i) => i == 0 ? new string('-', width) : new string('-', width - 1) + ":")];
        AppendAligned(text, rules, widths, "| ", " | ", " |");
        foreach (string[] row in rows)
        {
            AppendAligned(text, [.. row.Select(cell => cell.Replace("|", "\\|"))], widths, "| ", " | ", " |");
        }

        AppendNotes(text);
        return text.ToString();
    }

    /// <summary>The table in one line of JSON, for programs.</summary>
    public string ToJson() => new JsonObject
    {
        ["title"] = Title,
        ["machine"] = MachineDescription,
        ["date"] = Date.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture),
        ["command"] = Command,
        ["columns"] = Array(columns),
        ["rows"] = new JsonArray([.. rows.Select(row => (JsonNode)Array(row))]),
        ["notes"] = Array(notes),
    }.ToJsonString();

    private static JsonArray Array(IEnumerable<string> texts) => new([.. texts.Select(text => (JsonNode)text)]);

    private string[] Heading(string bullet, string quote) =>
    [
        $"{bullet}Machine: {MachineDescription}",
        $"{bullet}Date: {Date.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)}",
        $"{bullet}Command: {quote}{Command}{quote}",
    ];

    private int[] Widths() => [.. columns.Select((head, i) => Math.Max(3, rows.Select(row => row[i].Length).Append(head.Length).Max()))];

    private static void AppendAligned(StringBuilder text, string[] cells, int[] widths, string left, string between, string right)
    {
        IEnumerable<string> aligned = cells.Select((cell, i) => i == 0 ? cell.PadRight(widths[i]) : cell.PadLeft(widths[i]));
        text.Append((left + string.Join(between, aligned) + right).TrimEnd()).Append('\n');
    }

    private void AppendNotes(StringBuilder text)
    {
        foreach (string note in notes)
        {
            text.Append('\n').Append(note).Append('\n');
        }
    }
}
