using System.Text.Json;
using Saturn.Training.Runs;

namespace Saturn.Training.Sweeps;

/// <summary>The figures of a finished cell; null where its summary, perhaps of an earlier version, does not have one.</summary>
public sealed record CellResult
{
    /// <summary>Validation accuracy at the end, 0 … 1.</summary>
    public double? Accuracy { get; init; }

    /// <summary>The best validation accuracy of any epoch.</summary>
    public double? BestAccuracy { get; init; }

    /// <summary>Share of the dense network's units that are gone.</summary>
    public double? NeuronSparsity { get; init; }

    /// <summary>Share of the dense network's parameters that are gone.</summary>
    public double? WeightSparsity { get; init; }

    /// <summary>Training operations over those of a dense run.</summary>
    public double? TrainingFlopsRatio { get; init; }

    /// <summary>Units dead at the last count of <c>--count-dead</c>.</summary>
    public double? CountedDead { get; init; }

    /// <summary>Forward operations an image over those of the dense network.</summary>
    public double? InferenceFlopsRatio { get; init; }

    /// <summary>The same where only whole units count as gone: what a GPU's dense kernels save.</summary>
    public double? StructuralInferenceFlopsRatio { get; init; }

    /// <summary>Median milliseconds of the first steps.</summary>
    public double? MsPerStepFirst { get; init; }

    /// <summary>Median milliseconds of the last steps.</summary>
    public double? MsPerStepLast { get; init; }

    /// <summary>Milliseconds of the last steps over those of the first.</summary>
    public double? StepTimeRatio { get; init; }

    /// <summary>Operations of the last steps over those of the first.</summary>
    public double? StepFlopsRatio { get; init; }

    /// <summary>Training seconds.</summary>
    public double? Seconds { get; init; }

    /// <summary>The device's description.</summary>
    public string? Device { get; init; }

    /// <summary>Reads the figures from a <c>summary.json</c> of any version.</summary>
    /// <exception cref="IOException">It is damaged.</exception>
    public static CellResult Read(string path)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllText(path));
            JsonElement root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object)
            {
                throw new JsonException("it is no object");
            }

            return new CellResult
            {
                Accuracy = Number(nameof(RunSummary.Accuracy)),
                BestAccuracy = Number(nameof(RunSummary.BestAccuracy)),
                NeuronSparsity = Number(nameof(RunSummary.NeuronSparsity)),
                WeightSparsity = Number(nameof(RunSummary.WeightSparsity)),
                TrainingFlopsRatio = Number(nameof(RunSummary.TrainingFlopsRatio)),
                CountedDead = Number(nameof(RunSummary.CountedDead)),
                InferenceFlopsRatio = Number(nameof(RunSummary.InferenceFlopsRatio)),
                StructuralInferenceFlopsRatio = Number(nameof(RunSummary.StructuralInferenceFlopsRatio)),
                MsPerStepFirst = Number(nameof(RunSummary.MsPerStepFirst)),
                MsPerStepLast = Number(nameof(RunSummary.MsPerStepLast)),
                StepTimeRatio = Number(nameof(RunSummary.StepTimeRatio)),
                StepFlopsRatio = Number(nameof(RunSummary.StepFlopsRatio)),
                Seconds = Number(nameof(RunSummary.Seconds)),
                Device = root.TryGetProperty(Key(nameof(RunSummary.Device)), out JsonElement device) && device.ValueKind == JsonValueKind.String ? device.GetString() : null,
            };

            double? Number(string property) => root.TryGetProperty(Key(property), out JsonElement value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : null;
        }
        catch (JsonException exception)
        {
            throw new IOException($"{path} is damaged ({exception.Message.TrimEnd('.')}); restore it from a copy, or delete it to train the cell again.");
        }
    }

    private static string Key(string property) => JsonNamingPolicy.SnakeCaseLower.ConvertName(property);
}
