using System.Globalization;
using System.Net;
using System.Text;
using Saturn.Prune;
using Saturn.Training.Reports;
using Saturn.Training.Runs;

namespace Saturn.Training.Lab;

/// <summary>One run's deaths.</summary>
/// <param name="Name">The run.</param>
/// <param name="Groups">Names of its unit groups.</param>
/// <param name="Widths">Dense widths of the groups.</param>
/// <param name="Counts">Its counts in the order of the steps.</param>
public sealed record DeathCurve(string Name, IReadOnlyList<string> Groups, IReadOnlyList<int> Widths, IReadOnlyList<DeathCount> Counts);

/// <summary>
/// Dead units over time, of several runs that counted them (<c>saturn train --count-dead</c>): in total, by layer, revivals, and the overlap of ever-dead and now-dead ("Maxwell's Demon at Work",
/// Fig. 1, 2, 6, 8, 12, 13 and 17).
/// </summary>
public static class DeathReport
{
    /// <summary>Reads a run's counts.</summary>
    /// <exception cref="IOException">The run did not count, or has not finished.</exception>
    public static DeathCurve Read(RunFolder folder)
    {
        IReadOnlyList<DeathCount> counts = folder.ReadDeaths();
        if (counts.Count == 0)
        {
            throw new IOException($"The run '{folder.Path}' has no counts of the dead; train it with --count-dead STEPS.");
        }

        RunSummary summary = folder.ReadSummary() ?? throw new IOException($"The run '{folder.Path}' has not finished; continue it with saturn train --resume.");
        return new DeathCurve(
            Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder.Path))), [.. summary.Layers.Select(layer => layer.Name)],
            [.. summary.Layers.Select(layer => layer.ChannelsBefore)], counts);
    }

    /// <summary>The table: a line a run and count.</summary>
    public static string Csv(IReadOnlyList<DeathCurve> curves)
    {
        StringBuilder csv = new("run,step,units,dead,died,revived,ever_dead,overlap,overlap_of_ever,dead_on_all,falsely_dead\n");
        foreach (DeathCurve curve in curves)
        {
            foreach (DeathCount count in curve.Counts)
            {
                csv.Append(CultureInfo.InvariantCulture, $"{curve.Name},{count.Step},{count.Units},{count.Dead},{count.Died},{count.Revived},{count.EverDead},{count.Overlap},{count.OverlapOfEver},{count.DeadOnAll},{count.FalselyDead}\n");
            }
        }

        return csv.ToString();
    }

    /// <summary>The page.</summary>
    /// <param name="title">Its heading.</param>
    /// <param name="curves">The runs; layers are shown of the last.</param>
    public static string Page(string title, IReadOnlyList<DeathCurve> curves)
    {
        StringBuilder html = new();
        html.Append($"<h1>{WebUtility.HtmlEncode(title)}</h1><p class=\"note\">A unit is dead when no output on the sample is active; removed units count as dead.</p><div class=\"charts\">");
        html.Append(LineChart.Draw("Dead units", "step", Lines(curves, count => (double)count.Dead / count.Units), percent: true, fromZero: true));
        html.Append(LineChart.Draw("Ever dead", "step", Lines(curves, count => (double)count.EverDead / count.Units), percent: true, fromZero: true));
        html.Append(LineChart.Draw("Overlap of ever-dead and dead, |X∩Y| / min(|X|, |Y|)", "step", Lines(curves, count => count.Overlap ?? double.NaN), percent: true));
        html.Append(LineChart.Draw("Revived since the last count", "step", Lines(curves, count => count.Revived), fromZero: true));
        DeathCurve subject = curves[^1];
        int[] layers = [.. Enumerable.Range(0, subject.Groups.Count).OrderByDescending(g => subject.Counts[^1].DeadByGroup[g]).Take(HtmlPage.Palette.Count).Order()];
        html.Append(LineChart.Draw(
            $"Dead by layer, {subject.Name}", "step",
            [.. layers.Select((g, color) => new ChartSeries(
                subject.Groups[g], HtmlPage.Palette[color], [.. subject.Counts.Select(count => ((double)count.Step, (double)count.DeadByGroup[g] / subject.Widths[g]))]))],
            percent: true, fromZero: true));
        if (curves.Any(curve => curve.Counts[^1].DeadOnAll is not null))
        {
            html.Append(LineChart.Draw(
                "Dead on the sample and on all training images", "step",
                [
                    .. Lines(curves, count => count.Dead, "sample"),
                    .. curves.Select((curve, i) => new ChartSeries(
                        curve.Name + ", all", HtmlPage.Palette[(i + curves.Count) % HtmlPage.Palette.Count], [.. curve.Counts.Select(count => ((double)count.Step, (double)(count.DeadOnAll ?? 0)))])),
                ],
                fromZero: true));
        }

        html.Append("</div><h2>At the end</h2><div class=\"scroll\"><table><tr><th>run</th><th>units</th><th>dead</th><th>ever dead</th><th>revivals</th><th>overlap</th><th>overlap of ever-dead</th><th>dead on all</th><th>dead on the sample only</th></tr>");
        foreach (DeathCurve curve in curves)
        {
            DeathCount last = curve.Counts[^1];
            html.Append(CultureInfo.InvariantCulture, $"<tr><td>{WebUtility.HtmlEncode(curve.Name)}</td><td>{last.Units}</td><td>{last.Dead}</td><td>{last.EverDead}</td><td>{curve.Counts.Sum(count => count.Revived)}</td>");
            html.Append(CultureInfo.InvariantCulture, $"<td>{Share(last.Overlap)}</td><td>{Share(last.OverlapOfEver)}</td><td>{last.DeadOnAll?.ToString(CultureInfo.InvariantCulture) ?? "–"}</td><td>{last.FalselyDead?.ToString(CultureInfo.InvariantCulture) ?? "–"}</td></tr>");
        }

        return HtmlPage.Complete(title, html.Append("</table></div>"));
    }

    private static string Share(double? value) => value is { } share ? (share * 100).ToString("0.0", CultureInfo.InvariantCulture) + " %" : "–";

    private static ChartSeries[] Lines(IReadOnlyList<DeathCurve> curves, Func<DeathCount, double> value, string what = "") =>
    [
        .. curves.Select((curve, i) => new ChartSeries(
            what.Length == 0 ? curve.Name : $"{curve.Name}, {what}", HtmlPage.Palette[i % HtmlPage.Palette.Count],
            [.. curve.Counts.Select(count => ((double)count.Step, value(count))).Where(point => double.IsFinite(point.Item2))])),
    ];
}
