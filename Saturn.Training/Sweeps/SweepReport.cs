using System.Globalization;
using System.Net;
using System.Text;
using Saturn.Training.Reports;
using Saturn.Training.Runs;

namespace Saturn.Training.Sweeps;

/// <summary>One self-contained page about a sweep: accuracy against neuron sparsity and against weight sparsity, a table of all points, and what is missing.</summary>
public static class SweepReport
{
    // The table has many columns: their names take two lines.
    private const string Style = "th, td { padding: 5px 8px; } th { white-space: normal; vertical-align: bottom; }";

    /// <summary>Writes <c>report.html</c>, <c>results.csv</c> and <c>results.json</c> into the sweep's folder.</summary>
    /// <returns>The page's path.</returns>
    public static string Write(SweepResults results, SweepFolder folder)
    {
        Directory.CreateDirectory(folder.Path);
        AtomicFile.WriteText(Path.Combine(folder.Path, "results.csv"), SweepTables.Csv(results));
        AtomicFile.WriteText(Path.Combine(folder.Path, "results.json"), SweepTables.Json(results));
        string path = Path.Combine(folder.Path, "report.html");
        AtomicFile.WriteText(path, Page(results));
        return Path.GetFullPath(path);
    }

    /// <summary>The page.</summary>
    internal static string Page(SweepResults results)
    {
        StringBuilder html = new();
        html.Append("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>");
        html.Append($"<title>{Encode(results.Name)} · Saturn</title><style>{HtmlPage.Style}{Style}</style></head><body><main>");
        int planned = results.Rows.Sum(row => row.Finished) + results.Incomplete.Count;
        html.Append($"<h1>{Encode(results.Name)}</h1>");
        html.Append($"<p class=\"note\">{planned - results.Incomplete.Count} of {planned} runs have finished{(results.Devices.Count > 0 ? $", on {Encode(string.Join("; ", results.Devices))}" : "")}.</p>");
        html.Append("<div class=\"charts\">");
        html.Append(Chart("Accuracy against neuron sparsity", "neurons removed", results, row => row.NeuronSparsity));
        html.Append(Chart("Accuracy against weight sparsity", "weights removed", results, row => row.WeightSparsity));
        html.Append("</div><p class=\"note\" style=\"margin-top:12px\">A point is the mean over the seeds of one point of an arm's grid; its bars run from the lowest seed to the highest. Accuracy is that of the last epoch on the validation images.</p>");
        AppendTable(html, results);
        if (results.Incomplete.Count > 0)
        {
            html.Append("<h2>Without a result</h2><div class=\"scroll\"><table><tr><th>run</th><th>state</th></tr>");
            foreach (var (cell, state) in results.Incomplete)
            {
                html.Append($"<tr><td>{Encode(cell.Name)}</td><td>{Describe(state)}</td></tr>");
            }

            html.Append("</table></div>");
        }

        return html.Append("</main></body></html>\n").ToString();
    }

    /// <summary>A state in words.</summary>
    public static string Describe(CellState state) => state == CellState.Changed ? "made with other options" : state.ToString().ToLowerInvariant();

    private static string Chart(string title, string xLabel, SweepResults results, Func<SweepRow, Spread?> sparsity) => ScatterChart.Draw(
        title, xLabel,
        [
            .. results.Rows.GroupBy(row => row.Arm).Select(arm => new ScatterSeries(
                arm.Key,
                [
                    .. arm.Where(row => row.Accuracy is not null && sparsity(row) is not null)
                        .Select(row => new ScatterPoint(Tooltip(row, sparsity(row)!, xLabel), Barred(sparsity(row)!), Barred(row.Accuracy!))),
                ])),
        ]);

    private static BarredValue Barred(Spread spread) => new(spread.Mean, spread.Low, spread.High);

