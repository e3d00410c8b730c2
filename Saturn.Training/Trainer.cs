using Saturn.Engine;
using Saturn.Engine.Checkpoints;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Diagnostics;
using Saturn.Layers.Models;
using Saturn.Prune;
using Saturn.Prune.Methods;
using Saturn.Training.Checkpoints;
using Saturn.Training.Data;
using Saturn.Training.Runs;

namespace Saturn.Training;

/// <summary>Training that cannot go on: the loss is no longer a finite number.</summary>
public sealed class TrainingDivergedException(string message) : Exception(message);

/// <summary>
/// One training run: data, model, optimizer, Demon Pruning, metrics and checkpoints. The same options give the same weights, bit for bit, whether the run went
/// through or was interrupted and resumed.
/// </summary>
public sealed class Trainer : IDisposable
{
    private const int LoggingInterval = 20;

    private readonly TrainingOptions options;
    private readonly ITrainingObserver? observer;
    private readonly ImageDataset training;
    private readonly ImageDataset validation;
    private readonly Device device;
    private readonly Model model;
    private readonly Optimizer optimizer;
    private readonly Schedule learningRate;
    private readonly PruningRun pruning;
    private readonly LossRing losses;
    private readonly TrainingInput input;
    private readonly StepGraph? graph;
    private readonly Action passes;
    private bool refusalWasSaid;
    private readonly StepTimes times = new();
    private readonly TrainingClock clock;
    private readonly RunProgress progress;
    private readonly int[] censusImages;
    private readonly Mortality? mortality;
    private readonly MaskStability? stability;
    private readonly long stepsPerEpoch;
    private DeathCount? lastCount;
    private RunFolder? folder;
    private long savedStep;

    /// <summary>Prepares a run from the start, or from a checkpoint.</summary>
    /// <param name="options">The options.</param>
    /// <param name="observer">Who is told; null for nobody.</param>
    /// <param name="checkpoint">The checkpoint folder to continue from; null for the start.</param>
    /// <exception cref="ArgumentException">An option is out of range, or the batch is larger than the data.</exception>
    /// <exception cref="CheckpointException">The checkpoint is missing, damaged, or another run's.</exception>
    public Trainer(TrainingOptions options, ITrainingObserver? observer = null, string? checkpoint = null)
    {
        options.Validate();
        this.options = options;
        this.observer = observer;
        (training, validation) = DatasetSource.Open(options.Data, options.TrainImages, options.ValidationImages);
        long imagesPerStep = (long)options.Batch * options.Accumulate;
        stepsPerEpoch = training.Count / imagesPerStep;
        if (stepsPerEpoch == 0)
        {
            throw new ArgumentException(
                $"--batch {options.Batch}{(options.Accumulate > 1 ? $" times --accumulate {options.Accumulate}" : "")} is larger than the {training.Count} training images; use a smaller batch.");
        }

        TotalSteps = stepsPerEpoch * options.Epochs;
        Checkpoint? saved = checkpoint is null ? null : Checkpoint.Read(checkpoint);
        device = Devices.Open(options.Device, options.Threads, options.Precision);
        device.Prepare();
        try
        {
            ModelRecipe recipe = new(
                options.Model, options.Width, training.Classes, training.Height, training.Width, training.Channels, options.Activation, options.Seed,
                options.Patch, options.Depth, options.Heads);
            if (saved is null)
            {
                model = ModelFactory.Create(recipe, device);
                model.Initialize(options.Seed);
            }
            else if (saved.State.Recipe != recipe)
            {
                throw new CheckpointException(
                    $"The checkpoint '{checkpoint}' belongs to another run: it holds {saved.State.Recipe}, but the options say {recipe}. Restore the run's config.json and checkpoint together.");
            }
            else
            {
                model = saved.CreateModel(device);
            }

            if (saved is null && options.InitializeFrom is { } source)
            {
                StartingWeights.Load(model, source);
            }

            PruningMethod method = options.CreateMethod();
            optimizer = CreateOptimizer(method);
            pruning = new PruningRun(
                model, optimizer, method, TotalSteps, recipe.InputShape(1), (int)imagesPerStep, stepsPerEpoch, saved?.State.Dense, options.Seed, saved?.ReadMethodState());
            saved?.Restore(optimizer, options.Optimizer);
            saved?.RestoreMasks(pruning);
            saved?.RestoreLiveness(model);
            if (options.Graph == "on" && WhyNoGraph is { } reason)
            {
                throw new ArgumentException($"--graph on does not fit this run: {reason}. Use --graph auto.");
            }
        }
        catch
        {
            pruning?.Dispose();
            optimizer?.Dispose();
            model?.Dispose();
            device.Dispose();
            throw;
        }

        progress = saved?.State.Progress ?? new RunProgress();
        clock = new TrainingClock(device, progress, times);
        DemonPruningOptions census = options.Pruning ?? new DemonPruningOptions();
        pruning.Accounting.TrainingFlops = progress.TrainingFlops;
        pruning.Accounting.StructuralTrainingFlops = progress.StructuralTrainingFlops;
        pruning.Accounting.DenseTrainingFlops = progress.DenseTrainingFlops;
        learningRate = CreateSchedule();
        censusImages = EpochOrder.Sample(training.Count, census.CensusSize, options.Seed);
        pruning.CensusImages = visit =>
        {
            clock.Settle();
            Evaluator.ForEachBatch(device, training, censusImages, census.CensusBatch, (images, _) => visit(images));
        };
        pruning.LabelledImages = (batches, visit) =>
        {
            clock.Settle();
            Evaluator.ForEachBatch(
                device, training, EpochOrder.Sample(training.Count, options.Batch * Math.Min(batches, training.Count / options.Batch), options.Seed), options.Batch, visit);
        };
        if (pruning.Method.ChangesSingleWeights)
        {
            stability = new MaskStability(Accounting.Dense);
        }

        if (options.CountDead is not null)
        {
            mortality = new Mortality(Accounting.Dense, options.CountDeadThreshold);
            if (saved?.ReadMortality() is { } state)
            {
                mortality.Load(state);
            }
        }

        losses = new LossRing(device, LoggingInterval, options.Accumulate);
        input = new TrainingInput(device, training, options.Batch, options.Accumulate, options.Seed, options.Augment, KeepsDataOnDevice);
        graph = UsesGraph ? new StepGraph(device, optimizer, model.Activities) : null;
        passes = RunPasses;
    }

