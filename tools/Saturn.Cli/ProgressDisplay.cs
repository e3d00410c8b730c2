using System.Globalization;
using Saturn.Kernels;
using Saturn.Prune;
using Saturn.Training;
using Saturn.Training.Runs;
using Spectre.Console;

namespace Saturn.Cli;

/// <summary>Shows a run as it goes on: one line that is rewritten on a terminal, plain lines elsewhere.</summary>
internal sealed class ProgressDisplay : ITrainingObserver
{
    private readonly bool terminal = !Console.IsOutputRedirected && Environment.GetEnvironmentVariable("TERM") is not (null or "dumb");
    private readonly string label;
    private readonly HashSet<string> warnings = [];
    private long epochs;
    private long lastPrinted;
    private bool lineOpen;

    /// <summary>Creates a display.</summary>
    /// <param name="label">Put in front of every line, such as "dense"; may be empty.</param>
    public ProgressDisplay(string label = "") => this.label = label.Length == 0 ? "" : label + "  ";

    /// <inheritdoc/>
    public void Started(TrainingStart start)
    {
        TrainingOptions options = start.Options;
        epochs = options.Epochs;
        string aim = options.Pruning is { TargetSparsity: { } target } steered ? Invariant($" steered to {target:0.###} of {steered.TargetMetric.ToString().ToLowerInvariant()} by {steered.TargetBy ?? DemonPruningOptions.DefaultTargetBy:P0} of the run") : "";
        string pressure = options.Pruning is { } pruning
            ? Invariant($"Demon Pruning{aim}: lambda {pruning.Lambda:g}, noise std {pruning.NoiseStandardDeviation:g}, census every {pruning.PruneEvery} steps")
            : string.Join(' ', options.MethodSettings.Select(setting => $"{setting.Key}={setting.Value}").Prepend(options.Method));
        WriteLine(Invariant($"{label}{options.Model} width {options.Width}, {start.Parameters:N0} parameters, {start.Units:N0} units, on {start.Device}{(options.Precision == Precision.Fp32 ? "" : $", {options.Precision.Name()}")}"));
        WriteLine(Invariant($"{label}{start.Data}; {options.Optimizer}, lr {options.PeakLearningRate:g}, batch {options.Batch}, {options.Epochs} epochs of {start.StepsPerEpoch} steps; {pressure}"));
        if (start.FirstStep > 0)
        {
            WriteLine(Invariant($"{label}resuming after step {start.FirstStep}"));
        }
    }

    /// <inheritdoc/>
    public void Progressed(in TrainingProgress progress)
    {
        // A terminal line is rewritten as often as progress is reported; a log file gets a line every ten seconds.
        if (!terminal && Environment.TickCount64 - lastPrinted < 10_000)
        {
            return;
        }

        lastPrinted = Environment.TickCount64;
        string text = Invariant(
            $"{label}epoch {progress.Epoch}/{epochs}  step {progress.Step}/{progress.TotalSteps}  {progress.ImagesPerSecond:F0} images/s  loss {progress.Loss:F3}  train {progress.TrainAccuracy:P1}  live {progress.LiveUnits}/{progress.TotalUnits} ({progress.ActiveUnits} active)  sparsity {progress.WeightSparsity:P1}  left {Duration(progress.SecondsLeft)}");
        if (terminal)
        {
            int width = Math.Max(20, Console.WindowWidth - 1);
            Console.Write("\r" + (text.Length > width ? text[..width] : text.PadRight(width)));
            lineOpen = true;
        }
        else
        {
            Console.WriteLine(text);
        }
    }

    /// <inheritdoc/>
    public void Pruned(in PruningNotice notice)
    {
        if (notice.Removed > 0)
        {
            WriteLine(Invariant(
                $"{label}  step {notice.Step}: removed {notice.Removed} dead channels, {notice.LiveUnits} of {notice.TotalUnits} left ({notice.Milliseconds:F0} ms)"));
        }
    }

    /// <inheritdoc/>
    public void EpochEnded(EpochMetrics metrics) => WriteLine(Invariant(
        $"{label}epoch {metrics.Epoch}/{epochs}: loss {metrics.Loss:F3}, train {metrics.TrainAccuracy:P2}, validation {metrics.ValidationAccuracy:P2}, {metrics.ImagesPerSecond:F0} images/s, {metrics.MsPerStep:F1} ms/step, neuron sparsity {metrics.NeuronSparsity:P1}, weight sparsity {metrics.WeightSparsity:P1}"));

    /// <inheritdoc/>
    public void Warned(string message)
    {
        // Every census repeats what it finds.
        if (warnings.Add(message))
        {
            CloseLine();
            Console.Error.WriteLine("warning: " + message);
        }
    }

    /// <summary>A table of named figures beside each other, one column a run.</summary>
    public static void WriteComparison(string title, IReadOnlyList<(string Name, RunSummary Summary)> runs)
    {
        Table table = new() { Title = new TableTitle(Markup.Escape(title)), Border = TableBorder.Rounded };
        table.AddColumn("");
        foreach (var (name, _) in runs)
        {
            table.AddColumn(new TableColumn(Markup.Escape(name)).RightAligned());
        }

        Row("accuracy", summary => Invariant($"{summary.Accuracy:P2}"));
        Row("channels live", summary => Invariant($"{summary.NeuronsLive:N0} of {summary.NeuronsTotal:N0}"));
        Row("neuron sparsity", summary => Invariant($"{summary.NeuronSparsity:P1}"));
        Row("parameters", summary => Invariant($"{summary.Parameters:N0}"));
        Row("weight sparsity", summary => Invariant($"{summary.WeightSparsity:P1}"));
        Row("inference FLOPs, of dense", summary => Invariant($"{summary.InferenceFlopsRatio:P1}"));
        Row("the same of whole units", summary => Invariant($"{summary.StructuralInferenceFlopsRatio:P1}"));
        Row("training FLOPs, of dense", summary => Invariant($"{summary.TrainingFlopsRatio:P1}"));
        Row("ms per step, first", summary => Invariant($"{summary.MsPerStepFirst:F1}"));
        Row("ms per step, last", summary => Invariant($"{summary.MsPerStepLast:F1}"));
        Row("last over first step: time", summary => summary.StepTimeRatio is { } ratio ? Invariant($"{ratio:F2}") : "–");
        Row("last over first step: FLOPs", summary => summary.StepFlopsRatio is { } ratio ? Invariant($"{ratio:F2}") : "–");
        Row("images per second", summary => Invariant($"{summary.ImagesPerSecond:F0}"));
        Row("training seconds", summary => Invariant($"{summary.Seconds:F1}"));
        Row("peak memory of the process", summary => Invariant($"{summary.PeakMemoryBytes / 1048576.0:F0} MiB"));
        AnsiConsole.Write(table);

        void Row(string name, Func<RunSummary, string> value) =>
            table.AddRow([Markup.Escape(name), .. runs.Select(run => Markup.Escape(value(run.Summary)))]);
    }

    internal static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    internal static string Duration(double seconds) =>
        double.IsFinite(seconds) ? TimeSpan.FromSeconds(Math.Min(seconds, 359_999)).ToString(seconds >= 3600 ? @"h\:mm\:ss" : @"m\:ss", CultureInfo.InvariantCulture) : "?";

    private void WriteLine(string text)
    {
        CloseLine();
        Console.WriteLine(text);
    }

    private void CloseLine()
    {
        if (lineOpen)
        {
            Console.WriteLine();
            lineOpen = false;
        }
    }
}
