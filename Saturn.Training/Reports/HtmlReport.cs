using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;
using Saturn.Kernels;
using Saturn.Prune;
using Saturn.Training.Runs;

namespace Saturn.Training.Reports;

/// <summary>
/// One self-contained page about a run, or about several side by side: key figures, curves, live channels by layer, shapes before and after, the
/// configuration. It is made from the run folders' files alone.
/// </summary>
public static class HtmlReport
{
    /// <summary>Writes <c>report.html</c> into the last run's folder.</summary>
    /// <param name="runs">One run, or several to compare; the last one is the subject.</param>
    /// <returns>The page's path.</returns>
    /// <exception cref="IOException">A run has no metrics yet, or its files are damaged.</exception>
    public static string Write(params IReadOnlyList<RunFolder> runs)
    {
        List<Loaded> loaded = [.. runs.Select(Loaded.From)];
        string path = Path.Combine(runs[^1].Path, "report.html");
        AtomicFile.WriteText(path, Page(loaded));
        return Path.GetFullPath(path);
    }

    private static string Page(List<Loaded> runs)
    {
        Loaded subject = runs[^1];
        StringBuilder html = new();
        TrainingOptions options = subject.Options;
        html.Append($"<h1>{Encode(subject.Name)}</h1>");
        html.Append(Invariant(
            $"<p class=\"note\">{Encode(options.Model)} of width {options.Width} on {Encode(options.Data.Split(':')[0])}, {options.Epochs} epochs of batch {options.Batch}, {Encode(options.Optimizer)}, seed {options.Seed}; {Encode(Describe(options))}.</p>"));
        if (subject.Summary is { } summary)
        {
            AppendCards(html, summary);
        }
        else
        {
            html.Append("<p class=\"note\">This run has not finished; the curves show it so far.</p>");
        }

        AppendComparison(html, runs);
        AppendCharts(html, runs);
        if (subject.Summary is { } result)
        {
            AppendUnits(html, result);
            AppendWeights(html, result);
        }

        html.Append("<h2>Configuration</h2><pre>").Append(Encode(JsonSerializer.Serialize(options, RunJson.Default.TrainingOptions))).Append("</pre>");
        return HtmlPage.Complete(subject.Name, html);
    }

    private static string Describe(TrainingOptions options)
    {
        if (options is not { Method: "demp", Pruning: { } pruning })
        {
            return string.Join(' ', options.MethodSettings.Select(setting => $"{setting.Key}={setting.Value}").Prepend(options.Method));
        }

        string pressure = pruning.TargetSparsity is { } target
            ? Invariant($"steered to {target:P0} of {pruning.TargetMetric.ToString().ToLowerInvariant()} by {pruning.TargetBy ?? DemonPruningOptions.DefaultTargetBy:P0} of the run")
            : Invariant($"with λ = {pruning.Lambda:G4}");
        return Invariant($"Demon Pruning {pressure}, σ = {pruning.NoiseStandardDeviation:G4}, a census every {pruning.PruneEvery} steps");
    }

    private static void AppendCards(StringBuilder html, RunSummary summary)
    {
        html.Append("<div class=\"cards\">");
        Card("validation accuracy", Invariant($"{summary.Accuracy:P2}"));
        Card("neurons removed", Invariant($"{summary.NeuronSparsity:P1}"));
        Card("weights removed", Invariant($"{summary.WeightSparsity:P1}"));
        Card("inference FLOPs, of dense", Invariant($"{summary.InferenceFlopsRatio:P1}"));
        Card("inference FLOPs of whole units, of dense", Invariant($"{summary.StructuralInferenceFlopsRatio:P1}"));
        Card("training FLOPs, of dense", Invariant($"{summary.TrainingFlopsRatio:P1}"));
        Card("ms per step, first → last", Invariant($"{summary.MsPerStepFirst:F1} → {summary.MsPerStepLast:F1}"));
        Card("last steps: of the first ones' time, FLOPs", StepRatios(summary));
        Card("images per second", Invariant($"{summary.ImagesPerSecond:F0}"));
        Card("peak memory", Invariant($"{summary.PeakMemoryBytes / 1048576.0:F0} MiB"));
        html.Append("</div>").Append($"<p class=\"note\" style=\"margin-top:12px\">Measured on {Encode(summary.Device)}, precision {summary.Precision.Name()}; {Invariant($"{summary.Seconds:F1}")} s of training.</p>");

        void Card(string name, string value) => html.Append($"<div class=\"card\"><b>{value}</b><span>{Encode(name)}</span></div>");
    }

