using System.CommandLine;
using System.Globalization;
using Saturn.Kernels;
using Saturn.Prune;
using Saturn.Prune.Methods;
using Saturn.Training;

namespace Saturn.Cli;

/// <summary><c>saturn train</c>: one run, dense or pruned while it trains.</summary>
internal static class TrainCommand
{
    /// <param name="start">What to do with the options and the run's folder instead of training: the sweep reads command lines so.</param>
    public static Command Create(Func<TrainingOptions, string, bool, int>? start = null)
    {
        TrainingOptions defaults = new();
        Command command = new("train", "Train a network, dense or pruned while it trains, into a run folder with metrics, checkpoints and a report.");

        Option<string> data = Add(command, "--data", "Images: synthetic, mnist:FOLDER, cifar10:FOLDER or cifar100:FOLDER.", defaults.Data);
        Option<int?> trainImages = Add<int?>(command, "--train-images", "Use only the first so many training images (default: all).", null);
        Option<int?> validationImages = Add<int?>(command, "--validation-images", "Use only the first so many validation images (default: all).", null);
        Option<string> model = Add(command, "--model", "Network: mlp, cnn, resnet18, resnet34, resnet50, vgg16 or vit.", defaults.Model);
        Option<int> width = Add(command, "--width", "Channels of the first stage; 64 is the paper's.", defaults.Width);
        Option<int> patch = Add(command, "--patch", "Pixels of a patch's side, of the ViT.", defaults.Patch);
        Option<int> depth = Add(command, "--depth", "Blocks of the ViT.", defaults.Depth);
        Option<int> heads = Add(command, "--heads", "Attention heads of the ViT (0: one every 32 channels).", defaults.Heads);
        Option<string> activation = Add(command, "--activation", "Activation: relu, leakyrelu, gelu or silu.", defaults.Activation);
        Option<int> epochs = Add(command, "--epochs", "Passes over the training images.", defaults.Epochs);
        Option<int> batch = Add(command, "--batch", "Images a step.", defaults.Batch);
        Option<int> accumulate = Add(command, "--accumulate", "Batches whose gradients are averaged before a step.", defaults.Accumulate);
        Option<string> optimizer = Add(command, "--optimizer", "Update rule: sgd (momentum), adam or adamw.", defaults.Optimizer);
        Option<double?> learningRate = Add<double?>(command, "--lr", "Peak learning rate (default: 0.1 for sgd, 0.005 for adam and adamw).", null);
        Option<double> momentum = Add(command, "--momentum", "Momentum of sgd, 0 to 1.", defaults.Momentum);
        Option<bool> nesterov = Add(command, "--nesterov", "Use Nesterov's rule with sgd.", defaults.Nesterov);
        Option<double> adamEpsilon = Add(command, "--adam-epsilon", "Adam's epsilon.", defaults.AdamEpsilon);
        Option<double> weightDecay = Add(command, "--weight-decay", "Weight decay a step, relative to the learning rate.", defaults.WeightDecay);
        Option<bool> decoupledDecay = Add(command, "--decoupled-decay", "Keep sgd's weight decay out of the momentum.", defaults.DecoupledDecay);
        Option<string> decayNorms = Add(command, "--decay-norms", "Decay the scales and shifts of normalizations too: on or off.", "on").Accept("on", "off");
        Option<string> schedule = Add(
            command, "--lr-schedule", "Learning rate over time: constant, cosine, onecycle, step (divided by 5 at 31, 62 and 93 %) or warmup-cosine (5 % warm-up).",
            defaults.LearningRateSchedule);
        Option<double?> clip = Add<double?>(command, "--clip-norm", "Limit of the gradient's global norm (default: none).", null);
        Option<double> smoothing = Add(command, "--label-smoothing", "Share of the target spread over all classes, 0 to 1.", defaults.LabelSmoothing);
        Option<bool> noAugment = Add(command, "--no-augment", "Train on the images as they are, without random crop and flip.", false);

        Option<string?> method = Add<string?>(
            command, "--method", "Pruning method, one of 'saturn methods' (default: demp where an option of Demon Pruning is given, else dense).", null);
        Option<string[]> set = new("--set") { Description = "A setting of the method, NAME=VALUE; may be given several times ('saturn methods NAME' lists them)." };
        command.Options.Add(set);
        Option<string?> target = Add<string?>(command, "--target-sparsity", "Sparsity to reach, 0 to 1; with demp, the pressure is steered so that it is met.", null);
        Option<string?> targetMetric = Add<string?>(
            command, "--target-metric", "What the target counts: neurons, weights or flops (default: weights for demp, else the method's own).", null).Accept("neurons", "weights", "flops");
        Option<double?> targetBy = Add<double?>(
            command, "--target-by", $"Share of the run by which demp meets the target; the least active units make up for what has not died (default: {DemonPruningOptions.DefaultTargetBy}).", null);
        Option<string?> initializeFrom = Add<string?>(command, "--init-from", "Begin with the weights of this run folder or .safetensors file.", null);
        DemonPruningOptions pruning = new();
        Option<double?> lambda = Add<double?>(command, "--lambda", "Peak strength of the pressure, at least 0 (default: 0; with a target, where the steering starts).", null);
        Option<double?> noiseStd = Add<double?>(
            command, "--noise-std", $"Peak standard deviation of the weight noise a step (default: {pruning.NoiseStandardDeviation}).", null);
        Option<double?> noiseVariance = Add<double?>(command, "--noise-variance", "The same as a variance; not together with --noise-std.", null);
        Option<string> noise = Add(command, "--noise", "Whose weights receive noise: asymmetric (live units only), symmetric (all) or off.", "asymmetric")
            .Accept("asymmetric", "symmetric", "off");
        Option<string> noiseLiveness = Add(
            command, "--noise-liveness", "Live is a channel active in this batch, in a window of batches, in the last census, or, by gradient, each weight on its own.", "batch")
            .Accept("batch", "window", "census", "gradient");
        Option<int> noiseWindow = Add(command, "--noise-window", "Batches that --noise-liveness window looks back.", pruning.NoiseWindow);
        Option<string?> noiseSchedule = Add<string?>(command, "--noise-schedule", "Noise over time, as --pressure-schedule (default: the same).", null)
            .Accept("onecycle", "onecycle-cosine", "constant", "cosine", "warmup");
        Option<string> noiseOn = Add(command, "--noise-on", "Noise on weights (and biases), or on all parameters, scales and shifts included.", "weights")
            .Accept("weights", "all");
        Option<string> regularizer = Add(command, "--regularizer", "Pressure: l1 or l2.", "l1").Accept("l1", "l2");
        Option<string> regularizeOn = Add(command, "--regularize", "Pressure on the scales of normalizations, or on all parameters but shifts.", "scales").Accept("scales", "all");
        Option<string> pressure = Add(
            command, "--pressure-schedule", "Pressure (and noise) over time: onecycle, onecycle-cosine, constant, cosine or warmup.", "onecycle")
            .Accept("onecycle", "onecycle-cosine", "constant", "cosine", "warmup");
        Option<double> pressureWarmup = Add(command, "--pressure-warmup", "Share of the cycle before its peak, 0 to 1.", pruning.WarmupShare);
        Option<long?> pressureSpan = Add<long?>(command, "--pressure-span", "Steps of the cycle (default: all steps of the run).", null);
        Option<long?> pruneEvery = Add<long?>(command, "--prune-every", $"Steps from one census and removal to the next (default: {pruning.PruneEvery}).", null);
        Option<string> residual = Add(
            command, "--residual", "Residual channels: mapped (each is removed on its own) or tied (a stage keeps its channels together).", "mapped").Accept("mapped", "tied");
        Option<string> removal = Add(
            command, "--removal", "Dead units are removed periodic (every --prune-every steps and at the end), at the end, or never (counted only).", "periodic").Accept("periodic", "end", "never");
        Option<long> pruneStart = Add(command, "--prune-start", "No census before so many steps, for networks whose units revive at first.", pruning.StartStep);
        Option<string> criterion = Add(
            command, "--dead-criterion", "Dead is a unit with zero output (relu), with negative pre-activations only (leakyrelu), or with a small magnitude (gelu, silu); auto goes by the activation.",
            "auto").Accept("auto", "zero", "negative", "magnitude");
        Option<string> fold = Add(command, "--fold", "Mean outputs of removed units go into their readers' biases, and constant units are removed too: on or off.", "on").Accept("on", "off");
        Option<int> censusBatch = Add(command, "--census-batch", "Images of one batch of the census.", pruning.CensusBatch);
        Option<int> censusImages = Add(command, "--census-images", "Training images that decide who is dead; all of them where there are fewer.", pruning.CensusSize);
        Option<double?> deadThreshold = Add<double?>(
            command, "--dead-threshold", "The criterion's threshold (default: 0 for zero and negative, 0.01 for magnitude).", null);
        Option[] pruningOptions =
        [
            lambda, noiseStd, noiseVariance, noise, noiseLiveness, noiseOn, regularizer, regularizeOn, pressure, pressureWarmup, pressureSpan, pruneEvery, residual, censusImages, deadThreshold,
            noiseWindow, noiseSchedule, removal, pruneStart, criterion, fold, censusBatch, targetBy,
        ];

        Option<int?> countDead = Add<int?>(command, "--count-dead", "Count dead units after every so many steps into deaths.jsonl, whatever the method (default: never).", null);
        Option<int> countDeadImages = Add(command, "--count-dead-images", "Training images of a count.", defaults.CountDeadImages);
        Option<bool> countDeadOnAll = Add(command, "--count-dead-all", "Count on all training images as well.", false);
        Option<double?> countDeadThreshold = Add<double?>(command, "--count-dead-threshold", "Threshold of the count (default: the activation's own).", null);

        Option<ulong> seed = Add<ulong>(command, "--seed", "Seed of everything random; the same seed gives the same run.", 0);
        Option<string> device = Add(command, "--device", $"Where to run: {string.Join(", ", Devices.Names)}.", Devices.Default);
        Option<string> precision = AddPrecision(command);
        Option<string> graph = Add(
            command, "--graph", "Repeat recorded steps as one CUDA graph each: auto (on a CUDA device, where the method allows it), on or off; the result has the same bits.", defaults.Graph)
            .Accept("auto", "on", "off");
        Option<string> dataOn = Add(
            command, "--data-on", "Where training images lie and are augmented: device, host, or auto (on a CUDA device, if they take less than a quarter of its free memory); the result has the same bits.",
            defaults.DataOn).Accept("auto", "device", "host");
        Option<int?> threads = Add<int?>(command, "--threads", "Worker threads on the CPU (default: one a processor).", null);
        Option<string> run = Add(command, "--run", "Name of the run; its folder is RUNS/NAME.", defaults.Run);
        Option<string> runs = Add(command, "--runs", "Folder of all runs.", "runs");
        Option<int> checkpointEvery = Add(command, "--checkpoint-every", "Epochs from one checkpoint to the next; the last epoch always saves one.", defaults.CheckpointEvery);
        Option<bool> resume = Add(command, "--resume", "Continue the named run from its last checkpoint; its config.json decides all other options.", false);
        Option<bool> overwrite = Add(command, "--overwrite", "Replace an existing run of this name.", false);

        command.SetAction(result =>
        {
            string folder = Path.Combine(result.GetValue(runs)!, result.GetValue(run)!);
            if (result.GetValue(resume))
            {
                string[] others = Given(result, command.Options.Where(option => option != run && option != runs && option != resume));
                return others.Length == 0
                    ? RunSession.Resume(folder)
                    : throw new ArgumentException(
                        $"--resume takes all options from the run's config.json, but {string.Join(", ", others)} came too; leave that out, or start another run under a new --run name.");
            }

            return (start ?? RunSession.Start)(Read(result), folder, result.GetValue(overwrite));
        });
        return command;

        TrainingOptions Read(ParseResult result)
        {
            double? std = result.GetValue(noiseStd);
            double? variance = result.GetValue(noiseVariance);
            if (std is not null && variance is not null)
            {
                throw new ArgumentException("--noise-std and --noise-variance say the same thing in two ways; give one of them.");
            }

            if (variance is < 0)
            {
                throw new ArgumentException($"--noise-variance must be 0 or above, but is {variance}.");
            }

            if (Given(result, [noiseWindow]).Length > 0 && result.GetValue(noiseLiveness) != "window")
            {
                throw new ArgumentException($"--noise-window is the length of --noise-liveness window, but that is {result.GetValue(noiseLiveness)}; give both, or leave it out.");
            }

            string[] givenPruning = Given(result, pruningOptions);
            string[] givenTarget = Given(result, [target, targetMetric]);
            string chosen = result.GetValue(method) ?? (givenPruning.Length + givenTarget.Length > 0 ? "demp" : "dense");
            if (chosen != "demp" && givenPruning.Length > 0)
            {
                MethodCatalog.Describe(chosen);
                throw new ArgumentException(
                    $"--method {chosen} does not go with {string.Join(", ", givenPruning)}, which {(givenPruning.Length == 1 ? "is" : "are")} Demon Pruning's; leave that out, or use --method demp.");
            }

            Dictionary<string, string> settings = Settings(result.GetValue(set) ?? []);
            if (chosen == "demp" && settings.Count > 0)
            {
                throw new ArgumentException($"Demon Pruning's settings are options of their own (--lambda, --prune-every, …); --set {settings.First().Key}= does not go with it.");
            }

            if (chosen == "demp" && givenTarget.Length == 1 && givenTarget[0] == targetMetric.Name)
            {
                throw new ArgumentException("--target-metric says what --target-sparsity counts, which was not given; give both, or leave it out.");
            }

            double? targetValue = null;
            if (result.GetValue(target) is { } written)
            {
                targetValue = double.TryParse(written, CultureInfo.InvariantCulture, out double number) && number is > 0 and < 1
                    ? number
                    : throw new ArgumentException($"--target-sparsity must be above 0 and below 1, but is '{written}'.");
            }

            foreach (string option in chosen == "demp" ? [] : givenTarget)
            {
                string name = option[2..];
                if (MethodCatalog.Describe(chosen).Settings.All(setting => setting.Name != name))
                {
                    throw new ArgumentException($"--method {chosen} cannot be given {option}: {Why(chosen, MethodCatalog.Describe(chosen))}.");
                }

                settings[name] = option == target.Name ? targetValue!.Value.ToString(CultureInfo.InvariantCulture) : result.GetValue(targetMetric)!;
            }

            TrainingOptions options = new()
            {
                Data = result.GetValue(data)!,
                TrainImages = result.GetValue(trainImages),
                ValidationImages = result.GetValue(validationImages),
                Model = result.GetValue(model)!,
                Width = result.GetValue(width),
                Patch = result.GetValue(patch),
                Depth = result.GetValue(depth),
                Heads = result.GetValue(heads),
                Activation = result.GetValue(activation)!,
                Epochs = result.GetValue(epochs),
                Batch = result.GetValue(batch),
                Accumulate = result.GetValue(accumulate),
                Optimizer = result.GetValue(optimizer)!,
                LearningRate = result.GetValue(learningRate),
                Momentum = result.GetValue(momentum),
                Nesterov = result.GetValue(nesterov),
                AdamEpsilon = result.GetValue(adamEpsilon),
                WeightDecay = result.GetValue(weightDecay),
                DecoupledDecay = result.GetValue(decoupledDecay),
                DecayNorms = result.GetValue(decayNorms) == "on",
                LearningRateSchedule = result.GetValue(schedule)!,
                ClipNorm = result.GetValue(clip),
                LabelSmoothing = result.GetValue(smoothing),
                Augment = !result.GetValue(noAugment),
                Seed = result.GetValue(seed),
                Device = result.GetValue(device)!,
                Precision = PrecisionOf(result, precision),
                Graph = result.GetValue(graph)!,
                DataOn = result.GetValue(dataOn)!,
                Threads = result.GetValue(threads),
                Run = result.GetValue(run)!,
                CountDead = result.GetValue(countDead),
                CountDeadImages = result.GetValue(countDeadImages),
                CountDeadOnAll = result.GetValue(countDeadOnAll),
                CountDeadThreshold = result.GetValue(countDeadThreshold),
                CheckpointEvery = result.GetValue(checkpointEvery),
                Method = chosen,
                MethodSettings = settings,
                InitializeFrom = result.GetValue(initializeFrom),
                Pruning = chosen != "demp"
                    ? null
                    : pruning with
                    {
                        Lambda = result.GetValue(lambda) ?? 0,
                        NoiseStandardDeviation = std ?? (variance is { } v ? Math.Sqrt(v) : pruning.NoiseStandardDeviation),
                        Noise = result.GetValue(noise) switch { "symmetric" => NoiseMode.Symmetric, "off" => NoiseMode.Off, _ => NoiseMode.Asymmetric },
                        NoiseLiveness = Enum.Parse<NoiseLiveness>(result.GetValue(noiseLiveness)!, ignoreCase: true),
                        NoiseWindow = result.GetValue(noiseWindow),
                        NoiseSchedule = result.GetValue(noiseSchedule) is { } ownSchedule ? ScheduleOf(ownSchedule) : null,
                        NoiseOnNorms = result.GetValue(noiseOn) == "all",
                        Regularizer = result.GetValue(regularizer) == "l2" ? Regularizer.L2 : Regularizer.L1,
                        RegularizeAll = result.GetValue(regularizeOn) == "all",
                        Schedule = ScheduleOf(result.GetValue(pressure)!),
                        WarmupShare = result.GetValue(pressureWarmup),
                        Span = result.GetValue(pressureSpan),
                        PruneEvery = result.GetValue(pruneEvery) ?? pruning.PruneEvery,
                        Residual = result.GetValue(residual) == "tied" ? ResidualMode.Tied : ResidualMode.Mapped,
                        CensusSize = result.GetValue(censusImages),
                        DeadThreshold = result.GetValue(deadThreshold),
                        Removal = Enum.Parse<RemovalTime>(result.GetValue(removal)!, ignoreCase: true),
                        StartStep = result.GetValue(pruneStart),
                        Criterion = Enum.Parse<DeadCriterion>(result.GetValue(criterion)!, ignoreCase: true),
                        FoldConstants = result.GetValue(fold) == "on",
                        CensusBatch = result.GetValue(censusBatch),
                        TargetSparsity = targetValue,
                        TargetBy = result.GetValue(targetBy),
                        TargetMetric = result.GetValue(targetMetric) is { } metric ? Enum.Parse<SparsityMetric>(metric, ignoreCase: true) : pruning.TargetMetric,
                    },
            };
            options.Validate();
            return options;
        }
    }

