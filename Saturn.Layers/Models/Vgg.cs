using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Layers.Models;

/// <summary>
/// VGG-16 with batch norm (Simonyan and Zisserman, 2015) under torchvision's names: thirteen 3×3 convolutions and a 2×2 maximum pooling after the 2nd, 4th, 7th, 10th and 13th. Images up to 64 pixels get a
/// single linear classifier over the flattened rest, as is usual for CIFAR; larger ones the ImageNet classifier with two hidden layers of 64·width units and dropout of one half.
/// </summary>
public sealed class Vgg : Model
{
    // Multiples of the base width; 0 is a pooling.
    private static readonly int[] Layout = [1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0];

    private readonly List<ConvBatchNormRelu?> layers = [];
    private readonly List<Module> classifier = [];

    /// <summary>Creates the network; images must be at least 32×32.</summary>
    public Vgg(Device device, ModelRecipe recipe, ChannelPlan plan)
        : base(device, recipe)
    {
        if (recipe.InputHeight < 32 || recipe.InputWidth < 32)
        {
            throw new ArgumentException($"vgg16 halves its images five times and needs at least 32×32 pixels, but got {recipe.InputHeight}×{recipe.InputWidth}.");
        }

        try
        {
            Build(device, recipe, plan);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input)
    {
        Tensor x = input;
        for (int i = 0; i < layers.Count; i++)
        {
            x = layers[i]?.Forward(x) ?? Operation.MaximumPool(x, PoolingSettings.Square(2));
        }

        x = Operation.Flatten(x);
        for (int i = 0; i < classifier.Count; i++)
        {
            x = classifier[i].Forward(x);
        }

        return x;
    }

    private void Build(Device device, ModelRecipe recipe, ChannelPlan plan)
    {
        int channels = recipe.InputChannels;
        Activation activation = recipe.ActivationFunction();
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
            ConvBatchNormRelu layer = new(device, channels, outputs, 3, ConvolutionSettings.Square(padding: 1), activation, bias: true);
            Register(name, layer.Convolution);
            Register($"features.{index + 1}", layer.Norm);
            Register(name, layer.Activity!);
            layers.Add(layer);
            channels = outputs;

            // torchvision counts convolution, norm and activation as three.
            index += 3;
        }

        (int Height, int Width) image = (recipe.InputHeight / 32, recipe.InputWidth / 32);
        int features = channels * image.Height * image.Width;
        if (recipe.InputHeight <= 64)
        {
            Add("classifier", new Linear(device, features, recipe.Classes) { FlattenedImage = image });
            return;
        }

        // torchvision counts linear layer, activation and dropout as three.
        int first = plan["classifier.0", 64 * recipe.Width];
        int second = plan["classifier.3", 64 * recipe.Width];
        Add("classifier.0", new Linear(device, features, first) { FlattenedImage = image });
        Add("classifier.0", new ActivationLayer(device, first, activation));
        Add("classifier.2", new Dropout(device, 0.5f, recipe.Seed));
        Add("classifier.3", new Linear(device, first, second));
        Add("classifier.3", new ActivationLayer(device, second, activation));
        Add("classifier.5", new Dropout(device, 0.5f, recipe.Seed));
        Add("classifier.6", new Linear(device, second, recipe.Classes));
    }

    private void Add(string name, Module module) => classifier.Add(Register(name, module));
}
