using Saturn.Engine;

namespace Saturn.Prune;

/// <summary>
/// A removed unit with a constant output c ≠ 0 is not silent: its readers receive w·c from it. Before removal the constant goes into the reader's bias (bias += Σ w·c over the taps), or, before a
/// batch norm, into its running mean (mean −= Σ w·c; batch statistics follow by themselves), and through an identity shortcut into β of the norm it is added to. Exact up to padded
/// borders, where fewer taps see the unit. Units that were not constant contribute their mean.
/// </summary>
internal static class ConstantFolding
{
    public static void Fold(ChannelGraph graph, Dictionary<UnitGroup, bool[]> remove, IReadOnlyDictionary<UnitGroup, ChannelStatistics> statistics)
    {
        foreach (UnitGroup group in graph.Groups)
        {
            if (!statistics.TryGetValue(group, out ChannelStatistics? seen))
            {
                continue;
            }

            bool[] flags = remove[group];
            for (int c = 0; c < flags.Length; c++)
            {
                float constant = (float)seen.Mean(c);
                if (!flags[c] || constant == 0)
                {
                    continue;
                }

                if (group.Readers.Any(reader => reader is { Bias: null, RunningMean: null }))
                {
                    // Nowhere to put the constant: the unit stays.
                    flags[c] = false;
                    continue;
                }

                foreach (Reader reader in group.Readers)
                {
                    FoldInto(reader, c, constant);
                }

                foreach (ShortcutEdge edge in group.Outgoing)
                {
                    FoldInto(edge, c, constant);
                }
            }
        }
    }

    private static void FoldInto(Reader reader, int channel, float constant)
    {
        float[] weight = reader.Weight.Value.ToArray();
        Parameter target = reader.Bias ?? reader.RunningMean!;
        float[] values = target.Value.ToArray();
        int columns = reader.Weight.Columns;
        for (int o = 0; o < values.Length; o++)
        {
            double sum = 0;
            for (int tap = 0; tap < reader.Weight.Taps; tap++)
            {
                for (int position = 0; position < reader.Positions; position++)
                {
                    sum += weight[(o * reader.Weight.Taps + tap) * columns + reader.Offset + position * reader.Stride + channel];
                }
            }

            // A bias is followed by the norm, if any, as the convolution's output is; the norm subtracts its mean, hence the sign.
            values[o] += (float)(reader.Bias is null ? -sum * constant : sum * constant);
        }

        target.Value.CopyFrom(values);
    }

    private static void FoldInto(ShortcutEdge edge, int channel, float constant)
    {
        int output = edge.Link.Map is { } map ? map.Outputs[channel] : channel;
        if (output < 0 || edge.Beta is null)
        {
            return;
        }

        float[] beta = edge.Beta.Value.ToArray();
        beta[output] += constant;
        edge.Beta.Value.CopyFrom(beta);
    }
}
