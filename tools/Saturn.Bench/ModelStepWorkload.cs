using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers.Models;
using Saturn.Prune;

namespace Saturn.Bench;

/// <summary>
/// One training step of a model at any channel counts: forward, backward, SGD with momentum 0.9 and weight decay 5e-4, on random inputs that stay on the device; the same work as the peer's. Steps are
/// launched call by call, or recorded and repeated as training does it on a GPU.
/// </summary>
public sealed class ModelStepWorkload : ITrainingStepWorkload
{
    private readonly Model model;
    private readonly Optimizer optimizer;
    private readonly Tensor images;
    private readonly Tensor labels;
    private readonly Action passes;
    private StepGraph? graph;
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
        passes = RunPasses;
    }

    /// <summary>Why steps are launched call by call although they were to be recorded; null where they are recorded, or were not to be.</summary>
    public string? WhyNotRecorded => graph?.Refusal;

    /// <summary>Takes steps until they are repeated from a recording, or cannot be.</summary>
    /// <returns>Whether further steps are repetitions.</returns>
    public bool Record()
    {
        const int mostRehearsals = 10;
        graph = new StepGraph(images.Device, optimizer, model.Activities);
        for (int i = 0; i < mostRehearsals && graph.Recordings == 0 && graph.Refusal is null; i++)
        {
            Step();
        }

        return graph.Recordings > 0;
    }

    /// <summary>Launches further steps call by call.</summary>
    public void StopRecording()
    {
        graph?.Dispose();
        graph = null;
    }

    /// <inheritdoc/>
    public void Step()
    {
        model.BeginStep(step++);
        if (graph is not null)
        {
            graph.Run(passes, gradientScale: 1, structure: 0);
        }
        else
        {
            RunPasses();
            optimizer.Step();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        StopRecording();
        images.Dispose();
        labels.Dispose();
        optimizer.Dispose();
        model.Dispose();
    }

    private void RunPasses()
    {
        using TensorScope scope = new();
        Operation.SoftmaxCrossEntropy(model.Forward(images), labels).Backward();
    }
}
