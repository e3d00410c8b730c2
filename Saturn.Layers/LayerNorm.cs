using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;

namespace Saturn.Layers;

/// <summary>Layer normalization over the last dimension, with γ (<c>weight</c>) and β (<c>bias</c>).</summary>
public sealed class LayerNorm : Module
{
    private readonly Parameter gamma;
    private readonly Parameter beta;
    private readonly float epsilon;

    /// <summary>Creates the layer.</summary>
    public LayerNorm(Device device, int channels, float epsilon = 1e-5f)
        : base(device)
    {
        this.epsilon = epsilon;
        gamma = Register(new Parameter("weight", ParameterRole.NormalizationScale, Tensor.AllocateUnscoped(device, new Shape(channels))));
        beta = Register(new Parameter("bias", ParameterRole.NormalizationShift, Tensor.AllocateUnscoped(device, new Shape(channels))));
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input) => Operation.LayerNorm(input, gamma.Value, beta.Value, epsilon);
}
