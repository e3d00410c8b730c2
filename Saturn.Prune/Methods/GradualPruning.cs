using Saturn.Engine;

namespace Saturn.Prune.Methods;

/// <summary>
/// Masks weights little by little while the network trains: s_t = s·(1 − (1 − p)³), p the progress between start and end (Zhu and Gupta, "To Prune, or Not to Prune", 2017; Gale et al. 2019, whose "magnitude v2"
/// spares the first and the last layer). A weight that was masked stays so.
/// </summary>
public abstract class GradualPruning : MaskedPruning
{
    /// <summary>When masking begins.</summary>
    [Setting("start", "When masking begins, as a share of the training.")]
    public double Start { get; set; } = 0.2;

    /// <summary>When the target is reached.</summary>
    [Setting("end", "When the target is reached, as a share of the training.")]
    public double End { get; set; } = 0.7;

    /// <summary>How the sparsity is spread.</summary>
    [Setting("distribution", "How the sparsity is spread over the layers: uniform, erk or global (one ranking, each layer divided by its norm).")]
    public SparsityDistribution Distribution { get; set; } = SparsityDistribution.Uniform;

    /// <summary>Whether the ends are spared.</summary>
    [Setting("spare-ends", "Whether the first and the last layer stay dense; the others then take the whole target.")]
    public bool SpareEnds { get; set; } = true;

    /// <summary>Whether scores need gradients.</summary>
    protected abstract bool NeedsGradients { get; }

    /// <inheritdoc/>
    public override void Validate()
    {
        base.Validate();
        Require(Start is >= 0 and < 1, "start", "in [0, 1)", Start);
        Require(End > Start && End <= 1, "end", "above start and at most 1", End);
    }

    /// <summary>The sparsity of the moment.</summary>
    public double SparsityAt(long step, long totalSteps)
    {
        long first = (long)(Start * totalSteps);
        long last = Math.Max(first + 1, (long)(End * totalSteps));
        double left = 1 - Math.Clamp((double)(step - first) / (last - first), 0, 1);
        return TargetSparsity * (1 - left * left * left);
    }

    /// <inheritdoc/>
    public override void Begin(PruningRun run)
    {
        var weights = Masked(run);
        double most = weights.Sum(weight => (double)DenseSize(run, weight)) / run.UseMasks().Weights.Sum(weight => DenseSize(run, weight));
        if (most <= TargetSparsity)
        {
            throw new ArgumentException(
                $"A sparsity of {TargetSparsity:0.###} cannot be met while the first and the last layer stay dense: the others hold {most:0.###} of the weights. Ask for less, or use --set spare-ends=off.");
        }
    }

    /// <inheritdoc/>
    public override void BeforeUpdate(PruningRun run, long step)
    {
        long first = (long)(Start * run.TotalSteps);
        long last = Math.Max(first + 1, (long)(End * run.TotalSteps));
        if (step > first && step <= last && ((step - first) % UpdateEvery == 0 || step == last))
        {
            Mask(run, SparsityAt(step, run.TotalSteps));
        }
    }

    /// <summary>The score of every weight; the lowest go.</summary>
    protected abstract float[] Scores(Parameter weight);

    private Parameter[] Masked(PruningRun run)
    {
        Parameter[] weights = [.. run.UseMasks().Weights];
        return SpareEnds && weights.Length > 2 ? weights[1..^1] : weights;
    }

    private void Mask(PruningRun run, double sparsity)
    {
        WeightMasks masks = run.UseMasks();
        Parameter[] weights = Masked(run);
        double all = masks.Weights.Sum(weight => (double)DenseSize(run, weight));
        double own = weights.Sum(weight => (double)DenseSize(run, weight));
        double share = sparsity * all / own;
        if (Distribution == SparsityDistribution.Global)
        {
            MaskGlobally(run, weights, (long)Math.Round(share * own));
        }
        else
        {
            double[] densities = Distribution == SparsityDistribution.Erk
                ? LayerDensities.Erk([.. weights.Select(weight => DenseLayer(run, weight).WeightShape)], 1 - share)
                : [.. weights.Select(_ => 1 - share)];
            for (int i = 0; i < weights.Length; i++)
            {
                float[] scores = Scores(weights[i]);
                bool[] open = masks.Read(weights[i]);
                Close(open, WeightRanking.Lowest(p => scores[p], p => open[p], open.Length, (int)Math.Round((1 - densities[i]) * open.Length) - open.Count(flag => !flag)));
                masks.Set(weights[i], open, run.Optimizer);
            }
        }

        if (NeedsGradients)
        {
            run.Accounting.CountDenseGradient(run.ImagesPerStep);
        }

        run.CountWeights();
    }

    private void MaskGlobally(PruningRun run, Parameter[] weights, long absent)
    {
        WeightMasks masks = run.UseMasks();
        List<float> scores = [];
        List<bool> open = [];
        foreach (Parameter weight in weights)
        {
            float[] own = Scores(weight);
            float norm = MathF.Max(MathF.Sqrt((float)own.Sum(value => (double)value * value)), float.Epsilon);
            scores.AddRange(own.Select(value => value / norm));
            open.AddRange(masks.Read(weight));
        }

        bool[] all = [.. open];
        Close(all, WeightRanking.Lowest(p => scores[p], p => all[p], all.Length, (int)absent - all.Count(flag => !flag)));
        int first = 0;
        foreach (Parameter weight in weights)
        {
            int length = (int)weight.Shape.ElementCount;
            masks.Set(weight, all.AsSpan(first, length), run.Optimizer);
            first += length;
        }
    }

    private static void Close(bool[] open, int[] positions)
    {
        foreach (int position in positions)
        {
            open[position] = false;
        }
    }
}

/// <summary>Gradual magnitude pruning: |w|.</summary>
[Method("magnitude", "Single weights, little by little: the smallest are masked.", "Zhu, Gupta, arXiv 1710.01878; Gale, Elsen, Hooker, arXiv 1902.09574 (\"magnitude v2\")")]
public sealed class MagnitudePruning : GradualPruning
{
    /// <inheritdoc/>
    protected override bool NeedsGradients => false;

    /// <inheritdoc/>
    protected override float[] Scores(Parameter weight) => Array.ConvertAll(weight.Value.ToArray(), MathF.Abs);
}

/// <summary>Gradual saliency pruning: |w·∂L/∂w| of the batch at hand.</summary>
[Method("saliency", "Single weights, little by little: those with the smallest |weight times gradient| are masked.", "Molchanov et al., arXiv 1611.06440, as in JaxPruner, arXiv 2304.14082")]
public sealed class SaliencyPruning : GradualPruning
{
    /// <inheritdoc/>
    protected override bool NeedsGradients => true;

    /// <inheritdoc/>
    protected override float[] Scores(Parameter weight)
    {
        float[] values = weight.Value.ToArray();
        float[] gradient = weight.HasGradient ? weight.Gradient.ToArray() : new float[values.Length];
        return [.. values.Zip(gradient, (w, g) => MathF.Abs(w * g))];
    }
}