    private static string StepRatios(RunSummary summary) =>
        summary.StepTimeRatio is { } time && summary.StepFlopsRatio is { } flops ? Invariant($"{time:P0}, {flops:P0}") : "–";

    private static void AppendComparison(StringBuilder html, List<Loaded> runs)
    {
        List<Loaded> finished = [.. runs.Where(run => run.Summary is not null)];
        if (finished.Count < 2)
        {
            return;
        }

        html.Append("<h2>Side by side</h2><div class=\"scroll\"><table><tr><th></th>");
        html.Append(string.Concat(finished.Select(run => $"<th>{Encode(run.Name)}</th>"))).Append("</tr>");
        Row("accuracy", s => Invariant($"{s.Accuracy:P2}"));
        Row("channels", s => Invariant($"{s.NeuronsLive:N0} of {s.NeuronsTotal:N0}"));
        Row("parameters", s => Invariant($"{s.Parameters:N0}"));
        Row("inference FLOPs, of dense", s => Invariant($"{s.InferenceFlopsRatio:P1}"));
        Row("inference FLOPs of whole units, of dense", s => Invariant($"{s.StructuralInferenceFlopsRatio:P1}"));
        Row("training FLOPs, of dense", s => Invariant($"{s.TrainingFlopsRatio:P1}"));
        Row("ms per step, last", s => Invariant($"{s.MsPerStepLast:F2}"));
        Row("last steps: of the first ones' time, FLOPs", StepRatios);
        Row("training seconds", s => Invariant($"{s.Seconds:F1}"));
        html.Append("</table></div>");

        void Row(string name, Func<RunSummary, string> value) =>
            html.Append($"<tr><td>{Encode(name)}</td>{string.Concat(finished.Select(run => $"<td>{value(run.Summary!)}</td>"))}</tr>");
    }

    private static void AppendCharts(StringBuilder html, List<Loaded> runs)
    {
        html.Append("<h2>Over training</h2><div class=\"charts\">");
        html.Append(LineChart.Draw("Loss", "epoch", [.. Lines(runs, "training", m => m.Loss, 0), .. Lines(runs, "validation", m => m.ValidationLoss, runs.Count)]));
        html.Append(LineChart.Draw(
            "Accuracy", "epoch", [.. Lines(runs, "training", m => m.TrainAccuracy, 0), .. Lines(runs, "validation", m => m.ValidationAccuracy, runs.Count)], percent: true));
        html.Append(LineChart.Draw("Live channels", "epoch", Lines(runs, "", m => m.LiveUnits, 0), fromZero: true));
        html.Append(LineChart.Draw("Milliseconds per step", "epoch", Lines(runs, "", m => m.MsPerStep, 0), fromZero: true));
        Loaded subject = runs[^1];
        html.Append(LineChart.Draw("Learning rate", "epoch", Lines([subject], "", m => m.LearningRate, 0), fromZero: true));
        if (subject.Options.Pruning is not null)
        {
            html.Append(LineChart.Draw("Pressure λ", "epoch", Lines([subject], "", m => m.Lambda, 1), fromZero: true));
            html.Append(LineChart.Draw("Noise σ", "epoch", Lines([subject], "", m => m.NoiseStd, 2), fromZero: true));
        }

        if (subject.Metrics.Any(m => m.MaskJaccard is not null))
        {
            html.Append(LineChart.Draw("Stability of the weights' set, |A∩B| / |A∪B| to the epoch before", "epoch", Lines([subject], "", m => m.MaskJaccard ?? double.NaN, 3), percent: true));
        }

        if (subject.Summary is { } summary)
        {
            // Shares make layers of different widths comparable; the widest eight changes tell the story, and the table below has all.
            int[] shown = [.. Enumerable.Range(0, summary.Layers.Count)
                .OrderByDescending(i => summary.Layers[i].ChannelsBefore - summary.Layers[i].ChannelsAfter).Take(HtmlPage.Palette.Count).Order()];
            html.Append(LineChart.Draw(
                "Live channels by layer, of dense", "epoch",
                [.. shown.Select((i, color) => new ChartSeries(
                    summary.Layers[i].Name, HtmlPage.Palette[color],
                    [.. subject.Metrics.Where(m => i < m.LiveChannels.Count).Select(m => ((double)m.Epoch, (double)m.LiveChannels[i] / summary.Layers[i].ChannelsBefore))]))],
                percent: true, fromZero: true));
        }

        html.Append("</div>");
    }

