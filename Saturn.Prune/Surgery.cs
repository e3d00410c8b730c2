using Saturn.Engine;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers;

namespace Saturn.Prune;

/// <summary>What a removal did.</summary>
/// <param name="Removed">Units removed.</param>
/// <param name="Warnings">What the user should know, one sentence each.</param>
public sealed record SurgeryReport(int Removed, IReadOnlyList<string> Warnings);

/// <summary>
/// Removes units physically: rows of everything that produces them, columns of everything that reads them, in weights, biases, normalizations, running
/// statistics, optimizer moments and original indices, all in one gather. Shortcut maps are composed. On data where the removed units were zero (or
/// constant), the network computes what it did before.
/// </summary>
public static class Surgery
{
    /// <summary>Removes the marked units.</summary>
    /// <param name="model">The model.</param>
    /// <param name="graph">Its channel graph; stale afterwards, trace it again.</param>
    /// <param name="marks">For each group, one flag a channel; groups that are not named lose nothing.</param>
    /// <param name="statistics">The census: for keeping the most active channel where all are marked, and for the constants that are folded. Null: nothing is folded.</param>
    /// <param name="optimizer">Whose moments go along; null for none.</param>
    /// <param name="tied">Whether groups joined by identity shortcuts keep the same channels.</param>
    /// <param name="masks">Masks on single weights, which are gathered with them; null for none.</param>
    /// <param name="scores">Who is kept where a whole layer is marked: the unit with the highest score. Null: the most active of the census.</param>
    /// <exception cref="ArgumentException">A group's flags are not as many as its channels.</exception>
    /// <exception cref="InvalidOperationException">Channels were removed since the graph was traced.</exception>
    public static SurgeryReport Remove(
        Module model, ChannelGraph graph, IReadOnlyDictionary<UnitGroup, bool[]> marks, IReadOnlyDictionary<UnitGroup, ChannelStatistics>? statistics, Optimizer? optimizer,
        bool tied = false, WeightMasks? masks = null, IReadOnlyDictionary<UnitGroup, double[]>? scores = null)
    {
        List<string> warnings = [];
        Dictionary<UnitGroup, bool[]> remove = [];
        foreach (UnitGroup group in graph.Groups)
        {
            group.RequireFresh();
            remove[group] = group.PinnedBecause is null && marks.TryGetValue(group, out bool[]? flags) ? CopyFlags(group, flags) : new bool[group.Channels];
        }

        if (statistics is not null)
        {
            ConstantFolding.KeepWhatCannotBeFolded(graph, remove, statistics);
        }

        if (tied)
        {
            Tie(graph, remove);
        }

        foreach (UnitGroup group in graph.Groups)
        {
            KeepWhatMustStay(group, remove[group], statistics?.GetValueOrDefault(group), scores?.GetValueOrDefault(group), warnings);
        }

        if (tied)
        {
            // A unit that one group kept stays in all that are tied to it.
            Tie(graph, remove);
        }

        if (!remove.Values.Any(flags => Array.Exists(flags, flag => flag)))
        {
            return new SurgeryReport(0, warnings);
        }

        if (statistics is not null)
        {
            ConstantFolding.Fold(graph, remove, statistics);
        }

        Dictionary<UnitGroup, int[]> kept = remove.ToDictionary(
            pair => pair.Key, pair => Enumerable.Range(0, pair.Value.Length).Where(c => !pair.Value[c]).ToArray());
        DropEmptyBranches(graph, kept, optimizer);
        Gather(model.Device, graph, kept, optimizer, masks);
        foreach (UnitGroup group in graph.Groups)
        {
            if (kept[group].Length == group.Channels || group.Producers.All(producer => producer.IsRemoved))
            {
                continue;
            }

            int[]? original = group.Activity.OriginalChannels;
            group.Activity.OriginalChannels = [.. kept[group].Select(c => original is null ? c : original[c])];
        }

        foreach (UnitGroup group in graph.Groups)
        {
            foreach (ShortcutEdge edge in group.Incoming)
            {
                edge.Link.SetMap(Compose(edge, kept[edge.Source], kept[group]));
            }
        }

        foreach (UnitGroup group in graph.Groups)
        {
            if (group.Activity.Channels != kept[group].Length)
            {
                group.Activity.Resize(kept[group].Length);
            }
        }

        model.Device.Memory.Trim();
        return new SurgeryReport(remove.Sum(pair => pair.Value.Length - kept[pair.Key].Length), warnings);
    }

