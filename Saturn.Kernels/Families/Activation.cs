namespace Saturn.Kernels.Families;

/// <summary>The activation functions.</summary>
public enum ActivationKind
{
    /// <summary>x</summary>
    Identity,

    /// <summary>max(x, 0)</summary>
    Relu,

    /// <summary>x for x &gt; 0, else slope·x</summary>
    LeakyRelu,

    /// <summary>x·Φ(x) = x/2·(1 + erf(x/√2))</summary>
    Gelu,

    /// <summary>x·sigmoid(β·x), also called Swish; SiLU for β = 1</summary>
    Silu,
}

/// <summary>An activation function with its parameter.</summary>
/// <param name="Kind">Which function.</param>
/// <param name="Parameter">The slope of leaky ReLU, or β of SiLU; unused by the others.</param>
public readonly record struct Activation(ActivationKind Kind, float Parameter = 0)
{
    /// <summary>No activation.</summary>
    public static Activation Identity => new(ActivationKind.Identity);

    /// <summary>max(x, 0)</summary>
    public static Activation Relu => new(ActivationKind.Relu);

    /// <summary>Leaky ReLU with the given slope on the negative side.</summary>
    public static Activation LeakyRelu(float slope = 0.05f) => new(ActivationKind.LeakyRelu, slope);

    /// <summary>GELU with the exact error function.</summary>
    public static Activation Gelu => new(ActivationKind.Gelu);

    /// <summary>SiLU (Swish) with the given β.</summary>
    public static Activation Silu(float beta = 1) => new(ActivationKind.Silu, beta);

    /// <summary>
    /// Whether the sign of the output alone tells the derivative, so that backward kernels can work from the output: Identity, ReLU, and
    /// leaky ReLU with a positive slope.
    /// </summary>
    public bool DerivativeFollowsFromOutput => Kind is ActivationKind.Identity or ActivationKind.Relu || (Kind == ActivationKind.LeakyRelu && Parameter > 0);
}

/// <summary>Which values of a unit's output count as activity.</summary>
public enum ActivityCriterion
{
    /// <summary>value &gt; ε: for ReLU (ε = 0) and leaky ReLU, whose dead units have no positive output.</summary>
    AboveThreshold,

    /// <summary>|value| ≥ ε: for GELU and SiLU, whose dead units have small outputs of either sign.</summary>
    MagnitudeAtLeastThreshold,
}

/// <summary>
/// Where a kernel reports which channels were active: one bit a channel in words of 32, bit c mod 32 of word c div 32. Bits of padding
/// channels are zero. A channel with a value that is not a number counts as active: a run that has diverged must be seen, not pruned.
/// </summary>
/// <param name="Flags">uint32 words, ⌈channels/32⌉ of them; None if nobody asks.</param>
/// <param name="Criterion">What counts as active.</param>
/// <param name="Threshold">ε.</param>
/// <param name="Combine">Whether the bits are combined with those already there by OR; otherwise they are overwritten.</param>
public readonly record struct ActivityReport(DeviceBuffer Flags, ActivityCriterion Criterion, float Threshold, bool Combine)
{
    /// <summary>No report.</summary>
    public static ActivityReport None => default;

    /// <summary>Number of uint32 words for a channel count.</summary>
    public static int WordCount(int channels) => (channels + 31) / 32;
}