    private static string Tooltip(SweepRow row, Spread sparsity, string xLabel) =>
        string.Concat(row.Axes.Select(axis => $"{axis.Option} {axis.Value}, ")) + $"accuracy {Share(row.Accuracy, 2)}, {xLabel} {Share(sparsity, 1)}, {row.Finished} {(row.Finished == 1 ? "seed" : "seeds")}";

    private static void AppendTable(StringBuilder html, SweepResults results)
    {
        if (results.Rows.Count == 0)
        {
            return;
        }

        List<(string Name, Func<SweepRow, string> Value)> found =
        [
            ("accuracy", row => Share(row.Accuracy, 2)), ("best epoch", row => Share(row.BestAccuracy, 2)), ("neurons removed", row => Share(row.NeuronSparsity, 1)),
            ("weights removed", row => Share(row.WeightSparsity, 1)),
        ];
        if (results.Rows.Any(row => row.CountedDead is not null))
        {
            found.Add(("counted dead", row => Mean(row.CountedDead, "F1")));
        }

        AppendRows("All points", found);
        html.Append("<p class=\"note\">Means over seeds ± sample standard deviation.</p>");
        AppendRows(
            "What they cost",
            [
                ("training FLOPs, of dense", row => Mean(row.TrainingFlopsRatio, "P1")), ("inference FLOPs, of dense", row => Mean(row.InferenceFlopsRatio, "P1")),
                ("inference FLOPs of whole units", row => Mean(row.StructuralInferenceFlopsRatio, "P1")), ("ms per step, first", row => Mean(row.MsPerStepFirst, "F2")),
                ("ms per step, last", row => Mean(row.MsPerStepLast, "F2")), ("last over first", row => Mean(row.StepTimeRatio, "F2")), ("its FLOPs", row => Mean(row.StepFlopsRatio, "F2")),
                ("seconds", row => Mean(row.Seconds, "F1")), ("seconds, of dense", row => Mean(row.SecondsRatio, "F3")),
            ]);
        html.Append("<p class=\"note\">Means over seeds. FLOPs are shares of those of a dense run of the same length, <i>of whole units</i> where masked weights count as present, as for a GPU's dense kernels. ");
        html.Append("<i>Last over first</i> is the time of the run's last steps over that of its first ones, beside the same ratio of their FLOPs: 1 where a network was pruned before its first step. ");
        html.Append($"<i>Seconds, of dense</i> divides by the run of the arm <i>{SweepResults.Baseline}</i> with the same seed.</p>");

        void AppendRows(string title, List<(string Name, Func<SweepRow, string> Value)> columns)
        {
            string[] axes = SweepTables.Axes(results);
            html.Append($"<h2>{title}</h2><div class=\"scroll\"><table><tr><th>arm</th>{string.Concat(axes.Append("seeds").Concat(columns.Select(column => column.Name)).Select(name => $"<th>{Encode(name)}</th>"))}</tr>");
            foreach (SweepRow row in results.Rows)
            {
                string seeds = row.Finished == row.Planned ? $"{row.Finished}" : $"{row.Finished} of {row.Planned}";
                html.Append($"<tr><td>{Encode(row.Arm)}</td>{string.Concat(axes.Select(axis => $"<td>{Encode(SweepTables.Value(row, axis) ?? "")}</td>"))}<td>{seeds}</td>");
                html.Append(string.Concat(columns.Select(column => $"<td>{column.Value(row)}</td>"))).Append("</tr>");
            }

            html.Append("</table></div>");
        }
    }

    private static string Share(Spread? spread, int digits) => spread is null
        ? "–"
        : (spread.Mean * 100).ToString($"F{digits}", CultureInfo.InvariantCulture) + (spread.Deviation is { } deviation ? " ± " + (deviation * 100).ToString($"F{digits}", CultureInfo.InvariantCulture) : "") + " %";

    private static string Mean(Spread? spread, string format) => spread is null ? "–" : spread.Mean.ToString(format, CultureInfo.InvariantCulture);

    private static string Encode(string text) => WebUtility.HtmlEncode(text);
}
