using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;

namespace Saturn.Layers.Models;

/// <summary>
/// Two 3×3 convolutions with batch norm, activation and 2×2 maximum pooling, of width and 2·width channels; a linear layer of 4·width units with batch norm and activation; and a
/// classifier. For width 32 on 28×28 images these are 32, 64 and 128.
/// </summary>
public sealed class SmallConvNet : Model
{
    private readonly ConvBatchNormRelu first;
    private readonly ConvBatchNormRelu second;
    private readonly Linear hidden;
    private readonly BatchNorm hiddenNorm;
    private readonly ChannelActivity hiddenActivity;
    private readonly Linear classifier;
    private readonly NormalizationTail hiddenTail;

    /// <summary>Creates the network.</summary>
    public SmallConvNet(Device device, ModelRecipe recipe, ChannelPlan plan)
        : base(device, recipe)
    {
        int channels1 = plan["conv1", recipe.Width];
        int channels2 = plan["conv2", 2 * recipe.Width];
        int units = plan["fc1", 4 * recipe.Width];
        var activation = recipe.ActivationFunction();
        first = AddConvolution("1", recipe.InputChannels, channels1);
        second = AddConvolution("2", channels1, channels2);
        hidden = Register("fc1", new Linear(device, (recipe.InputHeight / 4) * (recipe.InputWidth / 4) * channels2, units, bias: false)
        {
            FlattenedImage = (recipe.InputHeight / 4, recipe.InputWidth / 4),
        });
        hiddenNorm = Register("bn3", new BatchNorm(device, units));
        hiddenActivity = Register("fc1", new ChannelActivity(device, units, activation));
        hiddenTail = new NormalizationTail(activation, Activity: hiddenActivity);
        classifier = Register("fc2", new Linear(device, units, recipe.Classes));

        ConvBatchNormRelu AddConvolution(string number, int inputs, int outputs)
        {
            ConvBatchNormRelu block = new(device, inputs, outputs, 3, ConvolutionSettings.Square(padding: 1), activation);
            Register("conv" + number, block.Convolution);
            Register("bn" + number, block.Norm);
            Register("conv" + number, block.Activity!);
            return block;
        }
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input)
    {
        Tensor x = Operation.MaximumPool(first.Forward(input), PoolingSettings.Square(2));
        x = Operation.Flatten(Operation.MaximumPool(second.Forward(x), PoolingSettings.Square(2)));
        x = Operation.LinearBatchNormRelu(x, hidden.Weight.Value, default, hiddenNorm.Arguments, hiddenTail);
        return classifier.Forward(x);
    }
}
