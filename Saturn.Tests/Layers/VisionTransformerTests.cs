using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Families;
using Saturn.Layers.Models;
using Saturn.Prune;
using Saturn.Tests.Engine;

namespace Saturn.Tests.Layers;

/// <summary>The vision transformer: its counts, what may be removed of it, and its training.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class VisionTransformerTests(string device) : EngineTest(device)
{
    private static readonly ModelRecipe Small = new("vit", 12, 10, 8, 8, 3, "relu", Patch: 4, Depth: 2, Heads: 3);

    [Test]
    public void Parameters_and_operations_are_those_counted_by_hand()
    {
        using Model model = ModelFactory.Create(Small, Device);
        model.Initialize(0);
        Accounting accounting = new(model, ChannelGraph.Trace(model, Small.InputShape(1)));

        // Patches 12·48 + 12, positions 4·12, a block 24 + 36·12 + 36 + 12·12 + 12 + 24 + 48·12 + 48 + 12·48 + 12, norm 24, head 130.
        const long Block = 24 + 432 + 36 + 144 + 12 + 24 + 576 + 48 + 576 + 12;
        Assert.That(accounting.DenseParameters, Is.EqualTo(576 + 12 + 48 + 2 * Block + 24 + 130));

        // Multiply-adds of 4 tokens: patches, per block qkv, projection, perceptron and 2·tokens²·width of attention, head.
        const long Multiplications = 4 * 576 + 2 * (4 * (432 + 144 + 576 + 576) + 2 * 4 * 4 * 12) + 120;
        Assert.That(accounting.Flops, Is.EqualTo(2 * Multiplications));
    }

    [Test]
    public void Only_the_perceptrons_units_can_go()
    {
        using Model model = ModelFactory.Create(Small, Device);
        model.Initialize(0);
        ChannelGraph graph = ChannelGraph.Trace(model, Small.InputShape(1));
        Assert.That(graph.Groups.Select(group => (group.Name, group.Channels, group.PinnedBecause)), Is.EqualTo(new[] { ("blocks.0.mlp", 48, (string?)null), ("blocks.1.mlp", 48, null) }));
        Assert.That(graph.Groups[1].Producers.Select(parameter => parameter.Name), Is.EqualTo(new[] { "blocks.1.mlp.fc1.weight", "blocks.1.mlp.fc1.bias" }));
        Assert.That(graph.Groups[1].Readers.Single().Weight.Name, Is.EqualTo("blocks.1.mlp.fc2.weight"));
    }

    [TestCase("relu")]
    [TestCase("gelu")]
    public void Removing_dead_units_leaves_the_function(string activation)
    {
        ModelRecipe recipe = Small with { Activation = activation };
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(1);
        Parameter bias = model.Parameters.Single(parameter => parameter.Name == "blocks.0.mlp.fc1.bias");
        float[] values = bias.Value.ToArray();
        int[] silenced = [0, 7, 31];
        foreach (int unit in silenced)
        {
            values[unit] = -100;
        }

        bias.Value.CopyFrom(values);
        using Adam optimizer = new(PruningRun.CreateGroups(model, 1e-3, 0));
        using TensorScope scope = new();
        Tensor images = Tensor.Uniform(Device, recipe.InputShape(6), new RandomKey(1, 0, 0), -1, 1);
        DemonPruning method = new();
        using PruningRun run = new(model, optimizer, method, 10, recipe.InputShape(1), 6) { CensusImages = visit => visit(images) };
        float[] before = model.Forward(images).ToArray();
        int removed = method.Prune(run);
        Assert.That(removed, Is.GreaterThanOrEqualTo(3));
        Assert.That(model.Activities.First().OriginalChannels, Does.Not.Contain(0).And.Not.Contain(7).And.Not.Contain(31));
        Assert.That(model.Forward(images).ToArray(), Is.EqualTo(before).Within(2e-5f));
        using Model again = ModelFactory.Create(recipe, Device, new ChannelPlan(model.Activities.ToDictionary(activity => activity.Name, activity => activity.Channels)));
        Assert.That(again.Parameters.Select(parameter => parameter.Shape), Is.EqualTo(model.Parameters.Select(parameter => parameter.Shape)));
    }

    [Test]
    public void Training_agrees_with_the_host()
    {
        using CpuDevice host = new(workers: 1);
        Assert.That(Losses(Device), Is.EqualTo(Losses(host)).Within(1e-4f));
    }

    [TestCase(5, 0, "do not tile")]
    [TestCase(4, 5, "heads")]
    public void Sizes_that_do_not_fit_are_one_sentence(int patch, int heads, string part) =>
        Assert.That(() => ModelFactory.Create(Small with { Patch = patch, Heads = heads }, Device), Throws.ArgumentException.With.Message.Contains(part));

    private static float[] Losses(Device device)
    {
        using Model model = ModelFactory.Create(Small with { Activation = "gelu" }, device);
        model.Initialize(2);
        using Adam optimizer = new(PruningRun.CreateGroups(model, 3e-3, 1e-4), epsilon: 1e-3);
        float[] losses = new float[5];
        for (int step = 0; step < losses.Length; step++)
        {
            using TensorScope scope = new();
            model.BeginStep(step);
            Tensor images = Tensor.Uniform(device, Small.InputShape(4), new RandomKey(3, 0, (ulong)step), -1, 1);
            Tensor loss = Operation.SoftmaxCrossEntropy(model.Forward(images), Tensor.FromValues(device, [0, 1, 2, 3]));
            loss.Backward();
            losses[step] = loss.ToScalar();
            optimizer.Step();
        }

        Assert.That(losses[^1], Is.LessThan(losses[0]));
        return losses;
    }
}