    private static bool[] CopyFlags(UnitGroup group, bool[] flags) => flags.Length == group.Channels
        ? (bool[])flags.Clone()
        : throw new ArgumentException($"{group.Name} has {group.Channels} channels, but {flags.Length} were marked; give one flag a channel.");

    /// <summary>Groups joined by identity shortcuts lose only what all of them lose.</summary>
    private static void Tie(ChannelGraph graph, Dictionary<UnitGroup, bool[]> remove)
    {
        bool changed = true;
        while (changed)
        {
            changed = false;
            foreach (ShortcutEdge edge in graph.Groups.SelectMany(group => group.Incoming))
            {
                bool[] source = remove[edge.Source];
                bool[] target = remove[edge.Target];
                for (int c = 0; c < target.Length; c++)
                {
                    int from = edge.SourceOf(c);
                    if (from >= 0 && source[from] != target[c])
                    {
                        source[from] = target[c] = false;
                        changed = true;
                    }
                }
            }
        }
    }

    private static void KeepWhatMustStay(UnitGroup group, bool[] remove, ChannelStatistics? statistics, double[]? scores, List<string> warnings)
    {
        if (remove.Length == 0 || !Array.TrueForAll(remove, flag => flag) || group.Activity.AllRemoved is not null)
        {
            return;
        }

        int best = 0;
        for (int c = 1; c < remove.Length; c++)
        {
            bool better = scores is not null
                ? scores[c] > scores[best]
                : statistics is not null
                  && (statistics.Maximum[c] > statistics.Maximum[best] || (statistics.Maximum[c] == statistics.Maximum[best] && statistics.Sum[c] > statistics.Sum[best]));
            if (better)
            {
                best = c;
            }
        }

        remove[best] = false;
        string which = scores is not null ? "the one with the highest score" : "the most active one";
        warnings.Add(remove.Length == 1
                ? $"The only unit of {group.Name} was to go; it is kept, since nothing leads around this layer."
                : $"All {remove.Length} units of {group.Name} were to go; {which} is kept, since nothing leads around this layer.");
    }

    private static void DropEmptyBranches(ChannelGraph graph, Dictionary<UnitGroup, int[]> kept, Optimizer? optimizer)
    {
        foreach (UnitGroup group in graph.Groups)
        {
            if (kept[group].Length == 0 && group.Channels > 0)
            {
                group.Activity.AllRemoved!();
            }
        }

        foreach (Parameter parameter in optimizer?.Groups.SelectMany(group => group.Parameters).Where(parameter => parameter.IsRemoved) ?? [])
        {
            optimizer!.DropMoments(parameter);
        }

        foreach (UnitGroup group in graph.Groups)
        {
            if (group.Producers.Count > 0 && group.Producers.All(parameter => parameter.IsRemoved))
            {
                kept[group] = [];
            }
        }
    }

    private static void Gather(Device device, ChannelGraph graph, Dictionary<UnitGroup, int[]> kept, Optimizer? optimizer, WeightMasks? masks)
    {
        Dictionary<Parameter, int[]> rows = [];
        Dictionary<Parameter, bool[]> columns = [];
        foreach (UnitGroup group in graph.Groups.Where(group => kept[group].Length != group.Channels))
        {
            foreach (Parameter producer in group.Producers.Where(producer => !producer.IsRemoved))
            {
                rows[producer] = kept[group];
            }

            foreach (Reader reader in group.Readers.Where(reader => !reader.Weight.IsRemoved))
            {
                if (!columns.TryGetValue(reader.Weight, out bool[]? stay))
                {
                    columns[reader.Weight] = stay = new bool[reader.Weight.Columns];
                    Array.Fill(stay, true);
                }

                bool[] channel = new bool[group.Channels];
                foreach (int c in kept[group])
                {
                    channel[c] = true;
                }

                for (int position = 0; position < reader.Positions; position++)
                {
                    for (int c = 0; c < channel.Length; c++)
                    {
                        stay[reader.Offset + position * reader.Stride + c] = channel[c];
                    }
                }
            }
        }

        List<GatherJob> jobs = [];
        List<Action> replacements = [];
        List<ChannelIndices> indices = [];
        foreach (Parameter parameter in rows.Keys.Union(columns.Keys))
        {
            Plan(
                device, parameter, rows.GetValueOrDefault(parameter),
                columns.TryGetValue(parameter, out bool[]? stay) ? [.. Enumerable.Range(0, stay.Length).Where(c => stay[c])] : null, optimizer, masks, jobs, replacements, indices);
        }

        device.Compaction.Gather(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(jobs));
        foreach (Action replace in replacements)
        {
            replace();
        }

        foreach (ChannelIndices list in indices)
        {
            list.Dispose();
        }
    }

