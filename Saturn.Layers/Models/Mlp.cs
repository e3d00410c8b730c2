using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Layers.Models;

/// <summary>
/// A perceptron on flattened images with two hidden layers, width and width/3 units (300 and 100 in the usual MNIST network for width 300), without normalization.
/// </summary>
public sealed class Mlp : Model
{
    private readonly Linear first;
    private readonly Linear second;
    private readonly Linear classifier;
    private readonly ActivationLayer firstActivation;
    private readonly ActivationLayer secondActivation;

    /// <summary>Creates the network.</summary>
    public Mlp(Device device, ModelRecipe recipe, ChannelPlan plan)
        : base(device, recipe)
    {
        Activation activation = recipe.ActivationFunction();
        int hidden1 = plan["layers.0", recipe.Width];
        int hidden2 = plan["layers.1", Math.Max(1, recipe.Width / 3)];
        first = Register("layers.0", new Linear(device, recipe.InputHeight * recipe.InputWidth * recipe.InputChannels, hidden1)
        {
            FlattenedImage = (recipe.InputHeight, recipe.InputWidth),
        });
        firstActivation = Register("layers.0", new ActivationLayer(device, hidden1, activation));
        second = Register("layers.1", new Linear(device, hidden1, hidden2));
        secondActivation = Register("layers.1", new ActivationLayer(device, hidden2, activation));
        classifier = Register("fc", new Linear(device, hidden2, recipe.Classes));
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input)
    {
        Tensor hidden = firstActivation.Forward(first.Forward(Operation.Flatten(input)));
        return classifier.Forward(secondActivation.Forward(second.Forward(hidden)));
    }
}
