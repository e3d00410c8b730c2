using Saturn.Engine;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Layers;
using Saturn.Prune.Methods;

namespace Saturn.Prune;

/// <summary>Shows a method labelled images: calls back with one batch after another, each of which lives during the call. The same images come every time.</summary>
/// <param name="batches">Batches wanted; fewer come where the data are fewer.</param>
/// <param name="visit">Takes a batch [batch, height, width, channels] and its labels [batch].</param>
public delegate void LabelledSample(int batches, Action<Tensor, Tensor> visit);

/// <summary>
/// One network in training under one pruning method: keeps the channel graph, the masks and the accounts, calls the method at its moments, and removes what it marks. A loop calls
/// <see cref="Start"/> once before the first step, and for every step <see cref="BeforeStep"/>, the forward and backward pass, <see cref="Update"/> and <see cref="AfterStep"/>.
/// </summary>
public sealed class PruningRun : IDisposable
{
    private readonly SaidOnce warnings = new();
    private readonly Action runPasses;
    private int removed;
    private bool acted;
    private long step;
    private long removals;
    private Action passesOfStep = () => { };

    /// <summary>Prepares a run.</summary>
    /// <param name="model">The model.</param>
    /// <param name="optimizer">Its optimizer, with the groups of <see cref="CreateGroups"/>.</param>
    /// <param name="method">The method; the run disposes it.</param>
    /// <param name="totalSteps">Steps of the whole run.</param>
    /// <param name="inputShape">Shape of a batch.</param>
    /// <param name="imagesPerStep">Images of one optimizer step.</param>
    /// <param name="stepsPerEpoch">Steps of an epoch; the whole run by default.</param>
    /// <param name="dense">The dense network's counts, from a checkpoint; null if the model is dense now.</param>
    /// <param name="seed">Seed of what a method draws at random.</param>
    /// <param name="state">What the method saved, where a run is resumed; null at the start.</param>
    /// <exception cref="ArgumentException">A setting is out of range, the method does not fit the network, or one optimizer group mixes scales, shifts and other parameters.</exception>
    public PruningRun(
        Module model, Optimizer optimizer, PruningMethod method, long totalSteps, Shape inputShape, int imagesPerStep, long? stepsPerEpoch = null, DenseNetwork? dense = null,
        ulong seed = 0, MethodState? state = null)
    {
        method.Validate();
        RequireSeparateGroups(optimizer);
        runPasses = RunPasses;
        Model = model;
        Optimizer = optimizer;
        Method = method;
        TotalSteps = totalSteps;
        StepsPerEpoch = stepsPerEpoch ?? Math.Max(1, totalSteps);
        InputShape = inputShape;
        ImagesPerStep = imagesPerStep;
        Seed = seed;
        Graph = ChannelGraph.Trace(model, inputShape);
        Accounting = dense is null ? new Accounting(model, Graph) : new Accounting(dense);
        Accounting.Update(model, Graph);
        if (state is not null)
        {
            method.Load(state);
        }

        method.Begin(this);
    }

    /// <summary>The model.</summary>
    public Module Model { get; }

    /// <summary>Its optimizer.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>The method.</summary>
    public PruningMethod Method { get; }

    /// <summary>Steps of the whole run.</summary>
    public long TotalSteps { get; }

    /// <summary>Steps of an epoch.</summary>
    public long StepsPerEpoch { get; }

    /// <summary>Images of one optimizer step.</summary>
    public int ImagesPerStep { get; }

    /// <summary>Shape of a batch.</summary>
    public Shape InputShape { get; }

    /// <summary>Seed of what a method draws at random.</summary>
    public ulong Seed { get; }

    /// <summary>The channel graph of the network as it is.</summary>
    public ChannelGraph Graph { get; private set; }

    /// <summary>Counts of units, parameters and operations.</summary>
    public Accounting Accounting { get; }

