using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;

namespace Saturn.Layers;

/// <summary>Fully connected layer: weight [out, in], bias [out] if wanted; y = x·Wᵀ + b.</summary>
public sealed class Linear : Module
{
    /// <summary>Creates the layer; its parameters are uninitialised until the model is.</summary>
    public Linear(Device device, int inputs, int outputs, bool bias = true)
        : base(device)
    {
        Weight = Register(new Parameter("weight", ParameterRole.Weight, Tensor.AllocateUnscoped(device, new Shape(outputs, inputs))));
        Bias = bias ? Register(new Parameter("bias", ParameterRole.Bias, Tensor.AllocateUnscoped(device, new Shape(outputs)))) : null;
    }

    /// <summary>The matrix.</summary>
    public Parameter Weight { get; }

    /// <summary>The bias, or null.</summary>
    public Parameter? Bias { get; }

    /// <summary>
    /// If the input is a flattened image, its height and width, so that weights files of other frameworks can be translated; see
    /// <see cref="Parameter.FlattenedImage"/>.
    /// </summary>
    public (int Height, int Width)? FlattenedImage
    {
        get => Weight.FlattenedImage;
        set => Weight.FlattenedImage = value;
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input) => Operation.Linear(input, Weight.Value, Bias?.Value ?? default);
}
