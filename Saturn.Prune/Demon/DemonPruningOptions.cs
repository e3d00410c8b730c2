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

    /// <summary>Channels that were active on one of the last batches.</summary>
    Window,

    /// <summary>Channels that were active in the last census; all before the first.</summary>
    Census,

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

/// <summary>When dead units are removed.</summary>
public enum RemovalTime
{
    /// <summary>Every τ steps and after the last.</summary>
    Periodic,

    /// <summary>After the last step.</summary>
    End,

    /// <summary>Never: they are counted only.</summary>
    Never,
}

/// <summary>When a unit counts as dead on the census.</summary>
public enum DeadCriterion
{
    /// <summary>The one that fits its activation: zero for ReLU, negative for leaky ReLU, magnitude for GELU and SiLU.</summary>
    Auto,

    /// <summary>No output above ε, of a ReLU.</summary>
    Zero,

    /// <summary>No output above ε, hence only negative pre-activations where ε is 0.</summary>
    Negative,

    /// <summary>No output with a magnitude of ε or more.</summary>
    Magnitude,
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
    /// <summary>The deadline of a target where none is given, as a share of the run.</summary>
    public const double DefaultTargetBy = 0.6;

    /// <summary>Peak λ of the pressure.</summary>
    public double Lambda { get; init; }

    /// <summary>Peak σ of the noise added to the weights after each step.</summary>
    public double NoiseStandardDeviation { get; init; } = 5e-5;

    /// <summary>Whose weights receive noise.</summary>
    public NoiseMode Noise { get; init; } = NoiseMode.Asymmetric;

    /// <summary>How asymmetric noise decides.</summary>
    public NoiseLiveness NoiseLiveness { get; init; } = NoiseLiveness.Batch;

    /// <summary>Batches that <see cref="NoiseLiveness.Window"/> looks back, this one included.</summary>
    public int NoiseWindow { get; init; } = 10;

    /// <summary>Whether γ and β receive noise too.</summary>
    public bool NoiseOnNorms { get; init; }

    /// <summary>The form of the pressure.</summary>
    public Regularizer Regularizer { get; init; } = Regularizer.L1;

    /// <summary>Whether all parameters but β are under pressure instead of γ alone.</summary>
    public bool RegularizeAll { get; init; }

    /// <summary>Schedule of λ, and of σ unless it has its own.</summary>
    public PressureSchedule Schedule { get; init; } = PressureSchedule.OneCycle;

    /// <summary>Schedule of σ; null for that of λ.</summary>
    public PressureSchedule? NoiseSchedule { get; init; }

    /// <summary>Share of the cycle before its peak.</summary>
    public double WarmupShare { get; init; } = 0.3;

    /// <summary>Steps of the cycle; null for the whole run.</summary>
    public long? Span { get; init; }

    /// <summary>τ: steps from one census to the next.</summary>
    public long PruneEvery { get; init; } = 5000;

    /// <summary>When dead units are removed.</summary>
    public RemovalTime Removal { get; init; } = RemovalTime.Periodic;

    /// <summary>No census before so many steps, for networks whose units revive at first.</summary>
    public long StartStep { get; init; }

    /// <summary>How residual channels are removed.</summary>
    public ResidualMode Residual { get; init; } = ResidualMode.Mapped;

    /// <summary>Training images that decide who is dead.</summary>
    public int CensusSize { get; init; } = 512;

    /// <summary>Images of one batch of the census; the batches are combined by OR.</summary>
    public int CensusBatch { get; init; } = 128;

    /// <summary>When a unit counts as dead.</summary>
    public DeadCriterion Criterion { get; init; } = DeadCriterion.Auto;

    /// <summary>
    /// Whether the mean output of a removed unit goes into the biases of its readers, and units that are constant but not zero are removed too. Off: removed units are dropped as they are, as the paper's
    /// authors do.
    /// </summary>
    public bool FoldConstants { get; init; } = true;

    /// <summary>The sparsity to reach, 0 … 1, by steering λ; null: λ follows its schedule.</summary>
    public double? TargetSparsity { get; init; }

    /// <summary>What the target is measured in.</summary>
    public SparsityMetric TargetMetric { get; init; } = SparsityMetric.Weights;

    /// <summary>
    /// The deadline of the target as a share of the run, above 0 and at most 1: what has not died by then is made up for by the least active units. Null: <see cref="DefaultTargetBy"/>.
    /// </summary>
    public double? TargetBy { get; init; }

    /// <summary>
    /// ε of the dead test and of the batch's liveness, for all groups. Null: 0 for the criteria zero and negative, 0.01 for magnitude.
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
        Require(CensusBatch >= 1, "census-batch", "at least 1 image", CensusBatch);
        Require(StartStep >= 0, "prune-start", "0 or above", StartStep);
        Require(NoiseWindow >= 1, "noise-window", "at least 1 batch", NoiseWindow);
        Require(TargetSparsity is null or (> 0 and < 1), "target-sparsity", "above 0 and below 1", TargetSparsity);
        Require(TargetBy is null or (> 0 and <= 1), "target-by", "above 0 and at most 1, a share of the run", TargetBy);
        if (TargetBy is not null && TargetSparsity is null)
        {
            throw new ArgumentException("--target-by is the deadline of --target-sparsity, which was not given; give both, or leave it out.");
        }

        if (TargetSparsity is not null && Removal != RemovalTime.Periodic)
        {
            throw new ArgumentException($"--target-sparsity is measured by what was removed, so it needs --removal periodic, but that is {Removal.ToString().ToLowerInvariant()}.");
        }

        Require(DeadThreshold is null || (DeadThreshold >= 0 && double.IsFinite(DeadThreshold.Value)), "dead-threshold", "0 or above", DeadThreshold);
    }

    /// <summary>The schedule of a peak value.</summary>
    /// <param name="peak">The peak.</param>
    /// <param name="totalSteps">Steps of the run.</param>
    /// <param name="kind">The form; that of λ where null.</param>
    public Schedule CreateSchedule(double peak, long totalSteps, PressureSchedule? kind = null)
    {
        long span = Span ?? totalSteps;
        return (kind ?? Schedule) switch
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
