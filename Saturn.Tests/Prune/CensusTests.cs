using NUnit.Framework;
using Saturn.Engine;
using Saturn.Kernels.Families;
using Saturn.Layers.Models;
using Saturn.Prune;
using Saturn.Tests.Engine;

namespace Saturn.Tests.Prune;

/// <summary>What a census may and may not conclude.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class CensusTests(string device) : EngineTest(device)
{
    private static readonly ModelRecipe Recipe = new("cnn", 4, 10, 8, 8, 1);

    [Test]
    public void Batches_are_combined_and_modes_restored()
    {
        using Model model = ModelFactory.Create(Recipe, Device);
        model.Initialize(3);
        ChannelGraph graph = ChannelGraph.Trace(model, Recipe.InputShape(1));
        var whole = Census.Take(model, graph, visit => Visit(visit, 6, 0));
        var parts = Census.Take(model, graph, visit =>
        {
            Visit(visit, 2, 0);
            Visit(visit, 4, 2);
        });
        foreach (UnitGroup group in graph.Groups)
        {
            Assert.That(parts[group].Maximum, Is.EqualTo(whole[group].Maximum));
            Assert.That(parts[group].Minimum, Is.EqualTo(whole[group].Minimum));
            Assert.That(parts[group].Sum, Is.EqualTo(whole[group].Sum).Within(1e-9));
            Assert.That(parts[group].Rows, Is.EqualTo(whole[group].Rows));
        }

        Assert.That(model.IsTraining, Is.True);
    }

    [Test]
    public void A_census_without_images_condemns_nobody()
    {
        using Model model = ModelFactory.Create(Recipe, Device);
        model.Initialize(3);
        ChannelGraph graph = ChannelGraph.Trace(model, Recipe.InputShape(1));
        Assert.That(() => Census.Take(model, graph, visit => { }), Throws.InvalidOperationException.With.Message.Contains("at least one batch"));
        Assert.That(model.IsTraining, Is.True);
    }

    [Test]
    public void A_census_that_fails_leaves_nothing_behind()
    {
        using Model model = ModelFactory.Create(Recipe, Device);
        model.Initialize(3);
        ChannelGraph graph = ChannelGraph.Trace(model, Recipe.InputShape(1));
        Assert.That(() => Census.Take(model, graph, visit => throw new IOException("the disk is gone")), Throws.InstanceOf<IOException>());
        Assert.That(model.IsTraining, Is.True);
        Assert.That(graph.Groups.Select(group => group.Activity.CollectsStatistics), Is.All.False);
    }

    [Test]
    public void Units_that_are_not_finite_or_were_seen_once_stay()
    {
        using Model model = ModelFactory.Create(Recipe, Device);
        model.Initialize(3);
        UnitGroup group = ChannelGraph.Trace(model, Recipe.InputShape(1)).Groups[0];
        bool[] remove = new bool[4];
        float never = float.NegativeInfinity;
        new DeadUnits().Select(group, new ChannelStatistics([0, never, 2, 2], [0, -never, 2, 1], [0, double.NaN, 4, 3], 2), remove);
        Assert.That(remove, Is.EqualTo(new[] { true, false, true, false }), "dead, not finite, constant, alive");
        new DeadUnits().Select(group, new ChannelStatistics([0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3], 1), remove);
        Assert.That(remove, Is.EqualTo(new[] { true, false, false, false }), "one row");
    }

    [Test]
    public void The_threshold_decides_by_the_kind_of_activation()
    {
        ChannelStatistics seen = new([0.005f, 0.02f, 0, -0.001f], [0, 0, -0.02f, -0.005f], [1, 1, 1, 1], 9);
        Assert.That(Dead("relu", null), Is.EqualTo(new[] { false, false, true, true }));
        Assert.That(Dead("relu", 0.01), Is.EqualTo(new[] { true, false, true, true }));
        Assert.That(Dead("leakyrelu", null), Is.EqualTo(new[] { false, false, true, true }));
        Assert.That(Dead("gelu", null), Is.EqualTo(new[] { true, false, false, true }));
        Assert.That(Dead("silu", 0.03), Is.EqualTo(new[] { true, true, true, true }));

        bool[] Dead(string activation, double? threshold)
        {
            ModelRecipe recipe = Recipe with { Activation = activation };
            using Model model = ModelFactory.Create(recipe, Device);
            model.Initialize(3);
            using Saturn.Engine.Optimizers.Sgd optimizer = new(PruningRun.CreateGroups(model, 0.1, 0));
            using PruningRun pruning = new(model, optimizer, new DemonPruning(new DemonPruningOptions { DeadThreshold = threshold }), 10, recipe.InputShape(1), 1);
            bool[] remove = new bool[4];
            new DeadUnits().Select(pruning.Graph.Groups[0], seen, remove);
            return remove;
        }
    }

    private void Visit(Action<Tensor> visit, int count, int first)
    {
        using TensorScope scope = new();
        float[] all = Tensor.Uniform(Device, Recipe.InputShape(6), new RandomKey(4, 0, 0), -1, 1).ToArray();
        visit(Tensor.FromValues(Device, Recipe.InputShape(count), all.AsSpan(first * 64, count * 64)));
    }
}
