using System.Text.Json.Serialization;
using Saturn.Kernels;

namespace Saturn.Training.Runs;

/// <summary>One line of <c>metrics.jsonl</c>: an epoch.</summary>
public sealed record EpochMetrics
{
    /// <summary>The epoch, from 1.</summary>
    public int Epoch { get; init; }

    /// <summary>Steps taken.</summary>
    public long Step { get; init; }

    /// <summary>Mean training loss.</summary>
    public double Loss { get; init; }

    /// <summary>Share of training images answered right while training, 0 … 1.</summary>
    public double TrainAccuracy { get; init; }

    /// <summary>Share of validation images answered right, 0 … 1.</summary>
    public double ValidationAccuracy { get; init; }

    /// <summary>Mean validation loss.</summary>
    public double ValidationLoss { get; init; }

    /// <summary>η of the last step.</summary>
    public double LearningRate { get; init; }

    /// <summary>λ of the last step.</summary>
    public double Lambda { get; init; }

    /// <summary>σ of the last step.</summary>
    public double NoiseStd { get; init; }

    /// <summary>Units in the network.</summary>
    public long LiveUnits { get; init; }

    /// <summary>Channels of each unit group, in the order of the summary's layers.</summary>
    public IReadOnlyList<int> LiveChannels { get; init; } = [];

    /// <summary>1 − live units / units.</summary>
    public double NeuronSparsity { get; init; }

    /// <summary>1 − parameters / parameters of the dense network.</summary>
    public double WeightSparsity { get; init; }

    /// <summary>Units that the last census of Demon Pruning found dead, removed or, with <c>--removal never</c>, counted only; null for other methods.</summary>
    public long? DeadUnits { get; init; }

    /// <summary>|A∩B|/|A∪B| of the weights that are not zero now and at the end of the last epoch; null for methods that leave single weights alone.</summary>
    public double? MaskJaccard { get; init; }

    /// <summary>Weights that came back since the end of the last epoch.</summary>
    public long? MaskBorn { get; init; }

    /// <summary>Weights that went since the end of the last epoch.</summary>
    public long? MaskDied { get; init; }

    /// <summary>Images trained a second of training time.</summary>
    public double ImagesPerSecond { get; init; }

    /// <summary>Median milliseconds of the last steps.</summary>
    public double MsPerStep { get; init; }

    /// <summary>Training seconds since the start, census included, validation not.</summary>
    public double Seconds { get; init; }
}

/// <summary>A unit group before and after.</summary>
/// <param name="Name">The group's name.</param>
/// <param name="ChannelsBefore">Dense width.</param>
/// <param name="ChannelsAfter">Width at the end.</param>
public sealed record LayerSummary(string Name, int ChannelsBefore, int ChannelsAfter);

/// <summary>A convolution or linear layer before and after; null shapes where the layer is gone.</summary>
/// <param name="Name">The layer's name.</param>
/// <param name="ShapeBefore">Dense weight shape.</param>
/// <param name="ShapeAfter">Weight shape at the end, or null.</param>
/// <param name="FlopsBefore">Forward operations an image.</param>
/// <param name="FlopsAfter">Forward operations an image at the end.</param>
public sealed record WeightSummary(string Name, int[] ShapeBefore, int[]? ShapeAfter, long FlopsBefore, long FlopsAfter);

/// <summary>The result of a run: <c>summary.json</c>.</summary>
public sealed record RunSummary
{
    /// <summary>The method's name.</summary>
    public string Method { get; init; } = "";

    /// <summary>The method's settings that were given.</summary>
    public IReadOnlyDictionary<string, string> MethodSettings { get; init; } = new Dictionary<string, string>();

    /// <summary>Validation accuracy at the end, 0 … 1.</summary>
    public double Accuracy { get; init; }

    /// <summary>The best validation accuracy of any epoch.</summary>
    public double BestAccuracy { get; init; }

    /// <summary>Units of the dense network.</summary>
    public long NeuronsTotal { get; init; }

    /// <summary>Units at the end.</summary>
    public long NeuronsLive { get; init; }