    /// <summary>Steps of the whole run.</summary>
    public long TotalSteps { get; }

    /// <summary>The network as it is now.</summary>
    public Model Model => model;

    /// <summary>Units, parameters and operations.</summary>
    public Accounting Accounting => pruning.Accounting;

    /// <summary>Trains to the end.</summary>
    /// <param name="runFolder">Where metrics and checkpoints go; null to keep nothing.</param>
    /// <param name="cancellation">Stops the run after the current step, with a checkpoint of that step.</param>
    /// <returns>The summary, which is also written to the run folder.</returns>
    /// <exception cref="TrainingDivergedException">The loss is no longer a finite number.</exception>
    /// <exception cref="OperationCanceledException">The run was stopped.</exception>
    public RunSummary Run(RunFolder? runFolder = null, CancellationToken cancellation = default)
    {
        folder = runFolder;
        folder?.TruncateMetrics(progress.Step);
        string data = $"{training.Name}: {training.Count:N0} training and {validation.Count:N0} validation images of {training.Height}×{training.Width}×{training.Channels}";
        observer?.Started(new TrainingStart(
            options, $"{device.Name} ({device.Description}){GraphInWords}", data, stepsPerEpoch, progress.Step, Accounting.TotalUnits, Accounting.DenseParameters));
        if (progress.Step == 0)
        {
            Prune(pruning.Start);
            CountDead();
        }

        // A resumed run begins with the weights of its checkpoint, which are those of the end of an epoch unless it was stopped by hand.
        stability?.Compare(model.Parameters);
        while (progress.Step < TotalSteps)
        {
            TrainEpoch((int)(progress.Step / stepsPerEpoch), cancellation);
        }

        RunSummary summary = Summarize();
        folder?.WriteSummary(summary);
        return summary;
    }

    /// <summary>Frees the model, the optimizer's state and the device.</summary>
    public void Dispose()
    {
        graph?.Dispose();
        input.Dispose();
        losses.Dispose();
        pruning.Dispose();
        optimizer.Dispose();
        model.Dispose();
        device.Dispose();
    }

