using Saturn.Engine;
using Saturn.Engine.Optimizers;
using Saturn.Prune.Scores;

namespace Saturn.Prune.Methods;

/// <summary>Pruning once, at a given moment; the rest of the run is fine-tuning.</summary>
/// <param name="pruneAt">The moment by default, as a share of the training.</param>
public abstract class OneShotPruning(double pruneAt) : StructuredPruning
{
    /// <summary>When to prune.</summary>
    [Setting("prune-at", "When to prune, as a share of the training, from 0, before the first step, to below 1.")]
    public double PruneAt { get; set; } = pruneAt;

    /// <inheritdoc/>
    public override void Validate()
    {
        base.Validate();
        Require(PruneAt is >= 0 and < 1, "prune-at", "in [0, 1)", PruneAt);
    }

    /// <inheritdoc/>
    public override void AtStart(PruningRun run) => PruneIf(run, 0);

    /// <inheritdoc/>
    public override void AfterStep(PruningRun run, long stepsTaken)
    {
        if (stepsTaken > 0)
        {
            PruneIf(run, stepsTaken);
        }
    }

    /// <summary>The steps before the removal.</summary>
    protected long StepsBefore(PruningRun run) => (long)(PruneAt * run.TotalSteps);

    private void PruneIf(PruningRun run, long stepsTaken)
    {
        if (stepsTaken == StepsBefore(run))
        {
            PruneTo(run, TargetSparsity);
        }
    }
}

/// <summary>Network slimming: L1 pressure on γ until the removal, by <see cref="ScaleScore"/>, and none afterwards.</summary>
[Method("slimming", "L1 pressure on normalization scales, then, once, the units with the smallest scales go.",
    "Liu et al., \"Learning Efficient Convolutional Networks through Network Slimming\", ICCV 2017")]
public sealed class NetworkSlimming() : OneShotPruning(0.5)
{
    private double strength;

    /// <summary>λ until the removal.</summary>
    [Setting("lambda", "Strength of the pressure until the removal, 0 or above.")]
    public double Pressure { get; set; } = 1e-4;

    /// <inheritdoc/>
    public override double Lambda => strength;

    /// <inheritdoc/>
    protected override IUnitScore Score => new ScaleScore();

    /// <inheritdoc/>
    public override void Validate()
    {
        base.Validate();
        Require(Pressure >= 0, "lambda", "0 or above", Pressure);
        Require(PruneAt > 0, "prune-at", "above 0, since all scales are equal before training", PruneAt);
    }

    /// <inheritdoc/>
    public override void Begin(PruningRun run)
    {
        UnitGroup? bare = run.Graph.Groups.FirstOrDefault(group =>
            group.PinnedBecause is null && group.Producers.Any(parameter => parameter.Role == ParameterRole.Weight) && group.Producers.All(parameter => parameter.Role != ParameterRole.NormalizationScale));
        if (bare is not null)
        {
            throw new ArgumentException($"Network slimming ranks units by the scales of normalizations, but the units of {bare.Name} have none in front of them; use another --method.");
        }

        base.Begin(run);
    }

    /// <inheritdoc/>
    public override void BeforeStep(PruningRun run, long step)
    {
        strength = step < StepsBefore(run) ? Pressure : 0;
        for (int i = 0; i < run.Optimizer.Groups.Count; i++)
        {
            ParameterGroup group = run.Optimizer.Groups[i];
            group.L1 = group.Parameters.Count > 0 && group.Parameters[0].Role == ParameterRole.NormalizationScale ? strength : 0;
        }
    }
}

/// <summary>Filter pruning by <see cref="FilterNormScore"/>.</summary>
[Method("l1-filter", "Once: the units with the weakest filters go.", "Li et al., \"Pruning Filters for Efficient ConvNets\", ICLR 2017")]
public sealed class FilterNormPruning() : OneShotPruning(0.5)
{
    /// <inheritdoc/>
    protected override IUnitScore Score => new FilterNormScore();
}

/// <summary>Random units go.</summary>
[Method("random", "Once, before training by default: units drawn at random go.", "none; the baseline of baselines")]
public sealed class RandomPruning() : OneShotPruning(0)
{
    /// <inheritdoc/>
    protected override IUnitScore Score => new RandomScore();
}
