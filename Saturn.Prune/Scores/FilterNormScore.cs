using Saturn.Engine;

namespace Saturn.Prune.Scores;

/// <summary>
/// The mean magnitude Σ|w|/n of the filters that produce a unit (Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, which ranks by Σ|w| within one layer). Dividing by the filter's n weights lets
/// layers of different fan-in compare, as a ranking over the whole network must.
/// </summary>
public sealed class FilterNormScore : IUnitScore
{
    /// <inheritdoc/>
    public IReadOnlyDictionary<UnitGroup, double[]> Score(PruningRun run)
    {
        Dictionary<UnitGroup, double[]> scores = [];
        foreach (UnitGroup group in run.Graph.Groups.Where(group => group.PinnedBecause is null && group.Channels > 0))
        {
            double[] sums = scores[group] = new double[group.Channels];
            long weights = 0;
            foreach (Parameter filter in group.Producers.Where(parameter => parameter.Role == ParameterRole.Weight && !parameter.IsRemoved))
            {
                float[] values = filter.Value.ToArray();
                int length = values.Length / group.Channels;
                weights += length;
                for (int i = 0; i < values.Length; i++)
                {
                    sums[i / length] += Math.Abs(values[i]);
                }
            }

            for (int c = 0; c < sums.Length; c++)
            {
                sums[c] = weights == 0 ? double.MaxValue : sums[c] / weights;
            }
        }

        return scores;
    }
}
