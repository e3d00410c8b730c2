using Saturn.Engine;

namespace Saturn.Prune.Methods;

/// <summary>
/// Chase: dynamic sparse training that turns into channel sparsity. Weights are dropped by |w| and grown by |∂L/∂w| over the whole network at once; every so many steps the channels with the smallest mean |w| over
/// their present weights are removed, until the share of removed channels has grown to its target, S_t = S·(1 − (1 − p)³), p = t/T_stop. A layer keeps at least a given share of its channels. The
/// weights that go with a channel are grown again elsewhere at the next step, so that the share of weights stays what was asked for; where fewer channels could not hold that many weights, removals stop.
/// </summary>
[Method("chase", "Sparse from the start, exchanged over all layers together; channels that weaken are removed little by little.",
    "Yin et al., \"Dynamic Sparsity Is Channel-Level Sparsity Learner\", NeurIPS 2023, arXiv 2305.19454")]
public sealed class Chase : RiggedLottery
{
    private bool owesWeights;

    /// <summary>Creates the method with its own defaults.</summary>
    public Chase() => DropFraction = 0.05;

    /// <summary>Share of channels that is removed in the end.</summary>
    [Setting("channel-sparsity", "Share of all units that is removed in the end, 0 to 1.")]
    public double ChannelSparsity { get; set; } = 0.3;

    /// <summary>Steps between removals.</summary>
    [Setting("channel-every", "Steps from one removal of channels to the next, at least 1.")]
    public int ChannelEvery { get; set; } = 1000;

    /// <summary>When removals stop.</summary>
    [Setting("channel-stop", "When removals stop, as a share of the training.")]
    public double ChannelStop { get; set; } = 0.6;

    /// <summary>What a layer keeps.</summary>
    [Setting("keep-at-least", "Share of its channels that every layer keeps.")]
    public double KeepAtLeast { get; set; } = 0.2;

    /// <inheritdoc/>
    public override void Validate()
    {
        base.Validate();
        Require(ChannelSparsity is >= 0 and < 1, "channel-sparsity", "in [0, 1)", ChannelSparsity);
        Require(ChannelEvery >= 1, "channel-every", "at least 1", ChannelEvery);
        Require(ChannelStop is > 0 and <= 1, "channel-stop", "above 0 and at most 1", ChannelStop);
        Require(KeepAtLeast is >= 0 and <= 1, "keep-at-least", "in [0, 1]", KeepAtLeast);
    }

    /// <inheritdoc/>
    public override void AfterStep(PruningRun run, long stepsTaken)
    {
        // A step must follow the last removal, to grow again what went with it.
        long last = Math.Clamp((long)(ChannelStop * run.TotalSteps), 1, Math.Max(1, run.TotalSteps - 1));
        if (stepsTaken <= last && (stepsTaken % ChannelEvery == 0 || stepsTaken == last))
        {
            double left = 1 - (double)stepsTaken / last;
            RemoveChannels(run, ChannelSparsity * (1 - left * left * left));
        }
    }

    /// <inheritdoc/>
    public override void Save(MethodState state)
    {
        base.Save(state);
        state.Numbers["owes-weights"] = owesWeights ? 1 : 0;
    }

    /// <inheritdoc/>
    public override void Load(MethodState state)
    {
        base.Load(state);
        owesWeights = state.Number("owes-weights") != 0;
    }

    /// <inheritdoc/>
    protected override bool IsUpdateDue(PruningRun run, long step) => owesWeights || base.IsUpdateDue(run, step);

    /// <inheritdoc/>
    protected override void UpdateMasks(PruningRun run, long step, double fraction)
    {
        WeightMasks masks = run.UseMasks();
        Parameter[] weights = [.. masks.Weights];
        bool[] open = [.. weights.SelectMany(masks.Read)];
        float[] magnitudes = [.. weights.SelectMany(weight => Array.ConvertAll(weight.Value.ToArray(), MathF.Abs))];
        float[] gradients = [.. weights.SelectMany(DenseGradient)];

        // The published rate is constant; the fraction's cosine belongs to RigL. After a removal weights are grown only.
        int drop = base.IsUpdateDue(run, step) ? (int)(DropFraction * open.Count(flag => flag)) : 0;
        owesWeights = false;
        foreach (int position in WeightRanking.Lowest(p => magnitudes[p], p => open[p], open.Length, drop))
        {
            open[position] = false;
        }

        int grow = (int)Math.Clamp(Budget(run) - open.Count(flag => flag), 0, open.Length);
        foreach (int position in WeightRanking.Highest(p => gradients[p], p => !open[p], open.Length, grow))
        {
            open[position] = true;
        }

        int first = 0;
        foreach (Parameter weight in weights)
        {
            int length = (int)weight.Shape.ElementCount;
            masks.Set(weight, open.AsSpan(first, length), run.Optimizer);
            first += length;
        }

        run.Accounting.CountDenseGradient(run.ImagesPerStep);
    }

    private void RemoveChannels(PruningRun run, double sparsity)
    {
        long total = run.Accounting.TotalUnits;
        int count = (int)(sparsity * total) - (int)(total - run.Accounting.LiveUnits);
        if (count <= 0)
        {
            return;
        }

        WeightMasks masks = run.UseMasks();
        Dictionary<string, int> denseWidths = run.Accounting.Dense.Groups.ToDictionary(group => group.Name, group => group.Channels);
        List<(UnitIndex Unit, double Score)> ranked = [];
        Dictionary<UnitGroup, int> room = [];
        foreach (UnitGroup group in run.Graph.Groups.Where(group => group.PinnedBecause is null && group.Channels > 0))
        {
            double[] sums = new double[group.Channels];
            long[] present = new long[group.Channels];
            foreach (Parameter filter in group.Producers.Where(masks.Weights.Contains))
            {
                float[] values = filter.Value.ToArray();
                bool[] open = masks.Read(filter);
                int length = values.Length / group.Channels;
                for (int i = 0; i < values.Length; i++)
                {
                    sums[i / length] += Math.Abs(values[i]);
                    present[i / length] += open[i] ? 1 : 0;
                }
            }

            ranked.AddRange(sums.Select((sum, c) => (new UnitIndex(group, c), sum / Math.Max(1, present[c]))));
            room[group] = group.Channels - Math.Max(1, (int)Math.Ceiling(KeepAtLeast * denseWidths[group.Name]));
        }

        // All parameters that the network must keep to hold its share of weights.
        long least = Budget(run) + run.Accounting.DenseParameters - run.Accounting.Dense.Layers.Sum(layer => layer.Parameters);
        RemovalPreview preview = new(run);
        Dictionary<UnitGroup, bool[]> marks = run.Graph.Groups.ToDictionary(group => group, group => new bool[group.Channels]);
        foreach (UnitIndex unit in ranked.OrderBy(entry => entry.Score).Select(entry => entry.Unit))
        {
            if (count > 0 && room[unit.Group] > 0)
            {
                preview.Remove(unit.Group);
                if (preview.Counts.Parameters < least)
                {
                    run.Warn($"No more channels go: with fewer than {run.Accounting.LiveUnits - marks.Values.Sum(flags => flags.Count(flag => flag))} units the network could not hold the {1 - TargetSparsity:P1} of its weights that --target-sparsity leaves.");
                    break;
                }

                marks[unit.Group][unit.Channel] = true;
                room[unit.Group]--;
                count--;
            }
        }

        owesWeights |= run.Remove(marks) > 0;
    }

    private long Budget(PruningRun run) => (long)Math.Round((1 - TargetSparsity) * run.Accounting.Dense.Layers.Sum(layer => layer.Parameters));
}
