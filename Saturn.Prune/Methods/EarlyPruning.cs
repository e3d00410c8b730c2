using Saturn.Engine;
using Saturn.Prune.Scores;

namespace Saturn.Prune.Methods;

/// <summary>
/// Pruning once, early: with r_e = ‖θ_e − θ_0‖/‖θ_0‖ after epoch e, at the end of the first epoch whose signed change r_e − r_{e−1} is below r_1·min(0.9 − s, 0.99), s the target, whatever it counts, and at the
/// latest at a quarter of the training (Rachwan et al. 2022, as their code has it). θ are all trained parameters.
/// </summary>
public abstract class EarlyPruning : StructuredPruning
{
    private const double LatestShare = 0.25;
    private readonly Dictionary<string, float[]> start = [];
    private double first;
    private double last;
    private bool pruned;

    /// <summary>Batches of a score.</summary>
    [Setting("batches", "Batches of training images behind a score, at least 1.")]
    public int Batches { get; set; } = 10;

    /// <summary>Whether to prune after an epoch.</summary>
    /// <param name="change">r_e − r_{e−1}.</param>
    /// <param name="firstDistance">r_1.</param>
    /// <param name="sparsity">s.</param>
    public static bool IsTime(double change, double firstDistance, double sparsity) => change < firstDistance * Math.Min(0.9 - sparsity, 0.99);

    /// <inheritdoc/>
    public override void Validate()
    {
        base.Validate();
        Require(Batches >= 1, "batches", "at least 1", Batches);
    }

    /// <inheritdoc/>
    public override void AtStart(PruningRun run)
    {
        foreach (Parameter parameter in run.Model.Parameters.Where(parameter => parameter.IsTrained))
        {
            start[parameter.Name] = parameter.Value.ToArray();
        }
    }

    /// <inheritdoc/>
    public override void AfterStep(PruningRun run, long stepsTaken)
    {
        if (pruned)
        {
            return;
        }

        bool isLatest = stepsTaken >= Math.Max(1, (long)(LatestShare * run.TotalSteps));
        if (stepsTaken % run.StepsPerEpoch != 0 && !isLatest)
        {
            return;
        }

        long epoch = (stepsTaken + run.StepsPerEpoch - 1) / run.StepsPerEpoch;
        double distance = Distance(run);
        first = epoch == 1 ? distance : first;
        bool isTime = epoch > 1 && stepsTaken % run.StepsPerEpoch == 0 && IsTime(distance - last, first, TargetSparsity);
        if (isTime || isLatest)
        {
            run.Warn($"Pruned after step {stepsTaken}, in epoch {epoch}: {(isTime ? "the weights' distance from their start had stopped growing" : "a quarter of the training was over")}.");
            PruneTo(run, TargetSparsity);
            pruned = true;
            start.Clear();
        }

        last = distance;
    }

    /// <inheritdoc/>
    public override void Save(MethodState state)
    {
        state.Numbers["first"] = first;
        state.Numbers["last"] = last;
        state.Numbers["pruned"] = pruned ? 1 : 0;
        foreach (var (name, values) in start)
        {
            state.Arrays["start." + name] = values;
        }
    }

    /// <inheritdoc/>
    public override void Load(MethodState state)
    {
        first = state.Number("first");
        last = state.Number("last");
        pruned = state.Number("pruned") != 0;
        foreach (var (name, values) in state.Arrays.Where(pair => pair.Key.StartsWith("start.", StringComparison.Ordinal)))
        {
            start[name["start.".Length..]] = values;
        }
    }

    private double Distance(PruningRun run)
    {
        double moved = 0;
        double norm = 0;
        foreach (Parameter parameter in run.Model.Parameters.Where(parameter => parameter.IsTrained))
        {
            float[] from = start[parameter.Name];
            float[] now = parameter.Value.ToArray();
            for (int i = 0; i < now.Length; i++)
            {
                double change = (double)now[i] - from[i];
                moved += change * change;
                norm += (double)from[i] * from[i];
            }
        }

        return Math.Sqrt(moved / norm);
    }
}

/// <summary>EarlySNAP: <see cref="SnapScore"/> once, early in training.</summary>
[Method("earlysnap", "Once, early in training: units whose gate matters least to the loss go.", "Rachwan et al., arXiv 2206.10451, with the score of arXiv 2006.00896")]
public sealed class EarlySnap : EarlyPruning
{
    /// <inheritdoc/>
    protected override IUnitScore Score => new SnapScore(Batches);
}

/// <summary>EarlyCroP-S: <see cref="CropScore"/> once, early in training.</summary>
[Method("earlycrop-s", "Once, early in training: units whose gate matters least to the gradient's norm go.", "Rachwan et al., \"Winning the Lottery Ahead of Time\", arXiv 2206.10451")]
public sealed class EarlyCropS : EarlyPruning
{
    /// <inheritdoc/>
    protected override IUnitScore Score => new CropScore(Batches);
}
