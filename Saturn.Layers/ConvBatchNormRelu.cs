using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Layers;

/// <summary>
/// Convolution, batch normalization and activation, fused, with a residual if one is given. It registers nothing by itself: the owner registers <see cref="Convolution"/> and
/// <see cref="Norm"/> under the names it wants, and the activity record if there is one.
/// </summary>
public sealed class ConvBatchNormRelu
{
    private readonly Activation activation;

    /// <summary>Creates the layers.</summary>
    /// <param name="device">The device.</param>
    /// <param name="inputChannels">Channels read.</param>
    /// <param name="outputChannels">Channels produced.</param>
    /// <param name="kernel">Filter size.</param>
    /// <param name="settings">Stride, padding, dilation, groups.</param>
    /// <param name="activation">What follows the norm (and the sum); Identity for a shortcut's norm.</param>
    /// <param name="bias">Whether the convolution has a bias.</param>
    public ConvBatchNormRelu(Device device, int inputChannels, int outputChannels, int kernel, ConvolutionSettings settings, Activation activation, bool bias = false)
    {
        this.activation = activation;
        Convolution = new Convolution2d(device, inputChannels, outputChannels, kernel, settings, bias);
        Norm = new BatchNorm(device, outputChannels);
        Activity = activation.Kind == ActivationKind.Identity ? null : new ChannelActivity(device, outputChannels, activation);
    }

    /// <summary>The convolution.</summary>
    public Convolution2d Convolution { get; }

    /// <summary>The normalization.</summary>
    public BatchNorm Norm { get; }

    /// <summary>The unit group after the activation; null without an activation.</summary>
    public ChannelActivity? Activity { get; }

    /// <summary>Runs the three, adding a residual before the activation.</summary>
    public Tensor Forward(Tensor input, Tensor residual = default, Shortcut? shortcut = null) => Operation.ConvBatchNormRelu(
        input, Convolution.Weight.Value, Convolution.Settings, Norm.Arguments, new NormalizationTail(activation, residual, shortcut, Activity),
        Convolution.Bias?.Value ?? default);
}