    /// <summary>Masks on single weights; null for methods that remove whole units only.</summary>
    public WeightMasks? Masks { get; private set; }

    /// <summary>How residual channels are removed.</summary>
    public ResidualMode Residual { get; set; }

    /// <summary>The images of a census; methods that take one need it.</summary>
    public CensusSample? CensusImages { get; set; }

    /// <summary>Labelled images for scores that need gradients.</summary>
    public LabelledSample? LabelledImages { get; set; }

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

    /// <summary>Before the first step of a run, not of a resumed one: some methods prune here.</summary>
    /// <returns>What was done, or null if nothing was looked at.</returns>
    public SurgeryReport? Start()
    {
        Method.AtStart(this);
        return TakeReport();
    }

    /// <summary>Sets the pressure and noise of a step, counted from 0.</summary>
    public void BeforeStep(long step)
    {
        this.step = step;
        Method.BeforeStep(this, step);
    }

    /// <summary>Takes the optimizer's step with the method's hooks around it, and counts it.</summary>
    /// <param name="gradientScale">Multiplies every gradient first: 1/n after n accumulated batches.</param>
    public void Update(double gradientScale = 1)
    {
        Method.BeforeUpdate(this, step);
        Masks?.ApplyToGradients();
        Optimizer.Step(gradientScale);
        Method.AfterUpdate(this, step);
        Accounting.CountStep(ImagesPerStep);
    }

    /// <summary>Why the steps of this run cannot be repeated from a recording; null if they can.</summary>
    public string? WhyNotRecorded =>
        Method.ActsInUpdate ? $"the method {Method.Name} looks at the gradients of every step"
        : Graph.Groups.Any(group => group.Activity.Liveness == LivenessMemory.Window) ? "a window of liveness moves on differently from step to step"
        : null;

    /// <summary>Takes a whole step through a graph: the passes, and the update.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="passes">The forward and backward passes: see <see cref="StepGraph.Run"/>.</param>
    /// <param name="gradientScale">Multiplies every gradient first: 1/n after n accumulated batches.</param>
    /// <exception cref="InvalidOperationException"><see cref="WhyNotRecorded"/>.</exception>
    public void TakeStep(StepGraph graph, Action passes, double gradientScale = 1)
    {
        if (Method.ActsInUpdate)
        {
            throw new InvalidOperationException($"The step cannot be taken as a graph: {WhyNotRecorded}.");
        }

        passesOfStep = passes;
        graph.Run(runPasses, gradientScale, removals + (Masks is null ? 0 : Masks.Version << 32));
        Accounting.CountStep(ImagesPerStep);
    }

    private void RunPasses()
    {
        passesOfStep();
        Masks?.ApplyToGradients();
    }

    /// <summary>Lets the method remove units after a step.</summary>
    /// <param name="stepsTaken">Steps taken, this one included.</param>
    /// <returns>What was done, or null if nothing was looked at.</returns>
    public SurgeryReport? AfterStep(long stepsTaken)
    {
        Method.AfterStep(this, stepsTaken);
        return TakeReport();
    }

    private SurgeryReport? TakeReport()
    {
        if (!acted)
        {
            return null;
        }

        SurgeryReport report = new(removed, warnings.Take());
        removed = 0;
        acted = false;
        return report;
    }

    /// <summary>Takes a census on <see cref="CensusImages"/> and counts its operations.</summary>
    /// <exception cref="InvalidOperationException">The run has no census images.</exception>
    public IReadOnlyDictionary<UnitGroup, ChannelStatistics> TakeCensus()
    {
        CensusSample sample = CensusImages ?? throw new InvalidOperationException($"{Method.GetType().Name} takes a census, but PruningRun.CensusImages is not set.");
        int images = 0;
        var statistics = Census.Take(Model, Graph, visit => sample(batch =>
        {
            images += batch.Shape[0];
            visit(batch);
        }));
        Accounting.CountForward(images);
        acted = true;
        return statistics;
    }