    private static PressureSchedule ScheduleOf(string name) => name switch
    {
        "onecycle-cosine" => PressureSchedule.OneCycleCosine,
        "constant" => PressureSchedule.Constant,
        "cosine" => PressureSchedule.Cosine,
        "warmup" => PressureSchedule.Warmup,
        _ => PressureSchedule.OneCycle,
    };

    private static string Why(string method, MethodDescription description) =>
        method == "dense" ? "nothing is pruned"
        : description.Settings.Any(setting => setting.Name == "target-sparsity") ? "its target counts the weights of convolutions and linear layers"
        : "its sparsity follows from its other settings";

    private static Dictionary<string, string> Settings(string[] given)
    {
        Dictionary<string, string> settings = [];
        foreach (string setting in given)
        {
            string[] parts = setting.Split('=', 2);
            if (parts.Length != 2 || parts[0].Length == 0)
            {
                throw new ArgumentException($"--set takes NAME=VALUE, but got '{setting}'.");
            }

            if (!settings.TryAdd(parts[0], parts[1]))
            {
                throw new ArgumentException($"--set {parts[0]} was given twice; give it once.");
            }
        }

        return settings;
    }

    /// <summary>Adds <c>--precision</c>.</summary>
    internal static Option<string> AddPrecision(Command command) => Add(
        command, "--precision", "Arithmetic of a CUDA device: fp32, tf32 (products on tensor cores), or bf16 (activations between convolutions in bfloat16 too).", Precision.Fp32.Name())
        .Accept([.. Enum.GetValues<Precision>().Select(one => one.Name())]);

    /// <summary>What <c>--precision</c> says.</summary>
    internal static Precision PrecisionOf(ParseResult result, Option<string> option) => Enum.Parse<Precision>(result.GetValue(option)!, ignoreCase: true);

    internal static Option<T> Add<T>(Command command, string name, string description, T defaultValue)
    {
        Option<T> option = new(name) { Description = description };
        if (defaultValue is not (null or false))
        {
            option.DefaultValueFactory = _ => defaultValue;
        }

        command.Options.Add(option);
        return option;
    }

    private static string[] Given(ParseResult result, IEnumerable<Option> options) => [.. options.Where(option => result.GetResult(option) is { Implicit: false }).Select(option => option.Name)];

    internal static Option<T> Accept<T>(this Option<T> option, params string[] values)
    {
        option.Validators.Add(result =>
        {
            if (result.Tokens.FirstOrDefault()?.Value is { } value && !values.Contains(value))
            {
                result.AddError($"{option.Name} must be one of {string.Join(", ", values)}, but is '{value}'.");
            }
        });
        return option;
    }
}
