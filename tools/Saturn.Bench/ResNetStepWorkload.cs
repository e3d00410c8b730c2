using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers.Models;
using Saturn.Prune;

namespace Saturn.Bench;

/// <summary>
/// One training step of a ResNet-18 on 32×32 images at any channel counts: forward, backward, SGD with momentum 0.9 and weight decay 5e-4, on fixed random inputs; the same work as
/// the peer's.
/// </summary>
public sealed class ResNetStepWorkload : ITrainingStepWorkload
{
    private readonly Model model;
    private readonly Optimizer optimizer;
    private readonly Tensor images;
    private readonly Tensor labels;
    private long step;

    /// <summary>Builds the network of a case.</summary>
    public ResNetStepWorkload(Device device, StepCase network)
    {
        ModelRecipe recipe = new("resnet18", network.Channels[0], 10, 32, 32, 3);
        model = ModelFactory.Create(recipe, device, Plan(network));
        model.Initialize(1);
        optimizer = new Sgd(PruningRun.CreateGroups(model, 0.01, 5e-4));
        images = Tensor.AllocateUnscoped(device, recipe.InputShape(network.Batch));
        device.Random.Normal(images.Shape, new RandomKey(1, 0, 0), 0, 1, images.Buffer);
        labels = Tensor.FromValues(device, [.. Enumerable.Range(0, network.Batch).Select(i => i % 10)]);
    }

    /// <inheritdoc/>
    public void Step()
    {
        using TensorScope scope = new();
        model.BeginStep(step++);
        Operation.SoftmaxCrossEntropy(model.Forward(images), labels).Backward();
        optimizer.Step();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        images.Dispose();
        labels.Dispose();
        optimizer.Dispose();
        model.Dispose();
    }

    private static ChannelPlan Plan(StepCase network)
    {
        Dictionary<string, int> channels = new() { ["conv1"] = network.Channels[0] };
        for (int stage = 0; stage < 4; stage++)
        {
            for (int block = 0; block < 2; block++)
            {
                channels[$"layer{stage + 1}.{block}"] = network.Channels[stage];
                channels[$"layer{stage + 1}.{block}.conv1"] = network.InnerChannels[stage * 2 + block];
            }
        }

        return new ChannelPlan(channels);
    }
}
