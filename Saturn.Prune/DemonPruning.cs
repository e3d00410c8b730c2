using Saturn.Engine;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Layers;

namespace Saturn.Prune;

/// <summary>
/// Demon Pruning over one training run ("Maxwell's Demon at Work", Algorithm 1): pressure on normalization scales and noise on the weights of live units before each step, a census and
/// physical removal every τ steps. With no options it only keeps the accounts of a dense run.
/// </summary>
public sealed class DemonPruning
{
    private readonly Module model;
    private readonly Optimizer optimizer;
    private readonly DemonPruningOptions? options;
    private readonly IPruningCriterion criterion;
    private readonly Shape inputShape;
    private readonly int imagesPerStep;
    private readonly long totalSteps;
    private readonly Schedule pressure;
    private readonly Schedule noise;
    private ChannelGraph graph;

    /// <summary>Prepares a run.</summary>
    /// <param name="model">The model.</param>
    /// <param name="optimizer">Its optimizer, with the groups of <see cref="CreateGroups"/>.</param>
    /// <param name="options">Settings; null for a dense run.</param>
    /// <param name="totalSteps">Steps of the whole run.</param>
    /// <param name="inputShape">Shape of a batch.</param>
    /// <param name="imagesPerStep">Images of one optimizer step.</param>
    /// <param name="dense">The dense network's counts, from a checkpoint; null if the model is dense now.</param>
    /// <param name="criterion">Who goes; dead units by default.</param>
    /// <exception cref="ArgumentException">An option is out of range, or one optimizer group mixes scales, shifts and other parameters.</exception>
    public DemonPruning(
        Module model, Optimizer optimizer, DemonPruningOptions? options, long totalSteps, Shape inputShape, int imagesPerStep, DenseNetwork? dense = null,
        IPruningCriterion? criterion = null)
    {
        options?.Validate();
        RequireSeparateGroups(optimizer);
        this.model = model;
        this.optimizer = optimizer;
        this.options = options;
        this.totalSteps = totalSteps;
        this.inputShape = inputShape;
        this.imagesPerStep = imagesPerStep;
        this.criterion = criterion ?? new DeadUnits();
        pressure = options?.CreateSchedule(options.Lambda, totalSteps) ?? new ConstantSchedule(0);
        noise = options is null || options.Noise == NoiseMode.Off ? new ConstantSchedule(0) : options.CreateSchedule(options.NoiseStandardDeviation, totalSteps);
        graph = ChannelGraph.Trace(model, inputShape);
        Accounting = dense is null ? new Accounting(model, graph) : new Accounting(dense);
        Accounting.Update(model, graph);
        if (options?.DeadThreshold is { } threshold)
        {
            foreach (UnitGroup group in graph.Groups)
            {
                group.Activity.Threshold = (float)threshold;
            }
        }
    }

    /// <summary>Counts of units, parameters and operations.</summary>
    public Accounting Accounting { get; }

    /// <summary>The channel graph of the network as it is.</summary>
    public ChannelGraph Graph => graph;

    /// <summary>λ of the step that was last prepared.</summary>
    public double Lambda { get; private set; }

    /// <summary>σ of the step that was last prepared.</summary>
    public double NoiseStandardDeviation { get; private set; }

    /// <summary>
    /// The parameter groups that pressure and noise tell apart: weights and biases, normalization scales, normalization shifts.
    /// </summary>
    /// <param name="model">The model.</param>
    /// <param name="learningRate">η of all groups.</param>
    /// <param name="weightDecay">wd.</param>
    /// <param name="decayNorms">Whether scales and shifts are decayed too.</param>
    public static IReadOnlyList<ParameterGroup> CreateGroups(Module model, double learningRate, double weightDecay, bool decayNorms = true)
    {
        Parameter[] trained = [.. model.Parameters.Where(parameter => parameter.IsTrained)];
        double normDecay = decayNorms ? weightDecay : 0;
        return
        [
            new ParameterGroup(trained.Where(parameter => !parameter.IsNormalization), learningRate, weightDecay),
            new ParameterGroup(trained.Where(parameter => parameter.Role == ParameterRole.NormalizationScale), learningRate, normDecay),
            new ParameterGroup(trained.Where(parameter => parameter.Role == ParameterRole.NormalizationShift), learningRate, normDecay),
        ];
    }

