using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers;
using Saturn.Layers.Models;

namespace Saturn.Tests.Prune;

/// <summary>A random small network of convolutions, residual blocks with identity and convolutional shortcuts, poolings, concatenations, and a classifier behind a flatten or a global mean.</summary>
internal sealed class RandomResidualNetwork : Model
{
    public const int ImageSize = 8;
    private readonly List<Func<Tensor, Tensor>> stages = [];

    public RandomResidualNetwork(Device device, int seed)
        : base(device, new ModelRecipe("random", 8, 4, ImageSize, ImageSize, 3))
    {
        Random random = new(seed);
        Activation activation = Activation.Relu;
        int channels = random.Next(2, 20);
        int size = ImageSize;
        AddConvolution("stem", 3, channels);
        for (int i = 0; i < random.Next(1, 4); i++)
        {
            string name = $"stage{i}";
            switch (random.Next(5))
            {
                case 0 when size > 2:
                    stages.Add(x => Operation.MaximumPool(x, PoolingSettings.Square(2)));
                    size /= 2;
                    break;
                case 1:
                    int wider = random.Next(2, 24);
                    AddBlock(name, channels, wider, size > 2 ? 2 : 1, true);
                    size = size > 2 ? size / 2 : size;
                    channels = wider;
                    break;
                case 2:
                    channels = AddConcatenation(name, channels, random.Next(1, 12), random.Next(1, 12));
                    break;
                default:
                    AddBlock(name, channels, channels, 1, false);
                    break;
            }
        }

        if (random.Next(2) == 0)
        {
            Linear classifier = Register("fc", new Linear(device, channels, 4));
            stages.Add(x => classifier.Forward(Operation.GlobalAveragePool(x)));
        }
        else
        {
            Linear hidden = Register("hidden", new Linear(device, channels * size * size, 9));
            ActivationLayer hiddenActivation = Register("hidden", new ActivationLayer(device, 9, activation));
            Linear classifier = Register("fc", new Linear(device, 9, 4));
            stages.Add(x => classifier.Forward(hiddenActivation.Forward(hidden.Forward(Operation.Flatten(x)))));
        }

        void AddConvolution(string name, int inputs, int outputs)
        {
            ConvBatchNormRelu layer = CreateConvolution(name, inputs, outputs);
            stages.Add(x => layer.Forward(x));
        }

        ConvBatchNormRelu CreateConvolution(string name, int inputs, int outputs)
        {
            ConvBatchNormRelu layer = new(device, inputs, outputs, 3, ConvolutionSettings.Square(padding: 1), activation);
            Register(name + ".conv", layer.Convolution);
            Register(name + ".bn", layer.Norm);
            Register(name, layer.Activity!);
            return layer;
        }

        void AddBlock(string name, int inputs, int outputs, int stride, bool projects)
        {
            ResidualBlock block = Register(name, new ResidualBlock(
                device, name, new ChannelPlan(), inputs, random.Next(1, 20), outputs, stride, random.Next(3) == 0, projects, activation));
            stages.Add(x => block.Forward(x));
        }

        int AddConcatenation(string name, int inputs, int left, int right)
        {
            ConvBatchNormRelu a = CreateConvolution(name + ".a", inputs, left);
            ConvBatchNormRelu b = CreateConvolution(name + ".b", inputs, right);
            stages.Add(x => Operation.Concatenate(a.Forward(x), b.Forward(x)));
            return left + right;
        }
    }

    public override Tensor Forward(Tensor input)
    {
        Tensor x = input;
        foreach (Func<Tensor, Tensor> stage in stages)
        {
            x = stage(x);
        }

        return x;
    }
}
