using Saturn.Kernels;
using Saturn.Prune;
using Saturn.Prune.Methods;

namespace Saturn.Training;

/// <summary>Everything that decides a run; written to <c>config.json</c>, so that a run can be repeated or resumed from its folder alone.</summary>
public sealed record TrainingOptions
{
    private readonly string? method;

    /// <summary>Where the images come from: <c>synthetic</c>, <c>mnist:FOLDER</c>, <c>cifar10:FOLDER</c> or <c>cifar100:FOLDER</c>.</summary>
    public string Data { get; init; } = "synthetic";

    /// <summary>Use only so many training images; null for all.</summary>
    public int? TrainImages { get; init; }

    /// <summary>Use only so many validation images; null for all.</summary>
    public int? ValidationImages { get; init; }

    /// <summary>The network: mlp, cnn, resnet18, resnet34, resnet50, vgg16 or vit.</summary>
    public string Model { get; init; } = "resnet18";

    /// <summary>Channels of the first stage; 64 is the paper's.</summary>
    public int Width { get; init; } = 16;

    /// <summary>Pixels of a patch's side, of the ViT.</summary>
    public int Patch { get; init; } = 4;

    /// <summary>Blocks of the ViT.</summary>
    public int Depth { get; init; } = 6;

    /// <summary>Attention heads of the ViT; 0 for one every 32 channels.</summary>
    public int Heads { get; init; }

    /// <summary>The activation: relu, leakyrelu, gelu or silu.</summary>
    public string Activation { get; init; } = "relu";

    /// <summary>Passes over the training images.</summary>
    public int Epochs { get; init; } = 3;

    /// <summary>Images a step.</summary>
    public int Batch { get; init; } = 128;

    /// <summary>Batches whose gradients are added up before a step.</summary>
    public int Accumulate { get; init; } = 1;

    /// <summary>The update rule: sgd, adam or adamw.</summary>
    public string Optimizer { get; init; } = "sgd";

    /// <summary>η at its peak; null for the rule's default (0.1 for sgd, 0.005 for adam and adamw).</summary>
    public double? LearningRate { get; init; }

    /// <summary>SGD's momentum.</summary>
    public double Momentum { get; init; } = 0.9;

    /// <summary>Whether SGD uses Nesterov's rule.</summary>
    public bool Nesterov { get; init; }

    /// <summary>Adam's ε.</summary>
    public double AdamEpsilon { get; init; } = 1e-8;

    /// <summary>wd.</summary>
    public double WeightDecay { get; init; } = 5e-4;

    /// <summary>Whether SGD's weight decay stays out of the momentum (adamw always decays that way).</summary>
    public bool DecoupledDecay { get; init; }

    /// <summary>Whether γ and β are decayed too.</summary>
    public bool DecayNorms { get; init; } = true;

    /// <summary>The learning rate's schedule: constant, cosine, onecycle, step or warmup-cosine.</summary>
    public string LearningRateSchedule { get; init; } = "cosine";

    /// <summary>Limit of the gradient's global norm; null for none.</summary>
    public double? ClipNorm { get; init; }

    /// <summary>Share of the target spread over all classes, 0 … 1.</summary>
    public double LabelSmoothing { get; init; }

    /// <summary>Whether training images are augmented as is usual for the data set.</summary>
    public bool Augment { get; init; } = true;

    /// <summary>Seed of everything random.</summary>
    public ulong Seed { get; init; }

    /// <summary>Where to run.</summary>
    public string Device { get; init; } = "cpu";

    /// <summary>In which arithmetic a CUDA device multiplies, and how it keeps activations.</summary>
    public Precision Precision { get; init; }

    /// <summary>Whether steps are recorded and repeated as one graph each: auto (on a CUDA device, where the run allows it), on or off.</summary>
    public string Graph { get; init; } = "auto";

    /// <summary>Where the training images lie and batches are assembled: device, host, or auto (on a CUDA device, if they take less than a quarter of its free memory).</summary>
    public string DataOn { get; init; } = "auto";

    /// <summary>Worker threads on the CPU; null for one a processor.</summary>
    public int? Threads { get; init; }

    /// <summary>Demon Pruning's settings; null for other methods.</summary>
    public DemonPruningOptions? Pruning { get; init; }

    /// <summary>Count dead units before the first step, after every so many and after the last, into <c>deaths.jsonl</c>, whatever the method; null for never. Counting costs no training time and changes nothing.</summary>
    public int? CountDead { get; init; }

    /// <summary>Training images of a count.</summary>
    public int CountDeadImages { get; init; } = 512;

    /// <summary>Whether all training images are looked at as well, to see what the sample misses.</summary>
    public bool CountDeadOnAll { get; init; }

    /// <summary>ε of the count; null for each activation's own.</summary>
    public double? CountDeadThreshold { get; init; }

    /// <summary>Name of the run and its folder.</summary>
    public string Run { get; init; } = "run";

