using Saturn.Prune.Scores;

namespace Saturn.Prune.Methods;

/// <summary>What the structured baselines share: a target, and the removal of the units that rank lowest over the whole network. Nothing is folded: a removed unit is gone with what it said.</summary>
public abstract class StructuredPruning : PruningMethod
{
    /// <summary>The sparsity to reach.</summary>
    [Setting("target-sparsity", "The sparsity to reach, above 0 and below 1.")]
    public double TargetSparsity { get; set; } = 0.8;

    /// <summary>What the target counts.</summary>
    [Setting("target-metric", "What the target counts: neurons, weights or flops.")]
    public SparsityMetric TargetMetric { get; set; } = SparsityMetric.Neurons;

    /// <summary>The score.</summary>
    protected abstract IUnitScore Score { get; }

    /// <inheritdoc/>
    public override void Validate() => Require(TargetSparsity is > 0 and < 1, "target-sparsity", "above 0 and below 1", TargetSparsity);

    /// <inheritdoc/>
    public override void Begin(PruningRun run)
    {
        run.RequirePrunable();
        if (run.Accounting.LiveUnits == run.Accounting.TotalUnits)
        {
            RemovalPreview.RequirePossible(run, TargetSparsity, TargetMetric);
        }
    }

    /// <summary>Scores the units now and removes the lowest until a sparsity is reached.</summary>
    /// <param name="run">The run.</param>
    /// <param name="sparsity">The sparsity, counted from the dense network.</param>
    protected void PruneTo(PruningRun run, double sparsity)
    {
        var scores = Score.Score(run);
        run.Remove(GlobalRanking.Mark(run, scores, sparsity, TargetMetric), scores: scores);
    }
}
