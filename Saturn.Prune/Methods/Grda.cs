using Saturn.Engine;
using Saturn.Engine.Optimizers;

namespace Saturn.Prune.Methods;

/// <summary>
/// Directional pruning with gRDA: an update rule whose weights become zero along directions in which the loss is flat, see <see cref="Engine.Optimizers.DirectionalPruning"/>. Sparsity follows from c and μ.
/// Weights that are zero count as absent; units that have died of it are removed at the end of each epoch, which is what saves time.
/// </summary>
[Method("grda", "Directional pruning: an accumulator of gradients, soft-thresholded by a growing bound, as the update rule.",
    "Chao, Wang, Xing, Cheng, \"Directional Pruning of Deep Neural Networks\", NeurIPS 2020, arXiv 2006.09358")]
public sealed class Grda : PruningMethod
{
    private IReadOnlyList<double>? savedBounds;
    private DirectionalPruning? rule;

    /// <summary>c of the bound.</summary>
    [Setting("c", "Strength of the bound, 0 or above; 1e-4 to 5e-3 are usual. Larger, sparser from the start; 0 is SGD.")]
    public double C { get; set; } = 5e-4;

    /// <summary>μ of the bound.</summary>
    [Setting("mu", "Growth of the bound, between 0 and 1; the theory wants it above 0.5. Larger, sparser late in training.")]
    public double Mu { get; set; } = 0.55;

    /// <summary>Whether the bound grows as fast as momentum lets the accumulator move.</summary>
    [Setting("scale-with-momentum", "Whether c is multiplied by (1 - momentum)^-(0.5 + mu), so that bound and accumulator keep their balance; off is the plain bound.")]
    public bool ScaleWithMomentum { get; set; } = true;

    /// <summary>Whether scales and shifts are thresholded too.</summary>
    [Setting("norms", "Whether scales and shifts of normalizations are thresholded too, as the authors' code does.")]
    public bool Norms { get; set; } = true;

    /// <summary>Whether dead units are removed.</summary>
    [Setting("remove-dead", "Whether units that died are removed at the end of each epoch.")]
    public bool RemoveDead { get; set; } = true;

    /// <inheritdoc/>
    public override bool ChangesSingleWeights => true;

    /// <inheritdoc/>
    public override void Validate()
    {
        Require(C >= 0, "c", "0 or above", C);
        Require(Mu is > 0 and < 1, "mu", "between 0 and 1", Mu);
    }

    /// <inheritdoc/>
    public override Optimizer CreateOptimizer(IReadOnlyList<ParameterGroup> groups, double momentum, bool nesterov)
    {
        foreach (ParameterGroup group in groups)
        {
            group.IsThresholded = Norms || group.Parameters.Any(parameter => !parameter.IsNormalization);
        }

        double strength = ScaleWithMomentum ? C * Math.Pow(1 - momentum, -(0.5 + Mu)) : C;
        return new DirectionalPruning(groups, strength, Mu, momentum, nesterov);
    }

    /// <inheritdoc/>
    public override void Begin(PruningRun run)
    {
        rule = run.Optimizer as DirectionalPruning
            ?? throw new ArgumentException("The method grda is an update rule of its own: create the optimizer with its CreateOptimizer.");
        if (savedBounds is not null)
        {
            rule.Bounds = savedBounds;
            CountZeros(run);
        }
    }

    /// <inheritdoc/>
    public override void AfterStep(PruningRun run, long stepsTaken)
    {
        if (stepsTaken % run.StepsPerEpoch != 0)
        {
            return;
        }

        if (RemoveDead)
        {
            var statistics = run.TakeCensus();
            DeadUnits criterion = new();
            Dictionary<UnitGroup, bool[]> marks = [];
            foreach (var (group, seen) in statistics)
            {
                criterion.Select(group, seen, marks[group] = new bool[group.Channels]);
            }

            run.Remove(marks, statistics);
        }

        CountZeros(run);
    }

    /// <inheritdoc/>
    public override void Save(MethodState state)
    {
        for (int i = 0; i < (rule?.Bounds.Count ?? 0); i++)
        {
            state.Numbers[$"bound.{i}"] = rule!.Bounds[i];
        }
    }

    /// <inheritdoc/>
    public override void Load(MethodState state) =>
        savedBounds = [.. Enumerable.Range(0, state.Numbers.Count).TakeWhile(i => state.Numbers.ContainsKey($"bound.{i}")).Select(i => state.Numbers[$"bound.{i}"])];

    private static void CountZeros(PruningRun run) => run.CountWeights(run.Model.Parameters
        .Where(parameter => parameter.Role == ParameterRole.Weight)
        .ToDictionary(parameter => parameter, parameter => parameter.Value.ToArray().LongCount(value => value == 0)));
}
