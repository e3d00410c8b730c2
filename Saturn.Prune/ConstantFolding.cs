using Saturn.Engine;

namespace Saturn.Prune;

/// <summary>
/// A removed unit with a constant output c ≠ 0 is not silent: its readers receive w·c from it. Before removal the constant goes into the reader's bias (bias += Σ w·c over the taps), or, before a
/// batch norm, into its running mean (mean −= Σ w·c; batch statistics follow by themselves), and through an identity shortcut into β of the norm it is added to. Exact up to padded
/// borders, where fewer taps see the unit. Units that were not constant contribute their mean.
/// </summary>
internal static class ConstantFolding
{
    /// <summary>Unmarks the units that speak and whose constant some reader or sum has no place for.</summary>
    public static void KeepWhatCannotBeFolded(ChannelGraph graph, Dictionary<UnitGroup, bool[]> remove, IReadOnlyDictionary<UnitGroup, ChannelStatistics> statistics)
    {
        foreach (UnitGroup group in graph.Groups)
        {
            bool[] flags = remove[group];
            float[] constants = Constants(group, flags, statistics);
            bool readersHavePlaces = group.Readers.All(reader => reader.Bias is not null || reader.RunningMean is not null);
            for (int c = 0; c < constants.Length; c++)
            {
                if (constants[c] != 0 && !(readersHavePlaces && group.Outgoing.All(edge => edge.Beta is not null || edge.OutputOf(c) < 0)))
                {
                    flags[c] = false;
                }
            }
        }
    }

    /// <summary>Moves the constants of all marked units.</summary>
    public static void Fold(ChannelGraph graph, Dictionary<UnitGroup, bool[]> remove, IReadOnlyDictionary<UnitGroup, ChannelStatistics> statistics)
    {
        foreach (UnitGroup group in graph.Groups)
        {
            float[] constants = Constants(group, remove[group], statistics);
            if (Array.TrueForAll(constants, constant => constant == 0))
            {
                continue;
            }

            foreach (Reader reader in group.Readers)
            {
                FoldInto(reader, constants);
            }

            foreach (ShortcutEdge edge in group.Outgoing)
            {
                FoldInto(edge, constants);
            }
        }
    }

    /// <summary>The mean output of each marked unit, 0 for the others; empty for a group that the census did not see.</summary>
    private static float[] Constants(UnitGroup group, bool[] flags, IReadOnlyDictionary<UnitGroup, ChannelStatistics> statistics)
    {
        if (!statistics.TryGetValue(group, out ChannelStatistics? seen))
        {
            return [];
        }

        float[] constants = new float[flags.Length];
        for (int c = 0; c < flags.Length; c++)
        {
            constants[c] = flags[c] ? (float)seen.Mean(c) : 0;
        }

        return constants;
    }

    private static void FoldInto(Reader reader, float[] constants)
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
                    int first = (o * reader.Weight.Taps + tap) * columns + reader.Offset + position * reader.Stride;
                    for (int c = 0; c < constants.Length; c++)
                    {
                        sum += (double)weight[first + c] * constants[c];
                    }
                }
            }

            // A bias is part of what a following norm sees, as the unit was; without one the norm subtracts less, hence the sign.
            values[o] += (float)(reader.Bias is null ? -sum : sum);
        }

        target.Value.CopyFrom(values);
    }

    private static void FoldInto(ShortcutEdge edge, float[] constants)
    {
        if (edge.Beta is null)
        {
            return;
        }

        float[] beta = edge.Beta.Value.ToArray();
        for (int c = 0; c < constants.Length; c++)
        {
            if (edge.OutputOf(c) is >= 0 and int output)
            {
                beta[output] += constants[c];
            }
        }

        edge.Beta.Value.CopyFrom(beta);
    }
}
