using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Families;
using Saturn.Layers.Models;
using Saturn.Prune;
using Saturn.Prune.Methods;

namespace Saturn.Tests.Prune;

/// <summary>A method on a small network and random images.</summary>
internal sealed class MethodRun : IDisposable
{
    private readonly CpuDevice device = new(workers: 1);
    private readonly ModelRecipe recipe;

    public MethodRun(PruningMethod method, long totalSteps, string model = "cnn", int width = 8, string optimizer = "sgd", double decay = 0)
    {
        recipe = new ModelRecipe(model, width, 10, 8, 8, 1);
        Model = ModelFactory.Create(recipe, device);
        Model.Initialize(0);
        IReadOnlyList<ParameterGroup> groups = PruningRun.CreateGroups(Model, 0.05, decay);
        Optimizer = method.CreateOptimizer(groups, 0.9, false) ?? optimizer switch
        {
            "adam" => new Adam(groups),
            "adamw" => new Adam(groups, decoupledWeightDecay: true),
            "nesterov" => new Sgd(groups, nesterov: true),
            _ => new Sgd(groups),
        };
        Run = new PruningRun(Model, Optimizer, method, totalSteps, recipe.InputShape(1), 8)
        {
            CensusImages = visit =>
            {
                using TensorScope scope = new();
                visit(Images(1000));
            },
        };
    }

    public Model Model { get; }

    public Optimizer Optimizer { get; }

    public PruningRun Run { get; }

    /// <summary>Takes steps, from the first one on.</summary>
    public void Train(int steps, int first = 0, Action<int>? beforeUpdate = null)
    {
        for (int step = first; step < first + steps; step++)
        {
            using TensorScope scope = new();
            Model.BeginStep(step);
            Run.BeforeStep(step);
            Operation.SoftmaxCrossEntropy(Model.Forward(Images(step)), Tensor.FromValues(device, [0, 1, 2, 3, 4, 5, 6, 7])).Backward();
            beforeUpdate?.Invoke(step);
            Run.Update();
            Run.AfterStep(step + 1);
        }
    }

    public void Dispose()
    {
        Run.Dispose();
        Optimizer.Dispose();
        Model.Dispose();
        device.Dispose();
    }

    private Tensor Images(int step) => Tensor.Uniform(device, recipe.InputShape(8), new RandomKey(1, 0, (ulong)step), -1, 1);
}