    /// <summary>Removes units and traces the network anew.</summary>
    /// <param name="marks">For each group, one flag a channel.</param>
    /// <param name="statistics">The census whose constants are folded; null folds nothing.</param>
    /// <param name="scores">Who is kept where a whole layer is marked: the unit with the highest score. Null: the most active of the census.</param>
    /// <returns>Units removed.</returns>
    public int Remove(
        IReadOnlyDictionary<UnitGroup, bool[]> marks, IReadOnlyDictionary<UnitGroup, ChannelStatistics>? statistics = null, IReadOnlyDictionary<UnitGroup, double[]>? scores = null)
    {
        SurgeryReport report = Surgery.Remove(Model, Graph, marks, statistics, Optimizer, Residual == ResidualMode.Tied, Masks, scores);
        acted = true;
        removed += report.Removed;
        foreach (string warning in report.Warnings)
        {
            warnings.Add(warning);
        }

        if (report.Removed > 0)
        {
            removals++;
            Graph = ChannelGraph.Trace(Model, InputShape);
            Masks?.ForgetRemoved();
            Accounting.Update(Model, Graph, Masks?.Absent);
        }

        return report.Removed;
    }

    /// <summary>Refuses a network of which no unit may be removed.</summary>
    /// <exception cref="ArgumentException">One sentence with the first reason.</exception>
    public void RequirePrunable()
    {
        if (Graph.Groups.All(group => group.PinnedBecause is not null))
        {
            string why = Graph.Groups.Count == 0
                ? "its forward pass has no activation with a record of its channels (ActivationLayer, or ConvBatchNormRelu with an activity)"
                : $"{Graph.Groups[0].Name} stays because {Graph.Groups[0].PinnedBecause}";
            throw new ArgumentException($"No unit of this network can be removed: {why}.");
        }
    }

    /// <summary>Says something that the user should know; the next report carries it.</summary>
    public void Warn(string message)
    {
        acted = true;
        warnings.Add(message);
    }

    /// <summary>The masks, created on first use: on the weights of convolutions and linear layers, all open.</summary>
    public WeightMasks UseMasks() => Masks ??= new WeightMasks(Model);

    /// <summary>Counts parameters and operations anew; a method calls it when it has changed masks.</summary>
    /// <param name="absent">Absent weights of each tensor; null for those that are masked.</param>
    public void CountWeights(IReadOnlyDictionary<Parameter, long>? absent = null) => Accounting.Update(Model, Graph, absent ?? Masks?.Absent);

    /// <summary>Units that were active in the last training batch; right after a census, on its images.</summary>
    public long CountActive() => Graph.Groups.Sum(group => (long)group.Activity.CountActive());

    /// <summary>Frees masks and the method's own memory.</summary>
    public void Dispose()
    {
        Masks?.Dispose();
        Method.Dispose();
    }

    private static void RequireSeparateGroups(Optimizer optimizer)
    {
        foreach (ParameterGroup group in optimizer.Groups)
        {
            Parameter? other = group.Parameters.FirstOrDefault(parameter => Part(parameter) != Part(group.Parameters[0]));
            if (other is not null)
            {
                throw new ArgumentException(
                    $"Pressure and noise are set by optimizer group, so {group.Parameters[0].Name} and {other.Name} cannot share one; use PruningRun.CreateGroups.", nameof(optimizer));
            }
        }

        static ParameterRole Part(Parameter parameter) => parameter.IsNormalization ? parameter.Role : ParameterRole.Weight;
    }

    /// <summary>Each sentence once.</summary>
    private sealed class SaidOnce
    {
        private readonly HashSet<string> said = [];
        private List<string> waiting = [];

        public void Add(string message)
        {
            if (said.Add(message))
            {
                waiting.Add(message);
            }
        }

        public IReadOnlyList<string> Take()
        {
            List<string> taken = waiting;
            waiting = [];
            return taken;
        }
    }
}
