using Saturn.Engine.Optimizers;

namespace Saturn.Prune;

/// <summary>Whose weights receive noise.</summary>
public enum NoiseMode
{
    /// <summary>Those that produce live units.</summary>
    Asymmetric,

    /// <summary>All.</summary>
    Symmetric,

    /// <summary>None.</summary>
    Off,
}

/// <summary>How asymmetric noise decides what is live.</summary>
public enum NoiseLiveness
{
    /// <summary>Channels that were active on this batch.</summary>
    Batch,

    /// <summary>Weight by weight, where |∂L/∂w| ≥ 1e−8, as in the paper's authors' code.</summary>
    Gradient,
}

/// <summary>The form of the pressure.</summary>
public enum Regularizer
{
    /// <summary>λ‖·‖₁.</summary>
    L1,

    /// <summary>λ‖·‖₂².</summary>
    L2,
}

/// <summary>How pressure and noise change over training.</summary>
public enum PressureSchedule
{
    /// <summary>Linear to the peak, cosine to 0.</summary>
    OneCycle,

    /// <summary>Cosine from peak/25 to the peak, cosine to nearly 0.</summary>
    OneCycleCosine,

    /// <summary>The peak always.</summary>
    Constant,

    /// <summary>Cosine from the peak to 0.</summary>
    Cosine,

    /// <summary>Linear to the peak over the warm-up, then the peak.</summary>
    Warmup,
}

/// <summary>How residual channels are removed.</summary>
public enum ResidualMode
{
    /// <summary>Each on its own; shortcuts read through a map.</summary>
    Mapped,

    /// <summary>A channel goes when it is dead at every sum of the stage.</summary>
    Tied,
}

/// <summary>Demon Pruning's settings ("Maxwell's Demon at Work", Algorithm 1 and section 3).</summary>
public sealed record DemonPruningOptions
{
    /// <summary>Peak λ of the pressure.</summary>
    public double Lambda { get; init; }

    /// <summary>Peak σ of the noise added to the weights after each step.</summary>
    public double NoiseStandardDeviation { get; init; } = 5e-5;

    /// <summary>Whose weights receive noise.</summary>
    public NoiseMode Noise { get; init; } = NoiseMode.Asymmetric;

    /// <summary>How asymmetric noise decides.</summary>
    public NoiseLiveness NoiseLiveness { get; init; } = NoiseLiveness.Batch;

    /// <summary>Whether γ and β receive noise too.</summary>
    public bool NoiseOnNorms { get; init; }

    /// <summary>The form of the pressure.</summary>
    public Regularizer Regularizer { get; init; } = Regularizer.L1;

    /// <summary>Whether all parameters but β are under pressure instead of γ alone.</summary>
    public bool RegularizeAll { get; init; }

    /// <summary>Schedule of λ and σ.</summary>
    public PressureSchedule Schedule { get; init; } = PressureSchedule.OneCycle;

    /// <summary>Share of the cycle before its peak.</summary>
    public double WarmupShare { get; init; } = 0.3;

    /// <summary>Steps of the cycle; null for the whole run.</summary>
    public long? Span { get; init; }

    /// <summary>τ: steps from one census to the next.</summary>
    public long PruneEvery { get; init; } = 5000;

    /// <summary>How residual channels are removed.</summary>
    public ResidualMode Residual { get; init; } = ResidualMode.Mapped;

    /// <summary>Training images that decide who is dead.</summary>
    public int CensusSize { get; init; } = 512;

    /// <summary>
    /// ε of the dead test and of the batch's liveness, for all groups: no value above ε (ReLU, leaky ReLU), or no magnitude of ε or more (GELU, SiLU). Null: 0 for the former, 0.01 for the latter.
    /// </summary>
    public double? DeadThreshold { get; init; }

    /// <summary>Checks every value.</summary>
    /// <exception cref="ArgumentException">One sentence: the option, what it must be, what came.</exception>
    public void Validate()
    {
        Require(Lambda >= 0 && double.IsFinite(Lambda), "lambda", "0 or above", Lambda);
        Require(NoiseStandardDeviation >= 0 && double.IsFinite(NoiseStandardDeviation), "noise-std", "0 or above", NoiseStandardDeviation);
        Require(WarmupShare is >= 0 and < 1, "pressure-warmup", "in [0, 1)", WarmupShare);
        Require(Span is null or >= 1, "pressure-span", "at least 1 step", Span);
        Require(PruneEvery >= 1, "prune-every", "at least 1 step", PruneEvery);
        Require(CensusSize >= 1, "census-images", "at least 1", CensusSize);
        Require(DeadThreshold is null || (DeadThreshold >= 0 && double.IsFinite(DeadThreshold.Value)), "dead-threshold", "0 or above", DeadThreshold);
    }

    /// <summary>The schedule of a peak value.</summary>
    public Schedule CreateSchedule(double peak, long totalSteps)
    {
        long span = Span ?? totalSteps;
        return Schedule switch
        {
            PressureSchedule.OneCycle => new OneCycleSchedule(peak, span, WarmupShare),
            PressureSchedule.OneCycleCosine => new CosineOneCycleSchedule(peak, span, WarmupShare),
            PressureSchedule.Cosine => new CosineSchedule(peak, span),
            PressureSchedule.Warmup => new WarmupSchedule(Math.Max(1, (long)(span * WarmupShare)), new ConstantSchedule(peak)),
            _ => new ConstantSchedule(peak),
        };
    }

    private static void Require(bool condition, string option, string expected, object? actual)
    {
        if (!condition)
        {
            throw new ArgumentException($"--{option} must be {expected}, but is {actual}.");
        }
    }
}
