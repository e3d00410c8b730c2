using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Layers.Models;

/// <summary>
/// ResNet-18, 34 or 50 (He et al., 2016) under torchvision's parameter names. Images up to 64 pixels get the CIFAR stem, a 3×3 convolution of stride 1; larger ones the ImageNet stem,
/// 7×7 of stride 2 and a 3×3 maximum pooling of stride 2.
/// </summary>
public sealed class ResNet : Model
{
    private readonly ConvBatchNormRelu stem;
    private readonly List<ResidualBlock> blocks = [];
    private readonly Linear classifier;
    private readonly bool largeImages;

    /// <summary>Creates the network.</summary>
    /// <param name="device">The device.</param>
    /// <param name="recipe">Sizes.</param>
    /// <param name="plan">Channel counts of a pruned network.</param>
    /// <param name="blocksPerStage">Blocks of each of the four stages.</param>
    /// <param name="bottleneck">Whether blocks have three convolutions and four times the width.</param>
    public ResNet(Device device, ModelRecipe recipe, ChannelPlan plan, ReadOnlySpan<int> blocksPerStage, bool bottleneck)
        : base(device, recipe)
    {
        Activation activation = recipe.ActivationFunction();
        largeImages = recipe.InputHeight > 64;
        int channels = plan["conv1", recipe.Width];
        stem = largeImages
            ? new ConvBatchNormRelu(device, recipe.InputChannels, channels, 7, ConvolutionSettings.Square(2, 3), activation)
            : new ConvBatchNormRelu(device, recipe.InputChannels, channels, 3, ConvolutionSettings.Square(1, 1), activation);
        Register("conv1", stem.Convolution);
        Register("bn1", stem.Norm);
        Register("conv1", stem.Activity!);
        try
        {
            channels = BuildBlocks(device, recipe, plan, channels, blocksPerStage, bottleneck, activation);
        }
        catch
        {
            Dispose();
            throw;
        }

        classifier = Register("fc", new Linear(device, channels, recipe.Classes));
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input)
    {
        Tensor x = stem.Forward(input);
        if (largeImages)
        {
            x = Operation.MaximumPool(x, PoolingSettings.Square(3, 2, 1));
        }

        for (int i = 0; i < blocks.Count; i++)
        {
            x = blocks[i].Forward(x);
        }

        return classifier.Forward(Operation.GlobalAveragePool(x));
    }

    /// <summary>Adds all blocks and returns the channels behind the last.</summary>
    private int BuildBlocks(
        Device device, ModelRecipe recipe, ChannelPlan plan, int channels, ReadOnlySpan<int> blocksPerStage, bool bottleneck, Activation activation)
    {
        int denseChannels = recipe.Width;
        for (int stage = 0; stage < blocksPerStage.Length; stage++)
        {
            int inner = recipe.Width << stage;
            int outer = bottleneck ? inner * 4 : inner;
            for (int i = 0; i < blocksPerStage[stage]; i++)
            {
                string name = $"layer{stage + 1}.{i}";
                int stride = stage > 0 && i == 0 ? 2 : 1;
                ResidualBlock block = new(device, name, plan, channels, inner, outer, stride, bottleneck, stride != 1 || denseChannels != outer, activation);
                Register(name, block);
                blocks.Add(block);
                if (block.Shortcut is not null)
                {
                    AddShortcut(name, block.Shortcut);
                }

                channels = block.OutputChannels;
                denseChannels = outer;
            }
        }

        return channels;
    }
}
