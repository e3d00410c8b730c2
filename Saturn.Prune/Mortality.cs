using Saturn.Engine;
using Saturn.Kernels.Families;

namespace Saturn.Prune;

/// <summary>Who was dead at one moment of a run; units that were removed count as dead.</summary>
public sealed record DeathCount
{
    /// <summary>Steps taken.</summary>
    public long Step { get; init; }

    /// <summary>Units of the dense network.</summary>
    public long Units { get; init; }

    /// <summary>Units dead now.</summary>
    public long Dead { get; init; }

    /// <summary>Dead now, by unit group of the dense network.</summary>
    public IReadOnlyList<int> DeadByGroup { get; init; } = [];

    /// <summary>Units dead now that were alive at the last count.</summary>
    public long Died { get; init; }

    /// <summary>Units alive now that were dead at the last count.</summary>
    public long Revived { get; init; }

    /// <summary>Units that were dead at this count or any before.</summary>
    public long EverDead { get; init; }

    /// <summary>|X∩Y|/min(|X|, |Y|) of those dead at any earlier count, X, and those dead now, Y ("Maxwell's Demon at Work", Fig. 8); null while one is empty.</summary>
    public double? Overlap { get; init; }

    /// <summary>|X∩Y|/|X|, as the paper's authors' code has it: the share of the ever-dead that is dead now.</summary>
    public double? OverlapOfEver { get; init; }

    /// <summary>Units dead on all training images; null unless they were counted.</summary>
    public long? DeadOnAll { get; init; }

    /// <summary>Units dead on the sample that are alive on some training image; null unless those were counted.</summary>
    public long? FalselyDead { get; init; }
}

/// <summary>Follows death and revival over a run, unit by unit under their numbers in the dense network.</summary>
/// <param name="dense">The dense network's groups.</param>
/// <param name="threshold">ε of the count: no value above it, or for GELU and SiLU no magnitude of it or more. Null: each group's own.</param>
public sealed class Mortality(DenseNetwork dense, double? threshold = null)
{
    private bool[] before = [];
    private bool[] ever = [];

    /// <summary>Takes one count.</summary>
    /// <param name="step">Steps taken.</param>
    /// <param name="graph">The network as it is.</param>
    /// <param name="sample">A census of the sample.</param>
    /// <param name="all">A census of all training images; null if none was taken.</param>
    public DeathCount Count(
        long step, ChannelGraph graph, IReadOnlyDictionary<UnitGroup, ChannelStatistics> sample, IReadOnlyDictionary<UnitGroup, ChannelStatistics>? all = null)
    {
        bool[] now = Dead(graph, sample);
        bool first = before.Length == 0;
        if (first)
        {
            before = new bool[now.Length];
            ever = new bool[now.Length];
        }

        long both = CountWhere(now.Length, i => ever[i] && now[i]);
        long everBefore = CountWhere(now.Length, i => ever[i]);
        long dead = CountWhere(now.Length, i => now[i]);
        bool[]? onAll = all is null ? null : Dead(graph, all);
        DeathCount count = new()
        {
            Step = step,
            Units = now.Length,
            Dead = dead,
            DeadByGroup = ByGroup(now),
            Died = first ? dead : CountWhere(now.Length, i => now[i] && !before[i]),
            Revived = CountWhere(now.Length, i => !now[i] && before[i]),
            EverDead = CountWhere(now.Length, i => ever[i] || now[i]),
            Overlap = Math.Min(everBefore, dead) == 0 ? null : (double)both / Math.Min(everBefore, dead),
            OverlapOfEver = everBefore == 0 ? null : (double)both / everBefore,
            DeadOnAll = onAll is null ? null : CountWhere(now.Length, i => onAll[i]),
            FalselyDead = onAll is null ? null : CountWhere(now.Length, i => now[i] && !onAll[i]),
        };
        for (int i = 0; i < now.Length; i++)
        {
            ever[i] |= now[i];
        }

        before = now;
        return count;
    }

    /// <summary>What a checkpoint must hold: for every unit 1 if it was dead at the last count, plus 2 if it was ever dead.</summary>
    public float[] Save() => [.. before.Select((dead, i) => (dead ? 1f : 0) + (ever[i] ? 2 : 0))];

    /// <summary>Takes back what <see cref="Save"/> gave.</summary>
    public void Load(float[] state)
    {
        before = Array.ConvertAll(state, value => ((int)value & 1) != 0);
        ever = Array.ConvertAll(state, value => ((int)value & 2) != 0);
    }

    private static long CountWhere(int length, Func<int, bool> condition)
    {
        long count = 0;
        for (int i = 0; i < length; i++)
        {
            count += condition(i) ? 1 : 0;
        }

        return count;
    }

    private bool[] Dead(ChannelGraph graph, IReadOnlyDictionary<UnitGroup, ChannelStatistics> statistics)
    {
        // Whatever is no longer in the network is dead.
        bool[] dead = new bool[dense.Groups.Sum(group => group.Channels)];
        Array.Fill(dead, true);
        Dictionary<string, UnitGroup> present = graph.Groups.ToDictionary(group => group.Name);
        int first = 0;
        foreach (GroupWidth width in dense.Groups)
        {
            if (present.TryGetValue(width.Name, out UnitGroup? group))
            {
                ChannelActivity activity = group.Activity;
                ChannelStatistics seen = statistics[group];
                double limit = threshold ?? activity.Threshold;
                for (int c = 0; c < group.Channels; c++)
                {
                    dead[first + (activity.OriginalChannels?[c] ?? c)] = activity.Criterion == ActivityCriterion.AboveThreshold
                        ? seen.Maximum[c] <= limit
                        : seen.Maximum[c] < limit && -seen.Minimum[c] < limit;
                }
            }

            first += width.Channels;
        }

        return dead;
    }

    private int[] ByGroup(bool[] dead)
    {
        int first = 0;
        int[] counts = new int[dense.Groups.Count];
        for (int g = 0; g < counts.Length; g++)
        {
            counts[g] = dead.AsSpan(first, dense.Groups[g].Channels).Count(true);
            first += dense.Groups[g].Channels;
        }

        return counts;
    }
}