    /// <summary>Save a checkpoint after every so many epochs (and always after the last).</summary>
    public int CheckpointEvery { get; init; } = 1;

    /// <summary><see cref="LearningRate"/> or the rule's default.</summary>
    public double PeakLearningRate => LearningRate ?? (Optimizer == "sgd" ? 0.1 : 0.005);

    /// <summary>The pruning method's name, as <see cref="MethodCatalog"/> knows it; by default demp where <see cref="Pruning"/> is set, else dense.</summary>
    public string Method
    {
        get => method ?? (Pruning is null ? "dense" : "demp");
        init => method = value;
    }

    /// <summary>Settings of the method by name, written as on the command line; demp has its own in <see cref="Pruning"/>.</summary>
    public IReadOnlyDictionary<string, string> MethodSettings { get; init; } = new Dictionary<string, string>();

    /// <summary>A run folder or a <c>.safetensors</c> file whose weights the run begins with; null for random ones.</summary>
    public string? InitializeFrom { get; init; }

    /// <summary>Checks every value on its own.</summary>
    /// <exception cref="ArgumentException">One sentence: the option, what it must be, what came.</exception>
    public void Validate()
    {
        Require(Epochs >= 1, "epochs", "at least 1", Epochs);
        Require(Batch >= 1, "batch", "at least 1 image", Batch);
        Require(Accumulate >= 1, "accumulate", "at least 1 batch", Accumulate);
        Require(Width >= 1, "width", "at least 1 channel", Width);
        Require(Patch >= 1, "patch", "at least 1 pixel", Patch);
        Require(Depth >= 1, "depth", "at least 1 block", Depth);
        Require(Heads >= 0, "heads", "0 or above", Heads);
        Require(TrainImages is null or >= 1, "train-images", "at least 1", TrainImages);
        Require(ValidationImages is null or >= 1, "validation-images", "at least 1", ValidationImages);
        Require(PeakLearningRate > 0 && double.IsFinite(PeakLearningRate), "lr", "a positive number", PeakLearningRate);
        Require(Momentum is >= 0 and < 1, "momentum", "in [0, 1)", Momentum);
        Require(AdamEpsilon > 0, "adam-epsilon", "above 0", AdamEpsilon);
        Require(WeightDecay >= 0 && double.IsFinite(WeightDecay), "weight-decay", "0 or above", WeightDecay);
        Require(ClipNorm is null or > 0, "clip-norm", "above 0", ClipNorm);
        Require(LabelSmoothing is >= 0 and <= 1, "label-smoothing", "in [0, 1]", LabelSmoothing);
        Require(Threads is null or >= 1, "threads", "at least 1", Threads);
        Require(Run.Split('/', '\\').All(part => part is not ("" or "." or "..")), "run", "the name of a folder inside --runs", $"'{Run}'");
        Require(CountDead is null or >= 1, "count-dead", "at least 1 step", CountDead);
        Require(CountDeadImages >= 1, "count-dead-images", "at least 1", CountDeadImages);
        Require(CountDeadThreshold is null or >= 0, "count-dead-threshold", "0 or above", CountDeadThreshold);
        Require(CheckpointEvery >= 1, "checkpoint-every", "at least 1 epoch", CheckpointEvery);
        RequireOneOf(Graph, "graph", "auto", "on", "off");
        RequireOneOf(DataOn, "data-on", "auto", "device", "host");
        RequireOneOf(Optimizer, "optimizer", "sgd", "adam", "adamw");
        RequireOneOf(Activation, "activation", "relu", "leakyrelu", "gelu", "silu");
        RequireOneOf(LearningRateSchedule, "lr-schedule", "constant", "cosine", "onecycle", "step", "warmup-cosine");
        Require(!Nesterov || (Optimizer == "sgd" && Momentum > 0), "nesterov", "used with --optimizer sgd and a momentum above 0", Optimizer);
        if (Pruning is not null && Method != "demp")
        {
            throw new ArgumentException($"Demon Pruning's settings do not go with --method {Method}.");
        }

        CreateMethod().Dispose();
    }

    /// <summary>Creates the method with its settings.</summary>
    /// <exception cref="ArgumentException">It is unknown, or a setting does not fit.</exception>
    public PruningMethod CreateMethod() => Method == "demp" ? new DemonPruning(Pruning ?? new DemonPruningOptions()) : MethodCatalog.Create(Method, MethodSettings);

    private static void Require(bool condition, string option, string expected, object? actual)
    {
        if (!condition)
        {
            throw new ArgumentException($"--{option} must be {expected}, but is {actual}.");
        }
    }

    private static void RequireOneOf(string value, string option, params string[] known)
    {
        if (!known.Contains(value))
        {
            throw new ArgumentException($"--{option} must be one of {string.Join(", ", known)}, but is '{value}'.");
        }
    }
}