    /// <summary>Sets the pressure and noise of a step, counted from 0.</summary>
    public void BeforeStep(long step)
    {
        if (options is null)
        {
            return;
        }

        Lambda = pressure.At(step);
        NoiseStandardDeviation = noise.At(step);
        for (int i = 0; i < optimizer.Groups.Count; i++)
        {
            ParameterGroup group = optimizer.Groups[i];
            ParameterRole? role = group.Parameters.Count > 0 ? group.Parameters[0].Role : null;
            bool norms = role is ParameterRole.NormalizationScale or ParameterRole.NormalizationShift;

            // β is never under pressure: it must be free to drift negative, which is how a channel dies.
            bool pressed = role == ParameterRole.NormalizationScale || (options.RegularizeAll && role != ParameterRole.NormalizationShift);
            double strength = pressed ? Lambda : 0;
            group.L1 = options.Regularizer == Regularizer.L1 ? strength : 0;
            group.L2 = options.Regularizer == Regularizer.L2 ? strength : 0;
            group.NoiseStandardDeviation = !norms || options.NoiseOnNorms ? NoiseStandardDeviation : 0;
            group.NoiseOnLiveOnly = options.Noise == NoiseMode.Asymmetric && options.NoiseLiveness == NoiseLiveness.Batch;
            group.NoiseGradientThreshold = options.Noise == NoiseMode.Asymmetric && options.NoiseLiveness == NoiseLiveness.Gradient ? 1e-8 : 0;
        }
    }

    /// <summary>Counts a step that was taken.</summary>
    public void CountStep() => Accounting.CountStep(imagesPerStep);

    /// <summary>Whether a census follows a step: after steps τ, 2τ, … and after the last one.</summary>
    /// <param name="stepsTaken">Steps taken, this one included.</param>
    public bool IsDue(long stepsTaken) => options is not null && stepsTaken > 0 && (stepsTaken % options.PruneEvery == 0 || stepsTaken == totalSteps);

    /// <summary>Takes the census and removes what is dead.</summary>
    /// <param name="sample">The census images.</param>
    public SurgeryReport Prune(CensusSample sample)
    {
        int images = 0;
        var statistics = Census.Take(model, graph, visit => sample(batch =>
        {
            images += batch.Shape[0];
            visit(batch);
        }));
        Accounting.CountForward(images);
        Dictionary<UnitGroup, bool[]> marks = [];
        foreach (var (group, seen) in statistics)
        {
            bool[] remove = new bool[group.Channels];
            criterion.Select(group, seen, remove);
            marks[group] = remove;
        }

        SurgeryReport report = Surgery.Remove(model, graph, marks, statistics, optimizer, options?.Residual == ResidualMode.Tied);
        if (report.Removed > 0)
        {
            graph = ChannelGraph.Trace(model, inputShape);
            Accounting.Update(model, graph);
        }

        return report;
    }

    /// <summary>Units that were active in the last training batch; right after a census, on its images.</summary>
    public long CountActive() => graph.Groups.Sum(group => (long)group.Activity.CountActive());

    private static void RequireSeparateGroups(Optimizer optimizer)
    {
        foreach (ParameterGroup group in optimizer.Groups)
        {
            Parameter? other = group.Parameters.FirstOrDefault(parameter => Part(parameter) != Part(group.Parameters[0]));
            if (other is not null)
            {
                throw new ArgumentException(
                    $"Pressure and noise are set by optimizer group, so {group.Parameters[0].Name} and {other.Name} cannot share one; use DemonPruning.CreateGroups.", nameof(optimizer));
            }
        }

        static ParameterRole Part(Parameter parameter) => parameter.IsNormalization ? parameter.Role : ParameterRole.Weight;
    }
}