    /// <summary>Units that the last census of Demon Pruning found dead; null for other methods.</summary>
    public long? NeuronsDead { get; init; }

    /// <summary>Units dead at the last count of <c>--count-dead</c>, removed ones included; null where nothing was counted.</summary>
    public long? CountedDead { get; init; }

    /// <summary>Units that were dead at any count; null where nothing was counted.</summary>
    public long? CountedEverDead { get; init; }

    /// <summary>1 − live/total.</summary>
    public double NeuronSparsity { get; init; }

    /// <summary>Parameters of the dense network, running statistics not counted.</summary>
    public long ParametersDense { get; init; }

    /// <summary>Parameters at the end.</summary>
    public long Parameters { get; init; }

    /// <summary>1 − parameters / parameters of the dense network, normalizations and biases included.</summary>
    public double WeightSparsity { get; init; }

    /// <summary>The same over weights of convolutions and linear layers alone.</summary>
    public double LayerWeightSparsity { get; init; }

    /// <summary>Forward operations an image at the end over dense ones.</summary>
    public double InferenceFlopsRatio { get; init; }

    /// <summary>The same where only whole units count as gone: what a GPU's dense kernels save.</summary>
    public double StructuralInferenceFlopsRatio { get; init; }

    /// <summary>Training operations, census included, over those of the dense run of the same length.</summary>
    public double TrainingFlopsRatio { get; init; }

    /// <summary>The same where only whole units count as gone.</summary>
    public double StructuralTrainingFlopsRatio { get; init; }

    /// <summary>Forward operations an image at the end, two a multiply-add.</summary>
    public double InferenceFlops { get; init; }

    /// <summary>Operations of the whole training, three forward passes a step, census included.</summary>
    public double TrainingFlops { get; init; }

    /// <summary>Images trained a second of training time.</summary>
    public double ImagesPerSecond { get; init; }

    /// <summary>Median milliseconds of the first steps after warm-up.</summary>
    public double MsPerStepFirst { get; init; }

    /// <summary>Median milliseconds of the last steps.</summary>
    public double MsPerStepLast { get; init; }

    /// <summary><see cref="MsPerStepLast"/> over <see cref="MsPerStepFirst"/>; null in summaries of earlier versions.</summary>
    public double? StepTimeRatio { get; init; }

    /// <summary>What removal alone would make of that ratio if time followed arithmetic: operations of the last timed steps over those of the first, as dense kernels take them.</summary>
    public double? StepFlopsRatio { get; init; }

    /// <summary>High-water mark of the process's memory.</summary>
    public long PeakMemoryBytes { get; init; }

    /// <summary>The run's seed.</summary>
    public ulong Seed { get; init; }

    /// <summary>Training seconds, census included, validation not.</summary>
    public double Seconds { get; init; }

    /// <summary>Epochs.</summary>
    public int Epochs { get; init; }

    /// <summary>Steps.</summary>
    public long Steps { get; init; }

    /// <summary>The device's name and description.</summary>
    public string Device { get; init; } = "";

    /// <summary>In which arithmetic it multiplied.</summary>
    public Precision Precision { get; init; }

    /// <summary>Unit groups.</summary>
    public IReadOnlyList<LayerSummary> Layers { get; init; } = [];

    /// <summary>Convolutions and linear layers.</summary>
    public IReadOnlyList<WeightSummary> Weights { get; init; } = [];
}

/// <summary>JSON of everything in a run folder: snake_case, generated code, so that trimming and ahead-of-time compilation work.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true, UseStringEnumConverter = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(TrainingOptions))]
[JsonSerializable(typeof(System.Text.Json.Nodes.JsonObject))]
[JsonSerializable(typeof(RunSummary))]
[JsonSerializable(typeof(Checkpoints.CheckpointState))]
public sealed partial class RunJson : JsonSerializerContext;

/// <summary>The same on one line, for <c>metrics.jsonl</c> and <c>deaths.jsonl</c>.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = false)]
[JsonSerializable(typeof(EpochMetrics))]
[JsonSerializable(typeof(Saturn.Prune.DeathCount))]
public sealed partial class MetricsJson : JsonSerializerContext;
