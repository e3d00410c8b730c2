using System.Globalization;
using System.Net;
using System.Text;
using Saturn.Training.Reports;
using Saturn.Training.Runs;

namespace Saturn.Training.Sweeps;

/// <summary>Mean, sample standard deviation and number of some values.</summary>
/// <param name="Mean">The mean.</param>
/// <param name="Deviation">The sample standard deviation (n − 1); 0 for one value.</param>
/// <param name="Count">Values.</param>
public readonly record struct Spread(double Mean, double Deviation, int Count)
{
    /// <summary>Computes both.</summary>
    public static Spread Of(IEnumerable<double> values)
    {
        double[] all = [.. values];
        double mean = all.Length == 0 ? double.NaN : all.Average();
        return new Spread(mean, all.Length < 2 ? 0 : Math.Sqrt(all.Sum(value => (value - mean) * (value - mean)) / (all.Length - 1)), all.Length);
    }
}

/// <summary>One point of a sweep: the same options under several seeds.</summary>
/// <param name="Arm">The arm.</param>
/// <param name="Axes">The values of its axes, joined.</param>
/// <param name="Summaries">The finished runs.</param>
/// <param name="Missing">Runs that have not finished.</param>
/// <param name="SecondsOfDense">Training seconds over those of the dense run of the same seed; of the seeds where both have finished.</param>
public sealed record SweepPoint(string Arm, string Axes, IReadOnlyList<RunSummary> Summaries, int Missing, Spread SecondsOfDense)
{
    /// <summary>A figure over the seeds.</summary>
    public Spread Of(Func<RunSummary, double> figure) => Spread.Of(Summaries.Select(figure));
}

/// <summary>A sweep's results, from the run folders alone, whoever ran them.</summary>
public static class SweepResults
{
    private static readonly (string Name, Func<RunSummary, double> Value, string Format)[] Columns =
    [
        ("accuracy", summary => summary.Accuracy, "P2"),
        ("best_accuracy", summary => summary.BestAccuracy, "P2"),
        ("neuron_sparsity", summary => summary.NeuronSparsity, "P1"),
        ("weight_sparsity", summary => summary.WeightSparsity, "P1"),
        ("training_flops_ratio", summary => summary.TrainingFlopsRatio, "F3"),
        ("inference_flops_ratio", summary => summary.InferenceFlopsRatio, "F3"),
        ("structural_inference_flops_ratio", summary => summary.StructuralInferenceFlopsRatio, "F3"),
        ("ms_per_step_first", summary => summary.MsPerStepFirst, "F2"),
        ("ms_per_step_last", summary => summary.MsPerStepLast, "F2"),
        ("seconds", summary => summary.Seconds, "F1"),
    ];

    /// <summary>Collects what has finished.</summary>
    /// <param name="cells">The sweep's runs.</param>
    /// <param name="folder">The sweep's folder.</param>
    public static IReadOnlyList<SweepPoint> Collect(IReadOnlyList<SweepCell> cells, string folder)
    {
        Dictionary<string, RunSummary?> summaries = cells.ToDictionary(cell => cell.Name, cell => Read(Path.Combine(folder, cell.Name)));
        Dictionary<ulong, double> dense = [];
        foreach (SweepCell cell in cells)
        {
            if (summaries[cell.Name] is { Method: "dense" } summary)
            {
                dense.TryAdd(cell.Seed, summary.Seconds);
            }
        }

        return
        [
            .. cells.GroupBy(cell => cell.Point).Select(point => new SweepPoint(
                point.First().Arm, string.Join(' ', point.First().Axes.Select(axis => $"{axis.Key}={axis.Value}")), [.. point.Select(cell => summaries[cell.Name]).OfType<RunSummary>()],
                point.Count(cell => summaries[cell.Name] is null),
                Spread.Of(point.Where(cell => summaries[cell.Name] is not null && dense.ContainsKey(cell.Seed)).Select(cell => summaries[cell.Name]!.Seconds / dense[cell.Seed])))),
        ];
    }

