using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;

namespace Saturn.Layers;

/// <summary>Two-dimensional convolution: weight [out, kernelHeight, kernelWidth, in/groups], bias [out] if wanted.</summary>
public sealed class Convolution2d : Module
{
    /// <summary>Creates a layer with square filters; its parameters are uninitialised until the model is.</summary>
    public Convolution2d(Device device, int inputChannels, int outputChannels, int kernel, ConvolutionSettings settings, bool bias = false)
        : this(device, inputChannels, outputChannels, kernel, kernel, settings, bias)
    {
    }

    /// <summary>Creates the layer; its parameters are uninitialised until the model is.</summary>
    /// <param name="device">The device.</param>
    /// <param name="inputChannels">Channels read.</param>
    /// <param name="outputChannels">Channels produced.</param>
    /// <param name="kernelHeight">Rows of a filter.</param>
    /// <param name="kernelWidth">Columns of a filter.</param>
    /// <param name="settings">Strides, paddings, dilations and groups, each direction on its own.</param>
    /// <param name="bias">Whether a bias is added.</param>
    /// <exception cref="ArgumentException">A size is out of range, or the groups do not divide the channels.</exception>
    public Convolution2d(Device device, int inputChannels, int outputChannels, int kernelHeight, int kernelWidth, ConvolutionSettings settings, bool bias = false)
        : base(device)
    {
        if (kernelHeight < 1 || kernelWidth < 1)
        {
            throw new ArgumentException($"A filter must have at least 1×1 pixels, but has {kernelHeight}×{kernelWidth}.");
        }

        if (settings.Groups < 1 || inputChannels % settings.Groups != 0 || outputChannels % settings.Groups != 0)
        {
            throw new ArgumentException($"The groups must divide the channels, but there are {settings.Groups} groups, {inputChannels} input channels and {outputChannels} output channels.");
        }

        Settings = settings;
        Weight = Register(new Parameter(
            "weight", ParameterRole.Weight, Tensor.AllocateUnscoped(device, new Shape(outputChannels, kernelHeight, kernelWidth, inputChannels / settings.Groups))));
        Bias = bias ? Register(new Parameter("bias", ParameterRole.Bias, Tensor.AllocateUnscoped(device, new Shape(outputChannels)))) : null;
    }

    /// <summary>The filters.</summary>
    public Parameter Weight { get; }

    /// <summary>The bias, or null.</summary>
    public Parameter? Bias { get; }

    /// <summary>Stride, padding, dilation, groups.</summary>
    public ConvolutionSettings Settings { get; }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input) => Operation.Convolution(input, Weight.Value, Bias?.Value ?? default, Settings);
}
