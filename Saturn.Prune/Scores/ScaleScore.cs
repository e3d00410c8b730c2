using Saturn.Engine;

namespace Saturn.Prune.Scores;

/// <summary>
/// |γ| of the normalization in front of a unit (Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017); where a residual sum adds two normalizations, the sum of both.
/// </summary>
public sealed class ScaleScore : IUnitScore
{
    /// <inheritdoc/>
    public IReadOnlyDictionary<UnitGroup, double[]> Score(PruningRun run)
    {
        Dictionary<UnitGroup, double[]> scores = [];
        foreach (UnitGroup group in run.Graph.Groups.Where(group => group.PinnedBecause is null && group.Channels > 0))
        {
            Parameter[] scales = [.. group.Producers.Where(parameter => parameter.Role == ParameterRole.NormalizationScale && !parameter.IsRemoved)];
            if (scales.Length == 0)
            {
                // A residual block that lost its branch has none either; its units are what the shortcut brings.
                scores[group] = [.. Enumerable.Repeat(double.MaxValue, group.Channels)];
                continue;
            }

            double[] sums = new double[group.Channels];
            foreach (Parameter scale in scales)
            {
                float[] values = scale.Value.ToArray();
                for (int c = 0; c < sums.Length; c++)
                {
                    sums[c] += Math.Abs(values[c]);
                }
            }

            scores[group] = sums;
        }

        return scores;
    }
}