    /// <summary>Writes <c>results.csv</c> and <c>report.html</c> into the sweep's folder.</summary>
    /// <returns>The page's path.</returns>
    public static string Write(string name, IReadOnlyList<SweepPoint> points, string folder)
    {
        Directory.CreateDirectory(folder);
        AtomicFile.WriteText(Path.Combine(folder, "results.csv"), Csv(points));
        string path = Path.Combine(folder, "report.html");
        AtomicFile.WriteText(path, Page(name, points));
        return Path.GetFullPath(path);
    }

    internal static string Csv(IReadOnlyList<SweepPoint> points)
    {
        StringBuilder csv = new("arm,axes,runs,missing,");
        csv.Append(string.Join(',', Columns.Select(column => $"{column.Name},{column.Name}_deviation"))).Append(",seconds_of_dense,seconds_of_dense_deviation\n");
        foreach (SweepPoint point in points)
        {
            csv.Append(CultureInfo.InvariantCulture, $"{point.Arm},{point.Axes},{point.Summaries.Count},{point.Missing}");
            foreach (Spread spread in Columns.Select(column => point.Of(column.Value)).Append(point.SecondsOfDense))
            {
                csv.Append(CultureInfo.InvariantCulture, $",{Figure(spread.Mean)},{Figure(spread.Deviation)}");
            }

            csv.Append('\n');
        }

        return csv.ToString();

        static string Figure(double value) => double.IsFinite(value) ? value.ToString("G7", CultureInfo.InvariantCulture) : "";
    }

    private static RunSummary? Read(string path) => Directory.Exists(path) && File.Exists(Path.Combine(path, "config.json")) ? RunFolder.Open(path).ReadSummary() : null;

    private static string Page(string name, IReadOnlyList<SweepPoint> points)
    {
        StringBuilder html = new();
        int missing = points.Sum(point => point.Missing);
        html.Append($"<h1>{WebUtility.HtmlEncode(name)}</h1><p class=\"note\">{points.Sum(point => point.Summaries.Count)} runs have finished{(missing > 0 ? $", {missing} have not" : "")}. Points are means over seeds, bars one sample standard deviation.</p><div class=\"charts\">");
        SweepPoint[] done = [.. points.Where(point => point.Summaries.Count > 0)];
        string[] arms = [.. done.Select(point => point.Arm).Distinct()];
        html.Append(Chart("Accuracy against neuron sparsity", "neurons removed", summary => summary.NeuronSparsity));
        html.Append(Chart("Accuracy against weight sparsity", "weights removed", summary => summary.WeightSparsity));
        html.Append("</div><h2>All points</h2><div class=\"scroll\"><table><tr><th>arm</th><th>axes</th><th>runs</th>");
        html.Append(string.Concat(Columns.Select(column => $"<th>{column.Name.Replace('_', ' ')}</th>"))).Append("<th>seconds, of dense</th></tr>");
        foreach (SweepPoint point in points)
        {
            html.Append($"<tr><td>{WebUtility.HtmlEncode(point.Arm)}</td><td>{WebUtility.HtmlEncode(point.Axes)}</td><td>{point.Summaries.Count}{(point.Missing > 0 ? $" of {point.Summaries.Count + point.Missing}" : "")}</td>");
            foreach (var (_, value, format) in Columns)
            {
                html.Append($"<td>{Cell(point.Of(value), format)}</td>");
            }

            html.Append($"<td>{Cell(point.SecondsOfDense, "F2")}</td></tr>");
        }

        return HtmlPage.Complete(name, html.Append("</table></div>"));

        string Chart(string title, string label, Func<RunSummary, double> x) => ScatterChart.Draw(
            title, label, [.. arms.Select((arm, i) => new ScatterSeries(
                arm, HtmlPage.Palette[i % HtmlPage.Palette.Count],
                [.. done.Where(point => point.Arm == arm).Select(point => new ScatterPoint(point.Of(x).Mean, point.Of(s => s.Accuracy).Mean, point.Of(x).Deviation, point.Of(s => s.Accuracy).Deviation))]))]);
    }

    private static string Cell(Spread spread, string format) => spread.Count == 0
        ? "–"
        : spread.Mean.ToString(format, CultureInfo.InvariantCulture) + (spread.Count > 1 ? " ± " + spread.Deviation.ToString(format, CultureInfo.InvariantCulture) : "");
}
