namespace Saturn.Prune.Scores;

/// <summary>Rates units: those with low scores go first.</summary>
public interface IUnitScore
{
    /// <summary>Scores all units of the groups from which units may be removed.</summary>
    /// <param name="run">The run, whose network stays as it is.</param>
    /// <returns>For each group one score a channel, all finite.</returns>
    IReadOnlyDictionary<UnitGroup, double[]> Score(PruningRun run);
}
