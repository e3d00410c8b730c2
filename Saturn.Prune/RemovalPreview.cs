using Saturn.Engine;

namespace Saturn.Prune;

/// <summary>One unit of a network.</summary>
/// <param name="Group">Its group.</param>
/// <param name="Channel">Its channel in the group.</param>
public readonly record struct UnitIndex(UnitGroup Group, int Channel);

/// <summary>Counts what a network would be after a removal, without removing anything.</summary>
public sealed class RemovalPreview
{
    private readonly ChannelGraph graph;
    private readonly NetworkCounts dense;
    private readonly Dictionary<UnitGroup, int> kept;
    private readonly List<Entry> entries = [];
    private readonly Dictionary<UnitGroup, List<Entry>> entriesOf = [];
    private long units;
    private double parameters;
    private double flops;

    /// <summary>Begins with the network as it is.</summary>
    /// <param name="run">The run.</param>
    public RemovalPreview(PruningRun run)
    {
        graph = run.Graph;
        dense = run.Accounting.DenseCounts;
        kept = graph.Groups.ToDictionary(group => group, group => group.Channels);
        foreach (UnitGroup group in graph.Groups)
        {
            entriesOf[group] = [];
            units += group.Channels;
        }

        foreach (Parameter parameter in run.Model.Parameters.Where(parameter => parameter.IsTrained))
        {
            Entry entry = new(
                parameter.Rows, parameter.Columns, parameter.Taps, graph.LayerOf(parameter)?.Flops ?? 0,
                graph.Groups.FirstOrDefault(group => group.Producers.Contains(parameter)),
                [.. graph.Groups.SelectMany(group => group.Readers.Where(reader => reader.Weight == parameter).Select(reader => (group, reader.Positions)))]);
            entries.Add(entry);
            foreach (UnitGroup group in entry.Readers.Select(reader => reader.Group).Append(entry.Producer).OfType<UnitGroup>().Distinct())
            {
                entriesOf[group].Add(entry);
            }

            parameters += entry.Parameters(kept);
            flops += entry.Flops(kept);
        }

        // Operations without a weight, such as the products of attention, stay what they are.
        flops += graph.Layers.Sum(layer => layer.Flops) - entries.Sum(entry => entry.Cost);
    }

    /// <summary>Refuses a target that is beyond what is left with one unit in every layer.</summary>
    /// <exception cref="ArgumentException">One sentence with the most that is possible.</exception>
    public static void RequirePossible(PruningRun run, double target, SparsityMetric metric)
    {
        RemovalPreview all = new(run);
        foreach (UnitGroup group in run.Graph.Groups.Where(group => group.PinnedBecause is null && group.Channels > 0))
        {
            all.Remove(group, group.Channels - 1);
        }

        double most = all.Sparsity(metric);
        if (most < target)
        {
            throw new ArgumentException(
                $"A sparsity of {target:0.#####} of {metric.ToString().ToLowerInvariant()} cannot be met: with one unit left in every layer, the network has {most:0.###}. Ask for at most {Math.Floor(most * 1000) / 1000:0.###}, or for another --target-metric.");
        }
    }

    /// <summary>The counts after the removals so far.</summary>
    public NetworkCounts Counts => new(units, (long)Math.Round(parameters), (long)Math.Round(flops));

    /// <summary>The sparsity after the removals so far.</summary>
    public double Sparsity(SparsityMetric metric) => Counts.Sparsity(metric, dense);

    /// <summary>Takes one unit of a group away (or, with −1, back).</summary>
    public void Remove(UnitGroup group, int count = 1)
    {
        Count(group, -1);
        kept[group] -= count;
        units -= count;
        Count(group, 1);
    }

    /// <summary>
    /// Removes units in the given order until the sparsity is as near to the target as one unit allows.
    /// </summary>
    /// <returns>How many of them were taken.</returns>
    public int RemoveUntil(IReadOnlyList<UnitIndex> order, double target, SparsityMetric metric)
    {
        double before = Sparsity(metric);
        for (int i = 0; i < order.Count; i++)
        {
            if (before >= target)
            {
                return i;
            }

            Remove(order[i].Group);
            double after = Sparsity(metric);
            if (after > target && after - target > target - before)
            {
                Remove(order[i].Group, -1);
                return i;
            }

            before = after;
        }

        return order.Count;
    }

    private void Count(UnitGroup group, int sign)
    {
        foreach (Entry entry in entriesOf[group])
        {
            parameters += sign * entry.Parameters(kept);
            flops += sign * entry.Flops(kept);
        }
    }

    /// <summary>A parameter, with the groups whose channels are its rows and columns.</summary>
    private sealed record Entry(int Rows, int Columns, int Taps, long Cost, UnitGroup? Producer, (UnitGroup Group, int Positions)[] Readers)
    {
        public double Parameters(Dictionary<UnitGroup, int> kept) => RowsLeft(kept) * ColumnsLeft(kept) * Taps;

        public double Flops(Dictionary<UnitGroup, int> kept) => Cost == 0 ? 0 : Cost * (RowsLeft(kept) / Rows) * (ColumnsLeft(kept) / Columns);

        private double RowsLeft(Dictionary<UnitGroup, int> kept) => Producer is null ? Rows : kept[Producer];

        private double ColumnsLeft(Dictionary<UnitGroup, int> kept)
        {
            double columns = Columns;
            foreach (var (group, positions) in Readers)
            {
                columns -= (double)(group.Channels - kept[group]) * positions;
            }

            return columns;
        }
    }
}
