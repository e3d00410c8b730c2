namespace Saturn.Prune.Scores;

/// <summary>
/// SNAP: |Σ_batches ∂L/∂g|, what closing a unit's gate g = 1 would change in the loss, to first order (Verdenius, Stol and Forré, "Pruning via Iterative Ranking of Sensitivity Statistics",
/// arXiv 2006.00896). The gate stands behind the activation, residual sum included, as in the tables of "Maxwell's Demon at Work".
/// </summary>
/// <param name="batches">Batches of training images.</param>
public sealed class SnapScore(int batches = 10) : IUnitScore
{
    /// <inheritdoc/>
    public IReadOnlyDictionary<UnitGroup, double[]> Score(PruningRun run)
    {
        using GateGradients gates = new(run, batches);
        return gates.Take().ToDictionary(pair => pair.Key, pair => Array.ConvertAll(pair.Value, Math.Abs));
    }
}