    private void TrainEpoch(int epoch, CancellationToken cancellation)
    {
        long end = (epoch + 1) * stepsPerEpoch;
        int firstBatch = (int)(progress.Step - epoch * stepsPerEpoch) * options.Accumulate;
        if (firstBatch == 0)
        {
            progress.EpochLoss = 0;
            progress.EpochCorrect = 0;
            progress.EpochBatches = 0;
            progress.EpochStartSeconds = progress.TrainingSeconds;
        }

        model.SetTraining(true);
        input.BeginEpoch(epoch, firstBatch);
        double loggedSeconds = progress.TrainingSeconds;
        while (progress.Step < end)
        {
            Step();
            Prune(() => pruning.AfterStep(progress.Step));
            CountDead();
            if (losses.IsFull || progress.Step == end || cancellation.IsCancellationRequested)
            {
                Log(epoch, ref loggedSeconds);
            }

            if (cancellation.IsCancellationRequested && progress.Step < end)
            {
                Save();
                throw new OperationCanceledException(cancellation);
            }
        }

        input.EndEpoch();
        EndEpoch(epoch);
        if (cancellation.IsCancellationRequested && progress.Step < TotalSteps)
        {
            if (savedStep != progress.Step)
            {
                Save();
            }

            throw new OperationCanceledException(cancellation);
        }
    }

    /// <summary>Why steps cannot be repeated from a recording; null if they can.</summary>
    private string? WhyNoGraph
    {
        get
        {
            using IRecordedWork? recording = device.CreateRecording();
            return recording is null ? $"{device.Name} does not record steps{(device is ObservedDevice ? " while it is observed" : "")}" : pruning.WhyNotRecorded;
        }
    }

    private bool KeepsDataOnDevice => options.DataOn switch
    {
        "device" => true,
        "host" => false,
        _ => device.Kind == DeviceKind.Cuda && device is not ObservedDevice && device.FreeMemory is { } free && ResidentImages.BytesOf(training) < free / 4,
    };

    private bool UsesGraph => options.Graph != "off" && WhyNoGraph is null && (options.Graph == "on" || device.Kind == DeviceKind.Cuda);

    private string GraphInWords =>
        graph is not null ? ", steps as graphs" : device.Kind == DeviceKind.Cuda && options.Graph == "auto" ? $", steps without graphs: {WhyNoGraph}" : "";

    private void Step()
    {
        clock.BeginStep();
        double rate = learningRate.At(progress.Step);
        for (int i = 0; i < optimizer.Groups.Count; i++)
        {
            optimizer.Groups[i].LearningRate = rate;
        }

        model.BeginStep(progress.Step);
        pruning.BeforeStep(progress.Step);
        input.BeginStep();
        if (graph is not null)
        {
            pruning.TakeStep(graph, passes, 1.0 / options.Accumulate);
        }
        else
        {
            RunPasses();
            pruning.Update(1.0 / options.Accumulate);
        }

        losses.EndStep();
        progress.Step++;
        clock.EndStep(Accounting.StructuralFlops);
        if (graph?.Refusal is { } refusal && !refusalWasSaid)
        {
            refusalWasSaid = true;
            observer?.Warned($"Steps run without graphs from here on: {refusal}.");
        }
    }

    private void RunPasses()
    {
        for (int i = 0; i < options.Accumulate; i++)
        {
            using TensorScope scope = new();
            var (images, labels) = input.Batch(i);
            Tensor loss = Operation.SoftmaxCrossEntropy(model.Forward(images), labels, (float)options.LabelSmoothing, losses.Correct(i));
            losses.Keep(i, loss);
            loss.Backward();
        }
    }

    private void Prune(Func<SurgeryReport?> act)
    {
        clock.BeginPruning();
        SurgeryReport? report = act();
        double milliseconds = clock.EndPruning(report is not null);
        if (report is null)
        {
            return;
        }

        if (report.Removed > 0)
        {
            RememberFirstSteps();
            times.NetworkChanged();
        }

        foreach (string warning in report.Warnings)
        {
            observer?.Warned(warning);
        }

        observer?.Pruned(new PruningNotice(progress.Step, report.Removed, Accounting.LiveUnits, Accounting.TotalUnits, milliseconds));
    }

