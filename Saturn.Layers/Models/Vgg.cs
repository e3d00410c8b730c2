using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;

namespace Saturn.Layers.Models;

/// <summary>
/// VGG-16 with batch norm (Simonyan and Zisserman, 2015) under torchvision's names: thirteen 3×3 convolutions, a 2×2 maximum pooling after the 2nd, 4th, 7th, 10th and 13th, and on small images a single
/// linear classifier over the flattened rest, as is usual for CIFAR.
/// </summary>
public sealed class Vgg : Model
{
    // Multiples of the base width; 0 is a pooling.
    private static readonly int[] Layout = [1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0];

    private readonly List<ConvBatchNormRelu?> layers = [];
    private readonly Linear classifier;

    /// <summary>Creates the network; images must be at least 32×32.</summary>
    public Vgg(Device device, ModelRecipe recipe, ChannelPlan plan)
        : base(device, recipe)
    {
        if (recipe.InputHeight < 32 || recipe.InputWidth < 32)
        {
            throw new ArgumentException($"vgg16 halves its images five times and needs at least 32×32 pixels, but got {recipe.InputHeight}×{recipe.InputWidth}.");
        }

        int channels = recipe.InputChannels;
        int index = 0;
        foreach (int multiple in Layout)
        {
            if (multiple == 0)
            {
                layers.Add(null);
                index++;
                continue;
            }

            string name = $"features.{index}";
            int outputs = plan[name, multiple * recipe.Width];
            ConvBatchNormRelu layer = new(device, channels, outputs, 3, ConvolutionSettings.Square(padding: 1), recipe.ActivationFunction(), bias: true);
            Register(name, layer.Convolution);
            Register($"features.{index + 1}", layer.Norm);
            Register(name, layer.Activity!);
            layers.Add(layer);
            channels = outputs;

            // torchvision counts convolution, norm and activation as three.
            index += 3;
        }

        classifier = Register("classifier", new Linear(device, channels * (recipe.InputHeight / 32) * (recipe.InputWidth / 32), recipe.Classes));
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input)
    {
        Tensor x = input;
        for (int i = 0; i < layers.Count; i++)
        {
            x = layers[i]?.Forward(x) ?? Operation.MaximumPool(x, PoolingSettings.Square(2));
        }

        return classifier.Forward(Operation.Flatten(x));
    }
}
