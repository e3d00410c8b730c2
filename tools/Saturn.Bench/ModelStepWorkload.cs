using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers.Models;
using Saturn.Prune;

namespace Saturn.Bench;

/// <summary>One training step of a model at any channel counts: forward, backward, SGD with momentum 0.9 and weight decay 5e-4, on fixed random inputs; the same work as the peer's.</summary>
public sealed class ModelStepWorkload : ITrainingStepWorkload
{
    private readonly Model model;
    private readonly Optimizer optimizer;
    private readonly Tensor images;
    private readonly Tensor labels;
    private long step;

    /// <summary>Builds the network.</summary>
    /// <param name="device">Where.</param>
    /// <param name="recipe">What.</param>
    /// <param name="plan">Its channel counts.</param>
    /// <param name="batch">Images a step.</param>
    public ModelStepWorkload(Device device, ModelRecipe recipe, ChannelPlan plan, int batch)
    {
        model = ModelFactory.Create(recipe, device, plan);
        model.Initialize(1);
        optimizer = new Sgd(PruningRun.CreateGroups(model, 0.01, 5e-4));
        images = Tensor.AllocateUnscoped(device, recipe.InputShape(batch));
        device.Random.Normal(images.Shape, new RandomKey(1, 0, 0), 0, 1, images.Buffer);
        labels = Tensor.FromValues(device, [.. Enumerable.Range(0, batch).Select(i => i % recipe.Classes)]);
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
}