    private void CountDead()
    {
        if (mortality is null || (progress.Step % options.CountDead!.Value != 0 && progress.Step != TotalSteps))
        {
            return;
        }

        clock.Settle();
        int[] sample = EpochOrder.Sample(training.Count, Math.Min(training.Count, options.CountDeadImages), options.Seed);
        var seen = TakeCensus(sample);
        lastCount = mortality.Count(progress.Step, pruning.Graph, seen, options.CountDeadOnAll ? TakeCensus([.. Enumerable.Range(0, training.Count)]) : null);
        folder?.Append(lastCount);

        IReadOnlyDictionary<UnitGroup, ChannelStatistics> TakeCensus(int[] images) =>
            Census.Take(model, pruning.Graph, visit => Evaluator.ForEachBatch(device, training, images, options.Batch, (batch, _) => visit(batch)));
    }

    private void Log(int epoch, ref double loggedSeconds)
    {
        clock.Settle();
        double seconds = progress.TrainingSeconds - loggedSeconds;
        loggedSeconds = progress.TrainingSeconds;
        var (batches, lossSum, correct, notFinite) = losses.Drain();
        if (notFinite is { } bad)
        {
            throw Diverged($"The loss became {bad}");
        }

        progress.EpochLoss += lossSum;
        progress.EpochCorrect += correct;
        progress.EpochBatches += batches;
        double secondsPerStep = seconds / Math.Max(1, batches / options.Accumulate);
        observer?.Progressed(new TrainingProgress(
            epoch + 1, progress.Step, TotalSteps, lossSum / batches, (double)correct / (batches * options.Batch), batches * options.Batch / seconds,
            optimizer.Groups[0].LearningRate, pruning.Method.Lambda, Accounting.LiveUnits, pruning.CountActive(), Accounting.TotalUnits, Accounting.WeightSparsity,
            secondsPerStep * (TotalSteps - progress.Step)));
    }

    private void EndEpoch(int epoch)
    {
        var (accuracy, loss) = Evaluator.Evaluate(model, validation, options.Batch);
        if (!double.IsFinite(loss))
        {
            throw Diverged($"The validation loss became {loss}");
        }

        progress.BestAccuracy = Math.Max(progress.BestAccuracy, accuracy);
        long images = progress.EpochBatches * options.Batch;
        MaskChange? change = stability?.Compare(model.Parameters);
        EpochMetrics metrics = new()
        {
            DeadUnits = (pruning.Method as DemonPruning)?.LastDead,
            MaskJaccard = change?.Jaccard,
            MaskBorn = change?.Born,
            MaskDied = change?.Died,
            Epoch = epoch + 1,
            Step = progress.Step,
            Loss = progress.EpochLoss / progress.EpochBatches,
            TrainAccuracy = (double)progress.EpochCorrect / images,
            ValidationAccuracy = accuracy,
            ValidationLoss = loss,
            LearningRate = optimizer.Groups[0].LearningRate,
            Lambda = pruning.Method.Lambda,
            NoiseStd = pruning.Method.NoiseStandardDeviation,
            LiveUnits = Accounting.LiveUnits,
            LiveChannels = Accounting.LiveChannels,
            NeuronSparsity = Accounting.NeuronSparsity,
            WeightSparsity = Accounting.WeightSparsity,
            ImagesPerSecond = images / (progress.TrainingSeconds - progress.EpochStartSeconds),
            MsPerStep = times.Last,
            Seconds = progress.TrainingSeconds,
        };
        folder?.Append(metrics);
        observer?.EpochEnded(metrics);
        if ((epoch + 1) % options.CheckpointEvery == 0 || progress.Step == TotalSteps)
        {
            Save();
        }
    }

    private TrainingDivergedException Diverged(string what) => new(
        $"{what} by step {progress.Step}; the run has diverged. Lower --lr (now {options.PeakLearningRate:G4}) or --lambda, or set --clip-norm.");

    private void Save()
    {
        if (folder is null)
        {
            return;
        }

        RememberFirstSteps();
        progress.TrainingFlops = Accounting.TrainingFlops;
        progress.StructuralTrainingFlops = Accounting.StructuralTrainingFlops;
        progress.DenseTrainingFlops = Accounting.DenseTrainingFlops;
        Checkpoint.Write(folder.CheckpointPath, model, optimizer, options.Optimizer, pruning, progress, mortality);
        savedStep = progress.Step;
    }

    private void RememberFirstSteps()
    {
        if (progress.FirstStepMilliseconds == 0)
        {
            progress.FirstStepMilliseconds = times.First;
            progress.FirstStepFlops = times.FirstFlops;
        }
    }

