// Add a pruning criterion: remove the quarter of each layer's units with the smallest mean output, physically, and see the network shrink.
using Saturn.Engine;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Families;
using Saturn.Layers.Models;
using Saturn.Prune;

using Device device = new CpuDevice();
ModelRecipe recipe = new("resnet18", Width: 16, Classes: 10, InputHeight: 32, InputWidth: 32, InputChannels: 3);
using Model model = ModelFactory.Create(recipe, device);
model.Initialize(seed: 1);
using Sgd optimizer = new(PruningRun.CreateGroups(model, learningRate: 0.1, weightDecay: 5e-4));
DemonPruning method = new(new DemonPruningOptions(), new LeastActive(share: 0.25));
using PruningRun run = new(model, optimizer, method, totalSteps: 1000, recipe.InputShape(1), imagesPerStep: 32)
{
    // The census calls back for its images; here they are noise, in a program of yours they are training images.
    CensusImages = visit =>
    {
        using TensorScope scope = new();
        visit(Tensor.Normal(device, recipe.InputShape(64), new RandomKey(Seed: 1, Stream: 0, Step: 0)));
    },
};

Console.WriteLine($"before: {run.Accounting.LiveUnits} units, {run.Accounting.Parameters:N0} parameters");
Console.WriteLine($"removed {method.Prune(run)} units");
Console.WriteLine($"after: {run.Accounting.LiveUnits} units, {run.Accounting.Parameters:N0} parameters, {run.Accounting.InferenceFlopsRatio:P0} of the FLOPs");

/// <summary>Removes the units of each group whose mean output over the census is smallest.</summary>
internal sealed class LeastActive(double share) : IPruningCriterion
{
    public void Select(UnitGroup group, ChannelStatistics statistics, Span<bool> remove)
    {
        int count = (int)(remove.Length * share);
        foreach (int channel in Enumerable.Range(0, remove.Length).OrderBy(statistics.Mean).Take(count))
        {
            remove[channel] = true;
        }
    }
}
