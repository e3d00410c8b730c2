using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Layers;

/// <summary>An activation on its own, behind a layer without normalization. Its channels are a unit group.</summary>
public sealed class ActivationLayer : Module
{
    private readonly Activation activation;
    private readonly ChannelActivity activity;

    /// <summary>Creates the layer for a number of channels.</summary>
    public ActivationLayer(Device device, int channels, Activation activation)
        : base(device)
    {
        this.activation = activation;
        activity = Register("", new ChannelActivity(device, channels, activation));
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input) => Operation.Activate(input, activation, activity);
}
