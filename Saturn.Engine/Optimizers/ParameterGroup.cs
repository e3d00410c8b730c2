namespace Saturn.Engine.Optimizers;

/// <summary>Parameters that share their settings. All settings may be changed between steps; schedules do.</summary>
public sealed class ParameterGroup
{
    /// <summary>Creates a group.</summary>
    /// <param name="parameters">The parameters, each in one group only.</param>
    /// <param name="learningRate">η.</param>
    /// <param name="weightDecay">wd.</param>
    public ParameterGroup(IEnumerable<Parameter> parameters, double learningRate, double weightDecay = 0)
    {
        Parameters = [.. parameters];
        LearningRate = learningRate;
        WeightDecay = weightDecay;
    }

    /// <summary>The parameters; removed ones are passed over.</summary>
    public IReadOnlyList<Parameter> Parameters { get; }

    /// <summary>η.</summary>
    public double LearningRate { get; set; }

    /// <summary>wd: added to the gradient as wd·w, or, decoupled, subtracted as η·wd·w.</summary>
    public double WeightDecay { get; set; }

    /// <summary>λ of λ·‖w‖₁: adds λ·sign(w) to the gradient, sign(0) = 0.</summary>
    public double L1 { get; set; }

    /// <summary>λ of λ·‖w‖₂²: adds 2λ·w to the gradient.</summary>
    public double L2 { get; set; }

    /// <summary>σ of the Gaussian noise added to the weights after the update, not scaled by η.</summary>
    public double NoiseStandardDeviation { get; set; }

    /// <summary>Whether only the weights that produce live channels (<see cref="Parameter.RowActivity"/>) receive noise.</summary>
    public bool NoiseOnLiveOnly { get; set; } = true;

    /// <summary>Where above 0, noise goes weight by weight where |∂L/∂w| reaches this.</summary>
    public double NoiseGradientThreshold { get; set; }

    /// <summary>
    /// Whether <see cref="DirectionalPruning"/> prunes the parameters of this group; other rules do not look at it. Where not, as may be wanted of normalizations and biases, they
    /// follow its rule with a threshold of 0.
    /// </summary>
    public bool IsThresholded { get; set; } = true;
}
