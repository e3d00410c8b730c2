using Saturn.Engine;

namespace Saturn.Prune.Methods;

/// <summary>
/// SRigL: RigL under constant fan-in, with neuron ablation. At an update a weight is salient if it is among the layer's n_keep largest |w| or the n_drop largest |∂L/∂w| of the absent; a neuron with fewer salient
/// weights than γ_sal times the fan-in is ablated, never in the last layer; the layer's budget is then shared evenly, fan-in = ⌊budget / neurons left⌋, and each neuron keeps its largest salient weights
/// and grows by gradient to exactly that. Ablated neurons are removed physically where nothing else feeds them.
/// </summary>
[Method("srigl", "RigL with the same number of weights in every neuron; neurons that would keep too few are removed.",
    "Lasby et al., \"Dynamic Sparse Training with Structured Sparsity\", ICLR 2024, arXiv 2305.02299")]
public sealed class StructuredRiggedLottery : RiggedLottery
{
    private bool ablated;

    /// <summary>γ_sal.</summary>
    [Setting("salient-share", "Share of the fan-in that must be salient, or the neuron is ablated, 0 to 1.")]
    public double SalientShare { get; set; } = 0.3;

    /// <inheritdoc/>
    public override void Validate()
    {
        base.Validate();
        Require(SalientShare is >= 0 and <= 1, "salient-share", "in [0, 1]", SalientShare);
    }

    /// <inheritdoc/>
    public override void AfterStep(PruningRun run, long stepsTaken)
    {
        if (ablated)
        {
            ablated = false;
            RemoveAblated(run);
        }
    }

    /// <summary>Picks a mask for one layer.</summary>
    /// <param name="weights">|w|, [neurons, fan-in], 0 where absent.</param>
    /// <param name="gradients">|∂L/∂w|.</param>
    /// <param name="open">The present mask; overwritten.</param>
    /// <param name="neurons">Neurons of the layer.</param>
    /// <param name="budget">Weights that the layer may have.</param>
    /// <param name="fraction">Share of the present weights that is up for exchange.</param>
    /// <param name="share">γ_sal; 0 ablates nobody.</param>
    /// <returns>Weights of every neuron that was not ablated.</returns>
    internal static int Exchange(float[] weights, float[] gradients, bool[] open, int neurons, long budget, double fraction, double share)
    {
        int length = open.Length / neurons;
        bool[] alive = [.. Enumerable.Range(0, neurons).Select(n => open.AsSpan(n * length, length).Contains(true))];
        int present = open.Count(flag => flag);
        int drop = (int)(fraction * present);
        bool[] large = new bool[open.Length];
        bool[] salient = new bool[open.Length];
        foreach (int position in WeightRanking.Highest(p => weights[p], p => open[p], open.Length, present - drop))
        {
            large[position] = salient[position] = true;
        }

        foreach (int position in WeightRanking.Highest(p => gradients[p], p => !open[p] && alive[p / length], open.Length, drop))
        {
            salient[position] = true;
        }

        int before = FanIn(budget, alive, length);
        int[] counts = [.. Enumerable.Range(0, neurons).Select(n => salient.AsSpan(n * length, length).Count(true))];
        int strongest = Array.IndexOf(counts, counts.Max());
        for (int n = 0; n < neurons; n++)
        {
            alive[n] &= n == strongest || counts[n] >= share * before;
        }

        int fanIn = FanIn(budget, alive, length);
        Array.Clear(open);
        for (int n = 0; n < neurons; n++)
        {
            if (!alive[n])
            {
                continue;
            }

            int first = n * length;
            int[] kept = WeightRanking.Highest(p => weights[first + p], p => large[first + p], length, fanIn);
            foreach (int position in kept)
            {
                open[first + position] = true;
            }

            foreach (int position in WeightRanking.Highest(p => gradients[first + p], p => !open[first + p], length, fanIn - kept.Length))
            {
                open[first + position] = true;
            }
        }

        return fanIn;
    }

    /// <inheritdoc/>
    protected override bool[] StartingMask(PruningRun run, Parameter weight, double density)
    {
        bool[] open = new bool[weight.Shape.ElementCount];
        int length = open.Length / weight.Rows;
        int fanIn = Math.Clamp((int)(density * length), 1, length);
        for (int n = 0; n < weight.Rows; n++)
        {
            int first = n * length;
            foreach (int position in WeightRanking.Lowest(p => Draw(run, weight, first + p, 0), _ => true, length, fanIn))
            {
                open[first + position] = true;
            }
        }

        return open;
    }

    /// <inheritdoc/>
    protected override void UpdateMasks(PruningRun run, long step, double fraction)
    {
        WeightMasks masks = run.UseMasks();
        Parameter last = masks.Weights.Last();
        foreach (var (weight, density) in ErkDensities(run, 1 - TargetSparsity))
        {
            bool[] open = masks.Read(weight);
            if (density >= 1)
            {
                continue;
            }

            float[] values = Array.ConvertAll(weight.Value.ToArray(), MathF.Abs);
            Exchange(values, DenseGradient(weight), open, weight.Rows, (long)(density * DenseSize(run, weight)), fraction, weight == last ? 0 : SalientShare);
            masks.Set(weight, open, run.Optimizer);
        }

        run.Accounting.CountDenseGradient(run.ImagesPerStep);
        ablated = true;
    }

    private static int FanIn(long budget, bool[] alive, int length) => (int)Math.Clamp(budget / Math.Max(1, alive.Count(flag => flag)), 1, length);

    private static void RemoveAblated(PruningRun run)
    {
        WeightMasks masks = run.UseMasks();
        Dictionary<UnitGroup, bool[]> marks = [];
        foreach (UnitGroup group in run.Graph.Groups.Where(group => group.PinnedBecause is null && group.Channels > 0))
        {
            Parameter[] filters = [.. group.Producers.Where(masks.Weights.Contains)];
            bool[] flags = new bool[group.Channels];
            Array.Fill(flags, filters.Length > 0);
            foreach (Parameter filter in filters)
            {
                bool[] open = masks.Read(filter);
                int length = open.Length / group.Channels;
                for (int c = 0; c < flags.Length; c++)
                {
                    flags[c] &= !open.AsSpan(c * length, length).Contains(true);
                }
            }

            // What an identity shortcut brings still passes through the unit.
            for (int c = 0; c < flags.Length; c++)
            {
                flags[c] &= group.Incoming.All(edge => edge.SourceOf(c) < 0);
            }

            marks[group] = flags;
        }

        if (marks.Values.Any(flags => flags.Contains(true)))
        {
            run.Remove(marks);
        }
    }
}
