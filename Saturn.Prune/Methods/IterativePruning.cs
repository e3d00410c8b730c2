using Saturn.Prune.Scores;

namespace Saturn.Prune.Methods;

/// <summary>
/// Pruning before training, in steps, each of which scores the already pruned network anew: sparsities s_i = t − (t − ½)·½^i for i = 0 … 5, then t, where the target t is above ½; else t at once (Verdenius et al. 2020).
/// </summary>
public abstract class IterativePruning : StructuredPruning
{
    /// <summary>Batches of a score.</summary>
    [Setting("batches", "Batches of training images behind a score, at least 1.")]
    public int Batches { get; set; } = 10;

    /// <summary>The sparsities of the steps, the target last.</summary>
    public static IReadOnlyList<double> Steps(double target) =>
        target <= 0.5 ? [target] : [.. Enumerable.Range(0, 6).Select(i => target - (target - 0.5) * Math.Pow(0.5, i)), target];

    /// <inheritdoc/>
    public override void Validate()
    {
        base.Validate();
        Require(Batches >= 1, "batches", "at least 1", Batches);
    }

    /// <inheritdoc/>
    public override void AtStart(PruningRun run)
    {
        foreach (double sparsity in Steps(TargetSparsity))
        {
            PruneTo(run, sparsity);
        }
    }
}

/// <summary>SNAP: <see cref="SnapScore"/> before training, in steps.</summary>
[Method("snap", "Before training, in steps: units whose gate matters least to the loss go.", "Verdenius, Stol, Forré, \"Pruning via Iterative Ranking of Sensitivity Statistics\", arXiv 2006.00896")]
public sealed class Snap : IterativePruning
{
    /// <inheritdoc/>
    protected override IUnitScore Score => new SnapScore(Batches);
}

/// <summary>CroPit-S: <see cref="CropScore"/> before training, in steps.</summary>
[Method("cropit-s", "Before training, in steps: units whose gate matters least to the gradient's norm go.", "Rachwan et al., \"Winning the Lottery Ahead of Time\", arXiv 2206.10451")]
public sealed class CropitS : IterativePruning
{
    /// <inheritdoc/>
    protected override IUnitScore Score => new CropScore(Batches);
}