    private RunSummary Summarize()
    {
        RememberFirstSteps();
        var (accuracy, _) = Evaluator.Evaluate(model, validation, options.Batch);
        Dictionary<string, LayerCost> now = Accounting.Layers.ToDictionary(layer => layer.Name);
        return new RunSummary
        {
            Method = options.Method,
            MethodSettings = options.MethodSettings,
            Accuracy = accuracy,
            BestAccuracy = progress.BestAccuracy,
            NeuronsTotal = Accounting.TotalUnits,
            NeuronsLive = Accounting.LiveUnits,
            CountedDead = lastCount?.Dead,
            CountedEverDead = lastCount?.EverDead,
            NeuronsDead = (pruning.Method as DemonPruning)?.LastDead,
            NeuronSparsity = Accounting.NeuronSparsity,
            ParametersDense = Accounting.DenseParameters,
            Parameters = Accounting.Parameters,
            WeightSparsity = Accounting.WeightSparsity,
            LayerWeightSparsity = Accounting.LayerWeightSparsity,
            InferenceFlopsRatio = Accounting.InferenceFlopsRatio,
            StructuralInferenceFlopsRatio = Accounting.StructuralInferenceFlopsRatio,
            TrainingFlopsRatio = Accounting.TrainingFlopsRatio,
            StructuralTrainingFlopsRatio = Accounting.StructuralTrainingFlopsRatio,
            InferenceFlops = Accounting.Flops,
            TrainingFlops = Accounting.TrainingFlops,
            ImagesPerSecond = progress.Step * options.Batch * options.Accumulate / progress.TrainingSeconds,
            MsPerStepFirst = progress.FirstStepMilliseconds,
            MsPerStepLast = times.Last,
            StepTimeRatio = progress.FirstStepMilliseconds > 0 ? times.Last / progress.FirstStepMilliseconds : null,
            StepFlopsRatio = progress.FirstStepFlops > 0 ? times.LastFlops / progress.FirstStepFlops : null,
            PeakMemoryBytes = PeakMemory.Bytes(),
            Seed = options.Seed,
            Seconds = progress.TrainingSeconds,
            Epochs = options.Epochs,
            Steps = progress.Step,
            Device = $"{device.Name} ({device.Description})",
            Precision = device.Precision,
            Layers = [.. Accounting.Dense.Groups.Select((group, i) => new LayerSummary(group.Name, group.Channels, Accounting.LiveChannels[i]))],
            Weights =
            [
                .. Accounting.Dense.Layers.Select(layer => new WeightSummary(
                    layer.Name, layer.WeightShape, now.GetValueOrDefault(layer.Name)?.WeightShape, layer.Flops, now.GetValueOrDefault(layer.Name)?.Flops ?? 0)),
            ],
        };
    }

    private Optimizer CreateOptimizer(PruningMethod method)
    {
        IReadOnlyList<ParameterGroup> groups = PruningRun.CreateGroups(model, options.PeakLearningRate, options.WeightDecay, options.DecayNorms);
        Optimizer? own = method.CreateOptimizer(groups, options.Momentum, options.Nesterov);
        if (own is not null && options.Optimizer != "sgd")
        {
            own.Dispose();
            throw new ArgumentException($"--method {options.Method} is an update rule of its own, so --optimizer {options.Optimizer} does not go with it; leave that out.");
        }

        Optimizer created = own ?? options.Optimizer switch
        {
            "sgd" => new Sgd(groups, options.Momentum, options.Nesterov, options.DecoupledDecay),
            "adam" => new Adam(groups, epsilon: options.AdamEpsilon),
            _ => new Adam(groups, epsilon: options.AdamEpsilon, decoupledWeightDecay: true),
        };
        created.NoiseSeed = options.Seed;
        created.MaximumGradientNorm = options.ClipNorm;
        return created;
    }

    private Schedule CreateSchedule()
    {
        double peak = options.PeakLearningRate;
        return options.LearningRateSchedule switch
        {
            "constant" => new ConstantSchedule(peak),
            "onecycle" => new OneCycleSchedule(peak, TotalSteps),
            "step" => new MultiStepSchedule(peak, [TotalSteps * 31 / 100, TotalSteps * 62 / 100, TotalSteps * 93 / 100], 0.2),
            "warmup-cosine" => new WarmupSchedule(Math.Max(1, TotalSteps / 20), new CosineSchedule(peak, Math.Max(1, TotalSteps - TotalSteps / 20))),
            _ => new CosineSchedule(peak, TotalSteps),
        };
    }
}
