namespace Saturn.Prune.Scores;

/// <summary>
/// CroP-S: |g ⊙ H·∇L| in the space of the gates g = 1, the change of the gradient's norm when a gate closes (Rachwan et al., "Winning the Lottery Ahead of Time", arXiv 2206.10451, in the form of the
/// tables of "Maxwell's Demon at Work", which differentiate by gates and not by weights). With L summed over the batches, H·d along d = ∂L/∂g is the central difference (∇L(1 + s·d) − ∇L(1 − s·d))/2s with s·max|d| = 0.01: small
/// beside 1, and large beside the rounding of a float32 gradient.
/// </summary>
/// <param name="batches">Batches of training images.</param>
public sealed class CropScore(int batches = 10) : IUnitScore
{
    private const double LargestMove = 0.01;

    /// <inheritdoc/>
    public IReadOnlyDictionary<UnitGroup, double[]> Score(PruningRun run)
    {
        using GateGradients gates = new(run, batches);
        Dictionary<UnitGroup, double[]> direction = gates.Take();
        double largest = direction.Values.SelectMany(values => values).Select(Math.Abs).DefaultIfEmpty().Max();
        if (!(largest > 0))
        {
            return direction;
        }

        double step = LargestMove / largest;
        gates.Move(direction, step);
        Dictionary<UnitGroup, double[]> above = gates.Take();
        gates.Move(direction, -step);
        Dictionary<UnitGroup, double[]> below = gates.Take();
        return above.ToDictionary(pair => pair.Key, pair => pair.Value.Select((value, c) => Math.Abs(value - below[pair.Key][c]) / (2 * step)).ToArray());
    }
}
