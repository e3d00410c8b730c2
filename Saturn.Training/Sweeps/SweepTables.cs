using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Saturn.Training.Runs;

namespace Saturn.Training.Sweeps;

/// <summary>A sweep's rows for other programs: a table of comma-separated values, and JSON.</summary>
public static class SweepTables
{
    private static readonly (string Name, Func<SweepRow, Spread?> Figure)[] Figures =
    [
        ("accuracy", row => row.Accuracy),
        ("best_accuracy", row => row.BestAccuracy),
        ("neuron_sparsity", row => row.NeuronSparsity),
        ("weight_sparsity", row => row.WeightSparsity),
        ("counted_dead", row => row.CountedDead),
        ("training_flops_ratio", row => row.TrainingFlopsRatio),
        ("inference_flops_ratio", row => row.InferenceFlopsRatio),
        ("structural_inference_flops_ratio", row => row.StructuralInferenceFlopsRatio),
        ("ms_per_step_first", row => row.MsPerStepFirst),
        ("ms_per_step_last", row => row.MsPerStepLast),
        ("step_time_ratio", row => row.StepTimeRatio),
        ("step_flops_ratio", row => row.StepFlopsRatio),
        ("seconds", row => row.Seconds),
        ("seconds_ratio", row => row.SecondsRatio),
    ];

    /// <summary>A header and a line a row: arm, a column for each axis of any arm, seeds, and of each figure mean, standard deviation, lowest and highest; empty where there is none.</summary>
    public static string Csv(SweepResults results)
    {
        string[] axes = Axes(results);
        StringBuilder text = new();
        Line(["arm", .. axes, "seeds_finished", "seeds_planned", .. Figures.SelectMany(figure => (string[])[$"{figure.Name}_mean", $"{figure.Name}_std", $"{figure.Name}_min", $"{figure.Name}_max"])]);
        foreach (SweepRow row in results.Rows)
        {
            Line(
            [
                row.Arm, .. axes.Select(axis => Value(row, axis) ?? ""), $"{row.Finished}", $"{row.Planned}",
                .. Figures.Select(figure => figure.Figure(row)).SelectMany(spread => (string[])[Number(spread?.Mean), Number(spread?.Deviation), Number(spread?.Low), Number(spread?.High)]),
            ]);
        }

        return text.ToString();

        void Line(IEnumerable<string> fields) => text.Append(string.Join(',', fields.Select(Field))).Append('\n');
    }

    /// <summary>The same as an object: <c>name</c>, <c>rows</c>, and <c>incomplete</c> with the state of each cell that has no result.</summary>
    public static string Json(SweepResults results)
    {
        JsonArray rows = [];
        foreach (SweepRow row in results.Rows)
        {
            JsonObject values = new() { ["arm"] = row.Arm, ["point"] = row.Point, ["axes"] = new JsonObject([.. row.Axes.Select(axis => KeyValuePair.Create(axis.Option, (JsonNode?)axis.Value))]) };
            values["seeds_finished"] = row.Finished;
            values["seeds_planned"] = row.Planned;
            foreach (var (name, figure) in Figures)
            {
                values[name] = figure(row) is { } spread
                    ? new JsonObject { ["mean"] = spread.Mean, ["std"] = spread.Deviation, ["min"] = spread.Low, ["max"] = spread.High, ["seeds"] = spread.Count }
                    : null;
            }

            rows.Add((JsonNode)values);
        }

        JsonArray incomplete = [];
        foreach (var (cell, state) in results.Incomplete)
        {
            incomplete.Add((JsonNode)new JsonObject { ["run"] = cell.Name, ["state"] = state.ToString().ToLowerInvariant() });
        }

        JsonObject all = new() { ["name"] = results.Name, ["rows"] = rows, ["incomplete"] = incomplete };
        return JsonSerializer.Serialize(all, RunJson.Default.JsonObject) + "\n";
    }

    /// <summary>The axes of all arms.</summary>
    internal static string[] Axes(SweepResults results) => [.. results.Rows.SelectMany(row => row.Axes).Select(axis => axis.Option).Distinct()];

    /// <summary>A row's value on an axis, or null where its arm does not vary it.</summary>
    internal static string? Value(SweepRow row, string axis) => row.Axes.Where(own => own.Option == axis).Select(own => own.Value).FirstOrDefault();

    private static string Number(double? value) => value?.ToString("R", CultureInfo.InvariantCulture) ?? "";

    private static string Field(string text) => text.AsSpan().ContainsAny(',', '"', '\n') ? '"' + text.Replace("\"", "\"\"") + '"' : text;
}