    private static ChartSeries[] Lines(List<Loaded> runs, string what, Func<EpochMetrics, double> value, int firstColor) =>
    [
        .. runs.Select((run, i) => new ChartSeries(
            string.Join(", ", new[] { runs.Count > 1 || what.Length == 0 ? run.Name : "", what }.Where(part => part.Length > 0)),
            HtmlPage.Palette[(firstColor + i) % HtmlPage.Palette.Count], [.. run.Metrics.Select(m => ((double)m.Epoch, value(m)))])),
    ];

    private static void AppendUnits(StringBuilder html, RunSummary summary)
    {
        html.Append("<h2>Channels by layer</h2><div class=\"scroll\"><table><tr><th>unit group</th><th>before</th><th>after</th><th>live</th></tr>");
        foreach (LayerSummary layer in summary.Layers)
        {
            double live = (double)layer.ChannelsAfter / layer.ChannelsBefore;
            html.Append(Invariant(
                $"<tr><td>{Encode(layer.Name)}</td><td>{layer.ChannelsBefore}</td><td>{layer.ChannelsAfter}</td><td><span class=\"bar\"><i style=\"width:{live * 100:F1}%\"></i></span> {live:P0}</td></tr>"));
        }

        html.Append("</table></div>");
    }

    private static void AppendWeights(StringBuilder html, RunSummary summary)
    {
        html.Append("<h2>Weights before and after</h2><div class=\"scroll\"><table><tr><th>layer</th><th>shape before</th><th>shape after</th><th>weights before</th><th>after</th><th>MFLOP an image before</th><th>after</th></tr>");
        long weightsBefore = 0, weightsAfter = 0, flopsBefore = 0, flopsAfter = 0;
        foreach (WeightSummary layer in summary.Weights)
        {
            long before = Elements(layer.ShapeBefore);
            long after = layer.ShapeAfter is null ? 0 : Elements(layer.ShapeAfter);
            html.Append(Invariant(
                $"<tr><td>{Encode(layer.Name)}</td><td>{Times(layer.ShapeBefore)}</td><td>{(layer.ShapeAfter is null ? "removed" : Times(layer.ShapeAfter))}</td><td>{before:N0}</td><td>{after:N0}</td><td>{layer.FlopsBefore / 1e6:F2}</td><td>{layer.FlopsAfter / 1e6:F2}</td></tr>"));
            weightsBefore += before;
            weightsAfter += after;
            flopsBefore += layer.FlopsBefore;
            flopsAfter += layer.FlopsAfter;
        }

        html.Append(Invariant(
            $"<tr><th>all</th><th></th><th></th><th>{weightsBefore:N0}</th><th>{weightsAfter:N0}</th><th>{flopsBefore / 1e6:F2}</th><th>{flopsAfter / 1e6:F2}</th></tr></table></div>"));
        html.Append("<p class=\"note\">Filters are out × height × width × in. FLOPs count a multiply-add as two.</p>");
    }

    /// <summary>Attention's products have operations, but no weights.</summary>
    private static long Elements(int[] shape) => shape.Length == 0 ? 0 : shape.Aggregate(1L, (product, extent) => product * extent);

    private static string Times(int[] shape) => string.Join(" × ", shape);

    private static string Encode(string text) => WebUtility.HtmlEncode(text);

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private sealed record Loaded(string Name, TrainingOptions Options, IReadOnlyList<EpochMetrics> Metrics, RunSummary? Summary)
    {
        public static Loaded From(RunFolder folder)
        {
            IReadOnlyList<EpochMetrics> metrics = folder.ReadMetrics();
            return metrics.Count == 0
                ? throw new IOException($"The run '{folder.Path}' has no finished epoch yet, so there is nothing to report.")
                : new Loaded(Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder.Path))), folder.ReadOptions(), metrics, folder.ReadSummary());
        }
    }
}
