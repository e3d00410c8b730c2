using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;

namespace Saturn.Layers;

/// <summary>Two-dimensional convolution: weight [out, kernel, kernel, in/groups], bias [out] if wanted.</summary>
public sealed class Convolution2d : Module
{
    /// <summary>Creates the layer; its parameters are uninitialised until the model is.</summary>
    public Convolution2d(Device device, int inputChannels, int outputChannels, int kernel, ConvolutionSettings settings, bool bias = false)
        : base(device)
    {
        Settings = settings;
        Weight = Register(new Parameter(
            "weight", ParameterRole.Weight, Tensor.AllocateUnscoped(device, new Shape(outputChannels, kernel, kernel, inputChannels / settings.Groups))));
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
