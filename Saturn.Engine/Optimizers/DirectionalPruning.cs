using Saturn.Kernels.Families;

namespace Saturn.Engine.Optimizers;

/// <summary>
/// Directional pruning by generalized regularized dual averaging (Chao, Wang, Xing and Cheng, "Directional Pruning of Deep Neural Networks", NeurIPS 2020): an accumulator a, which starts
/// at the weight w₀ and not at 0, takes the steps of SGD at the gradient of the thresholded weight,
/// a ← a − η·u with u = g or m ← momentum·m + g as in <see cref="Sgd"/>, and w ← sign(a)·max(|a| − g_t, 0).
/// The bound of a group grows with its live learning rate, g_t = Σ_{s≤t} c·η_s^{½+μ}·(s^μ − (s−1)^μ), so that schedules are allowed; for a constant η it is c·√η·(tη)^μ.
/// </summary>
/// <remarks>
/// The paper's rule has neither momentum nor weight decay. With momentum the accumulator moves 1/(1 − momentum) times as far; for the same balance multiply c by (1 − momentum)^{−(½+μ)}.
/// The accumulator is the state, and the weight follows from it. A value that something else writes to a weight between two steps, as surgery does when it folds a constant into a bias,
/// is taken over: the accumulator goes on from w + sign(w)·g, which the threshold turns into that value, or from 0 for a zero.
/// </remarks>
public sealed class DirectionalPruning : Optimizer
{
    private readonly OptimizerStep rule;
    private readonly double c;
    private readonly double mu;
    private readonly double[] bounds;
    private readonly double[] lastThresholds;

    /// <summary>Creates the optimizer.</summary>
    /// <param name="groups">The parameter groups.</param>
    /// <param name="c">c, 0 or above; 1e-4 … 5e-3 are usual. Larger, sparser from the start; 0 is SGD.</param>
    /// <param name="mu">μ, strictly between 0 and 1. The theory wants it above ½, and 0.501 … 0.55 are usual. Larger, sparser late in training.</param>
    /// <param name="momentum">Momentum, 0 … 1.</param>
    /// <param name="nesterov">Whether the momentum looks ahead.</param>
    public DirectionalPruning(IEnumerable<ParameterGroup> groups, double c, double mu, double momentum = 0, bool nesterov = false)
        : base(groups, momentum == 0 ? 1 : 2)
    {
        if (!(c >= 0 && double.IsFinite(c)) || !(mu is > 0 and < 1) || !(momentum is >= 0 and < 1))
        {
            throw new ArgumentOutOfRangeException(nameof(c), $"Directional pruning needs c ≥ 0, μ strictly between 0 and 1, and momentum in [0, 1), but got {c}, {mu} and {momentum}.");
        }

        if (nesterov && momentum == 0)
        {
            throw new ArgumentException("Nesterov's rule needs a momentum above 0.", nameof(nesterov));
        }

        this.c = c;
        this.mu = mu;
        bounds = new double[Groups.Count];
        lastThresholds = new double[Groups.Count];
        rule = new OptimizerStep(OptimizerRule.DualAveraging, 0, (float)momentum, nesterov, 0, 0, 0, false, default, 0, 0);
    }

    /// <summary>g_t of every group, in their order. Together with the moments and <see cref="Optimizer.StepCount"/> it is the whole state, as a checkpoint keeps it.</summary>
    /// <exception cref="ArgumentException">Not one finite number of 0 or above for every group.</exception>
    public IReadOnlyList<double> Bounds
    {
        get => [.. bounds];
        set
        {
            if (value.Count != bounds.Length || value.Any(bound => !(bound >= 0 && double.IsFinite(bound))))
            {
                throw new ArgumentException(
                    $"Directional pruning of {bounds.Length} parameter groups has as many bounds, finite and 0 or above, but got [{string.Join(", ", value)}].", nameof(value));
            }

            for (int g = 0; g < bounds.Length; g++)
            {
                bounds[g] = value[g];
            }
        }
    }

    /// <summary>g_t of one of the groups: a weight is zero where its accumulator is no larger. 0 while the group is not thresholded.</summary>
    public double BoundOf(ParameterGroup group)
    {
        for (int g = 0; g < Groups.Count; g++)
        {
            if (ReferenceEquals(Groups[g], group))
            {
                return ThresholdOf(g);
            }
        }

        throw new ArgumentException("The group is none of this optimizer's: take one of its Groups.", nameof(group));
    }

    /// <inheritdoc/>
    protected override OptimizerStep Rule() => rule;

    /// <inheritdoc/>
    protected override (double Last, double Now) ThresholdsOf(int group) => (lastThresholds[group], ThresholdOf(group));

    /// <inheritdoc/>
    protected override void BeginStep()
    {
        double growth = c * (Math.Pow(StepCount, mu) - Math.Pow(StepCount - 1, mu));
        for (int g = 0; g < Groups.Count; g++)
        {
            lastThresholds[g] = ThresholdOf(g);
            if (Groups[g].IsThresholded)
            {
                bounds[g] += growth * Math.Pow(Groups[g].LearningRate, 0.5 + mu);
            }
        }
    }

    private double ThresholdOf(int group) => Groups[group].IsThresholded ? bounds[group] : 0;
}
