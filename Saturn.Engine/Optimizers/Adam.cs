using Saturn.Kernels.Families;

namespace Saturn.Engine.Optimizers;

/// <summary>
/// Adam (Kingma and Ba, 2015): m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², w ← w − η·m̂/(√v̂ + ε) with bias-corrected m̂ and v̂. With decoupled weight decay it is
/// AdamW (Loshchilov and Hutter, 2019).
/// </summary>
public sealed class Adam : Optimizer
{
    private readonly OptimizerStep rule;

    /// <summary>Creates the optimizer.</summary>
    public Adam(
        IEnumerable<ParameterGroup> groups, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8, bool decoupledWeightDecay = false)
        : base(groups, 2)
    {
        if (!(beta1 is >= 0 and < 1) || !(beta2 is >= 0 and < 1) || !(epsilon > 0))
        {
            throw new ArgumentOutOfRangeException(nameof(beta1), $"Adam needs β₁ and β₂ in [0, 1) and ε > 0, but got {beta1}, {beta2} and {epsilon}.");
        }

        rule = new OptimizerStep(OptimizerRule.Adam, 0, 0, false, (float)beta1, (float)beta2, (float)epsilon, decoupledWeightDecay, default, 0, 0);
    }

    /// <inheritdoc/>
    protected override OptimizerStep Rule() => rule;
}
