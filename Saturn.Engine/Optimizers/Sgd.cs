using Saturn.Kernels.Families;

namespace Saturn.Engine.Optimizers;

/// <summary>Stochastic gradient descent with momentum: m ← μ·m + g, w ← w − η·m, or, with Nesterov, w ← w − η·(g + μ·m).</summary>
public sealed class Sgd : Optimizer
{
    private readonly OptimizerStep rule;

    /// <summary>Creates the optimizer.</summary>
    /// <param name="groups">The parameter groups.</param>
    /// <param name="momentum">μ, 0 … 1.</param>
    /// <param name="nesterov">Whether to look ahead.</param>
    /// <param name="decoupledWeightDecay">Whether weight decay stays out of the momentum.</param>
    public Sgd(IEnumerable<ParameterGroup> groups, double momentum = 0.9, bool nesterov = false, bool decoupledWeightDecay = false)
        : base(groups, momentum == 0 ? 0 : 1)
    {
        if (!(momentum is >= 0 and < 1))
        {
            throw new ArgumentOutOfRangeException(nameof(momentum), $"Momentum must lie in [0, 1), but is {momentum}.");
        }

        if (nesterov && momentum == 0)
        {
            throw new ArgumentException("Nesterov's rule needs a momentum above 0.", nameof(nesterov));
        }

        rule = new OptimizerStep(OptimizerRule.Sgd, 0, (float)momentum, nesterov, 0, 0, 0, decoupledWeightDecay, default, 0, 0);
    }

    /// <inheritdoc/>
    protected override OptimizerStep Rule() => rule;
}
