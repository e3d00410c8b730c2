using Saturn.Engine;
using Saturn.Engine.Optimizers;
using Saturn.Kernels.Families;
using Saturn.Prune.Methods;

namespace Saturn.Prune;

/// <summary>
/// Demon Pruning ("Maxwell's Demon at Work", Algorithm 1): pressure on normalization scales and noise on the weights of live units before each step, a census and physical removal every τ steps. With a
/// target sparsity, λ is steered by <see cref="PressureController"/> instead of following its schedule.
/// </summary>
[Method("demp", "Pressure on normalization scales and noise on live units drive units into saturation; the dead are removed while training goes on.", "\"Maxwell's Demon at Work\", arXiv 2403.07688, Algorithm 1")]
public sealed class DemonPruning : PruningMethod
{
    // The authors' code calls a weight live where its gradient reaches this.
    private const double GradientThreshold = 1e-8;

    private readonly DemonPruningOptions options;
    private readonly IPruningCriterion criterion;
    private Schedule pressure = new ConstantSchedule(0);
    private Schedule noise = new ConstantSchedule(0);
    private PressureController? controller;
    private double lambda;
    private double noiseStandardDeviation;
    private long stepsNow;

    /// <summary>Demon Pruning with default settings.</summary>
    public DemonPruning()
        : this(new DemonPruningOptions())
    {
    }

    /// <summary>Demon Pruning.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="criterion">Who goes; dead units by default.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    public DemonPruning(DemonPruningOptions options, IPruningCriterion? criterion = null)
    {
        options.Validate();
        this.options = options;
        this.criterion = criterion ?? new DeadUnits(options.FoldConstants);
    }

    // Weak for every optimizer where --lambda was not given, so that the controller approaches from below; weights are more, and smaller, than scales.
    private double SteeringStart => options.Lambda > 0 ? options.Lambda : options.RegularizeAll ? 2e-5 : 1e-3;

    /// <inheritdoc/>
    public override double Lambda => lambda;

    /// <inheritdoc/>
    public override double NoiseStandardDeviation => noiseStandardDeviation;

    /// <summary>Units that the last census found dead, removed or not.</summary>
    public long LastDead { get; private set; }

    /// <inheritdoc/>
    public override void Begin(PruningRun run)
    {
        run.Residual = options.Residual;
        pressure = options.CreateSchedule(options.Lambda, run.TotalSteps);
        noise = options.Noise == NoiseMode.Off ? new ConstantSchedule(0) : options.CreateSchedule(options.NoiseStandardDeviation, run.TotalSteps, options.NoiseSchedule);
        bool pressed = options.Lambda > 0 || options.TargetSparsity is not null;
        if (pressed && !options.RegularizeAll && !run.Optimizer.Parameters.Any(parameter => parameter.Role == ParameterRole.NormalizationScale))
        {
            throw new ArgumentException("The network has no normalization scales, so the pressure would press on nothing; use --regularize all, or --lambda 0 for noise alone.");
        }

        if (options.Removal != RemovalTime.Never)
        {
            run.RequirePrunable();
        }

        foreach (UnitGroup group in run.Graph.Groups)
        {
            Prepare(group.Activity);
        }

        if (options.StartStep > run.TotalSteps)
        {
            throw new ArgumentException($"--prune-start {options.StartStep} is after the last of {run.TotalSteps} steps, so no census would be taken; start earlier.");
        }

        if (options.TargetSparsity is { } target)
        {
            controller ??= Steer(target);
            long deadline = controller.DeadlineOf(run.TotalSteps);
            if (options.StartStep > deadline)
            {
                throw new ArgumentException(
                    $"--prune-start {options.StartStep} is after step {deadline} of {run.TotalSteps}, by which the target is to be met; start earlier, or give --target-by a later share of the run.");
            }

            controller.Begin(run);
        }
    }

    /// <inheritdoc/>
    public override void BeforeStep(PruningRun run, long step)
    {
        lambda = controller is null ? pressure.At(step) : controller.Lambda(run, step);
        noiseStandardDeviation = controller is { HasArrived: true } ? 0 : noise.At(step);
        for (int i = 0; i < run.Optimizer.Groups.Count; i++)
        {
            ParameterGroup group = run.Optimizer.Groups[i];
            ParameterRole? role = group.Parameters.Count > 0 ? group.Parameters[0].Role : null;
            bool norms = role is ParameterRole.NormalizationScale or ParameterRole.NormalizationShift;

            // β is never under pressure: it must be free to drift negative, which is how a channel dies.
            bool pressed = role == ParameterRole.NormalizationScale || (options.RegularizeAll && role != ParameterRole.NormalizationShift);
            double strength = pressed ? lambda : 0;
            group.L1 = options.Regularizer == Regularizer.L1 ? strength : 0;
            group.L2 = options.Regularizer == Regularizer.L2 ? strength : 0;
            group.NoiseStandardDeviation = !norms || options.NoiseOnNorms ? noiseStandardDeviation : 0;
            bool byGradient = options.NoiseLiveness == NoiseLiveness.Gradient;
            group.NoiseOnLiveOnly = options.Noise == NoiseMode.Asymmetric && !byGradient;
            group.NoiseGradientThreshold = options.Noise == NoiseMode.Asymmetric && byGradient ? GradientThreshold : 0;
        }
    }