    private static void Plan(
        Device device, Parameter parameter, int[]? rows, int[]? columns, Optimizer? optimizer, WeightMasks? masks, List<GatherJob> jobs, List<Action> replacements,
        List<ChannelIndices> indices)
    {
        bool vector = parameter.Shape.Rank == 1;
        Shape shape = parameter.Shape;
        if (rows is not null)
        {
            shape = shape.With(0, rows.Length);
        }

        if (columns is not null)
        {
            shape = shape.With(-1, columns.Length);
        }

        DeviceBuffer rowIndex = OnDevice(rows);
        DeviceBuffer columnIndex = OnDevice(columns);
        Tensor value = Planned(parameter.Value);
        Tensor[] moments = [.. (optimizer?.MomentsOf(parameter) ?? []).Select(Planned)];
        Tensor mask = masks is not null && masks.Weights.Contains(parameter) ? Planned(masks[parameter]) : default;
        ChannelIndices? originalRows = rows is null ? parameter.OriginalRows : Select(parameter.OriginalRows, rows);
        ChannelIndices? originalColumns = columns is null ? parameter.OriginalColumns : Select(parameter.OriginalColumns, columns);
        replacements.Add(() =>
        {
            if (moments.Length > 0)
            {
                optimizer!.ReplaceMoments(parameter, moments);
            }

            parameter.Replace(value);
            if (!mask.IsNone)
            {
                masks!.Replace(parameter, mask);
            }

            if (rows is not null)
            {
                parameter.OriginalRows?.Dispose();
                parameter.OriginalRows = originalRows;
            }

            if (columns is not null)
            {
                parameter.OriginalColumns?.Dispose();
                parameter.OriginalColumns = originalColumns;
            }
        });

        DeviceBuffer OnDevice(int[]? list)
        {
            if (list is null)
            {
                return DeviceBuffer.None;
            }

            ChannelIndices onDevice = new(list);
            indices.Add(onDevice);
            return onDevice.On(device);
        }

        Tensor Planned(Tensor source)
        {
            Tensor target = Tensor.AllocateUnscoped(device, shape);
            jobs.Add(vector
                ? new GatherJob(source.Buffer, target.Buffer, 1, 1, shape.Channels, 1, source.Shape.Channels, DeviceBuffer.None, rowIndex)
                : new GatherJob(source.Buffer, target.Buffer, shape[0], parameter.Taps, shape.Channels, source.Shape[0], source.Shape.Channels, rowIndex, columnIndex));
            return target;
        }

        static ChannelIndices Select(ChannelIndices? original, int[] list) => original is null ? new ChannelIndices([.. list]) : original.Select(list);
    }

    private static ShortcutMap Compose(ShortcutEdge edge, int[] keptSource, int[] keptTarget)
    {
        Dictionary<int, int> position = keptSource.Select((channel, index) => (channel, index)).ToDictionary(pair => pair.channel, pair => pair.index);
        int[] sources = new int[keptTarget.Length];
        for (int i = 0; i < sources.Length; i++)
        {
            sources[i] = position.GetValueOrDefault(edge.SourceOf(keptTarget[i]), -1);
        }

        return new ShortcutMap(sources, keptSource.Length);
    }
}
