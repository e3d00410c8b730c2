using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;

namespace Saturn.Layers;

/// <summary>
/// Batch normalization over all dimensions but the last. Parameters are named as elsewhere: <c>weight</c> is γ, <c>bias</c> is β, and <c>running_mean</c>,
/// <c>running_var</c>.
/// </summary>
public sealed class BatchNorm : Module
{
    /// <summary>Creates the layer; its parameters are uninitialised until the model is.</summary>
    public BatchNorm(Device device, int channels, float epsilon = 1e-5f, float momentum = 0.1f)
        : base(device)
    {
        Epsilon = epsilon;
        Momentum = momentum;
        Gamma = Vector("weight", ParameterRole.NormalizationScale);
        Beta = Vector("bias", ParameterRole.NormalizationShift);
        RunningMean = Vector("running_mean", ParameterRole.RunningMean);
        RunningVariance = Vector("running_var", ParameterRole.RunningVariance);

        Parameter Vector(string name, ParameterRole role) => Register(new Parameter(name, role, Tensor.AllocateUnscoped(device, new Shape(channels))));
    }

    /// <summary>γ.</summary>
    public Parameter Gamma { get; }

    /// <summary>β.</summary>
    public Parameter Beta { get; }

    /// <summary>Running mean.</summary>
    public Parameter RunningMean { get; }

    /// <summary>Running variance.</summary>
    public Parameter RunningVariance { get; }

    /// <summary>Added to the variance.</summary>
    public float Epsilon { get; }

    /// <summary>Share of the new batch in the running statistics.</summary>
    public float Momentum { get; }

    internal BatchNormArguments Arguments => new(Gamma.Value, Beta.Value, RunningMean.Value, RunningVariance.Value, IsTraining, Epsilon, Momentum);

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input) => Operation.BatchNorm(input, Arguments, new NormalizationTail(Kernels.Families.Activation.Identity));

    /// <summary>Normalises, adds a residual, activates and reports, in one pass.</summary>
    public Tensor Forward(Tensor input, in NormalizationTail tail) => Operation.BatchNorm(input, Arguments, tail);
}