    /// <inheritdoc/>
    public override void AfterStep(PruningRun run, long stepsTaken)
    {
        stepsNow = stepsTaken;
        if (IsDue(stepsTaken, run.TotalSteps) || (controller is { HasArrived: false } && stepsTaken == controller.DeadlineOf(run.TotalSteps)))
        {
            Prune(run, options.Removal == RemovalTime.Periodic || (options.Removal == RemovalTime.End && stepsTaken == run.TotalSteps));
        }

        if (stepsTaken == run.TotalSteps)
        {
            controller?.WarnIfShort(run);
        }
    }

    /// <summary>Whether a census follows a step: after steps τ, 2τ, … from the start step on, and after the last one.</summary>
    /// <param name="stepsTaken">Steps taken, this one included.</param>
    /// <param name="totalSteps">Steps of the run.</param>
    public bool IsDue(long stepsTaken, long totalSteps) =>
        stepsTaken > 0 && stepsTaken >= options.StartStep && (stepsTaken % options.PruneEvery == 0 || stepsTaken == totalSteps);

    /// <summary>Takes a census now and removes what is dead.</summary>
    /// <param name="run">The run.</param>
    /// <param name="remove">Whether the dead are removed, or counted only.</param>
    /// <returns>Units removed.</returns>
    public int Prune(PruningRun run, bool remove = true)
    {
        var statistics = run.TakeCensus();
        Dictionary<UnitGroup, bool[]> marks = [];
        LastDead = 0;
        foreach (var (group, seen) in statistics)
        {
            bool[] flags = new bool[group.Channels];
            criterion.Select(group, seen, flags);
            marks[group] = flags;
            LastDead += flags.LongCount(flag => flag);
        }

        if (!remove)
        {
            return 0;
        }

        controller?.Limit(run, marks, statistics, stepsNow);
        int removed = run.Remove(marks, options.FoldConstants ? statistics : null, options.FoldConstants ? null : MostActive(statistics));
        controller?.Removed(run);
        return removed;
    }

    /// <inheritdoc/>
    public override void Save(MethodState state)
    {
        state.Numbers["dead"] = LastDead;
        controller?.Save(state);
    }

    /// <inheritdoc/>
    public override void Load(MethodState state)
    {
        LastDead = (long)state.Number("dead");
        if (options.TargetSparsity is { } target)
        {
            controller = Steer(target);
            controller.Load(state);
        }
    }

    private PressureController Steer(double target) => new(target, options.TargetMetric, SteeringStart, options.TargetBy ?? DemonPruningOptions.DefaultTargetBy);

    private static Dictionary<UnitGroup, double[]> MostActive(IReadOnlyDictionary<UnitGroup, ChannelStatistics> statistics) =>
        statistics.ToDictionary(pair => pair.Key, pair => Array.ConvertAll(pair.Value.Maximum, maximum => (double)maximum));

    private void Prepare(ChannelActivity activity)
    {
        ActivationKind kind = activity.Activation.Kind;
        if (options.Criterion == DeadCriterion.Zero && kind != ActivationKind.Relu)
        {
            throw new ArgumentException(
                $"The criterion zero does not fit {activity.Name}, whose activation is {kind}: its output is never exactly zero. Use --dead-criterion {(kind == ActivationKind.LeakyRelu ? "negative" : "magnitude")}.");
        }

        if (options.Criterion != DeadCriterion.Auto)
        {
            activity.Criterion = options.Criterion == DeadCriterion.Magnitude ? ActivityCriterion.MagnitudeAtLeastThreshold : ActivityCriterion.AboveThreshold;
            activity.Threshold = options.Criterion == DeadCriterion.Magnitude ? 0.01f : 0;
        }

        activity.Threshold = (float)(options.DeadThreshold ?? activity.Threshold);
        activity.WindowLength = options.NoiseWindow;
        activity.Liveness = options.NoiseLiveness switch
        {
            NoiseLiveness.Window => LivenessMemory.Window,
            NoiseLiveness.Census => LivenessMemory.Census,
            _ => LivenessMemory.Batch,
        };
        if (activity.Criterion == ActivityCriterion.MagnitudeAtLeastThreshold && activity.Threshold == 0)
        {
            throw new ArgumentException($"No magnitude is below 0, so no unit of {activity.Name} could ever be dead; give --dead-threshold a value above 0.");
        }
    }
}
