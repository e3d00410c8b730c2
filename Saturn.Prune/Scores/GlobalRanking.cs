namespace Saturn.Prune.Scores;

/// <summary>Ranks the units of all layers together by their scores; those at the bottom go, equal ones in the order of the network.</summary>
public static class GlobalRanking
{
    /// <summary>Marks units until a sparsity, counted from the dense network, is as near as one unit allows. The best unit of every layer stays, as in the code of SNAP's authors.</summary>
    /// <exception cref="ArgumentException">A score is not a number, or the sparsity cannot be reached.</exception>
    public static Dictionary<UnitGroup, bool[]> Mark(PruningRun run, IReadOnlyDictionary<UnitGroup, double[]> scores, double target, SparsityMetric metric)
    {
        RemovalPreview.RequirePossible(run, target, metric);
        List<(UnitIndex Unit, double Score)> candidates = [];
        foreach (UnitGroup group in run.Graph.Groups.Where(group => group.PinnedBecause is null && group.Channels > 0))
        {
            double[] values = scores[group];
            int bad = Array.FindIndex(values, value => !double.IsFinite(value));
            if (bad >= 0)
            {
                throw new ArgumentException($"The score of unit {bad} of {group.Name} is {values[bad]}; the network's output or gradient is not finite, so nothing can be ranked.");
            }

            int best = Array.IndexOf(values, values.Max());
            candidates.AddRange(Enumerable.Range(0, values.Length).Where(c => c != best).Select(c => (new UnitIndex(group, c), values[c])));
        }

        // OrderBy is stable: equal scores keep the order of the network.
        UnitIndex[] order = [.. candidates.OrderBy(candidate => candidate.Score).Select(candidate => candidate.Unit)];
        int count = new RemovalPreview(run).RemoveUntil(order, target, metric);
        Dictionary<UnitGroup, bool[]> marks = run.Graph.Groups.ToDictionary(group => group, group => new bool[group.Channels]);
        foreach (UnitIndex unit in order.Take(count))
        {
            marks[unit.Group][unit.Channel] = true;
        }

        return marks;
    }
}
