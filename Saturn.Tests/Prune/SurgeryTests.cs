using FsCheck;
using FsCheck.Fluent;
using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers.Models;
using Saturn.Prune;
using Saturn.Tests.Engine;

namespace Saturn.Tests.Prune;

/// <summary>
/// The invariant of surgery on random networks: channels that are forced to zero by their normalization (γ = 0, β = −1 before a ReLU without a residual, or the last row's weights) are cut, and the
/// compacted network is compared with the masked one on fresh inputs, and after further training.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class SurgeryTests(string device) : EngineTest(device)
{
    private static readonly Shape Images = new(3, RandomResidualNetwork.ImageSize, RandomResidualNetwork.ImageSize, 3);

    [Test]
    public void A_compacted_network_computes_what_the_masked_one_did()
    {
        int cut = 0;
        int emptied = 0;
        Prop.ForAll(Arb.From(Gen.Choose(0, 1_000_000)), seed =>
        {
            using Model model = new RandomResidualNetwork(Device, seed);
            model.Initialize((ulong)seed);
            ChannelGraph graph = ChannelGraph.Trace(model, Images);
            Dictionary<UnitGroup, bool[]> marks = Silence(graph, seed, 0.4);
            model.SetTraining(false);
            float[] masked = Run(model, seed);
            SurgeryReport report = Surgery.Remove(model, graph, marks, null, null);
            cut += report.Removed;
            emptied += model.Activities.Count(activity => activity.Channels == 0);
            float[] compacted = Run(model, seed);
            double error = Difference.Relative(compacted, masked);
            return (error < 1e-5).Label($"seed {seed}: {report.Removed} removed, relative error {error:E2}");
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(40).WithReplay(42, 43));
        Assert.That(cut, Is.GreaterThan(200), "the property must have cut something to say anything");
        Assert.That(emptied, Is.GreaterThan(3), "some blocks must have lost their branch");
    }

    [TestCase("sgd", 10, 1e-4)]
    [TestCase("adam", 10, 1e-3)]
    [TestCase("sgd", 1, 1e-5)]
    [TestCase("adam", 1, 1e-5)]
    [TestCase("directional", 10, 1e-4)]
    public void Training_goes_on_as_it_would_have_for_the_masked_network(string rule, int steps, double tolerance)
    {
        for (int seed = 0; seed < 6; seed++)
        {
            Dictionary<string, float[]> masked = Train(seed, rule, steps, cut: false);
            Dictionary<string, float[]> compacted = Train(seed, rule, steps, cut: true);
            foreach (var (name, values) in compacted)
            {
                // A mean near 0 is a difference of values as large as the deviation, so that is its measure.
                double floor = name.EndsWith("running_mean", StringComparison.Ordinal) ? Math.Sqrt(masked[name.Replace("running_mean", "running_var")].Sum(v => (double)v)) : 0;
                Assert.That(Difference.Relative(values, masked[name], floor), Is.LessThan(tolerance), $"{name}, seed {seed}");
            }
        }
    }

    [TestCase("adam")]
    [TestCase("directional")]
    public void Weights_and_moments_are_gathered_bit_for_bit(string rule)
    {
        using Model model = new RandomResidualNetwork(Device, 5);
        model.Initialize(5);
        using Optimizer optimizer = CreateOptimizer(rule, PruningRun.CreateGroups(model, 1e-3, 1e-4));
        Step(model, optimizer, 1);
        ChannelGraph graph = ChannelGraph.Trace(model, Images);
        Dictionary<string, float[]> weights = model.Parameters.ToDictionary(p => p.Name, p => p.Value.ToArray());
        Dictionary<string, float[]> second = optimizer.Parameters.ToDictionary(p => p.Name, p => optimizer.MomentsOf(p)[1].ToArray());
        Dictionary<string, int[]> shapes = model.Parameters.ToDictionary(p => p.Name, p => p.Shape.ToArray());
        Surgery.Remove(model, graph, Silence(graph, 5, 0.5, touch: false), null, optimizer);
        int smaller = 0;
        foreach (Parameter parameter in model.Parameters)
        {
            float[] expected = Select(weights[parameter.Name], shapes[parameter.Name], parameter);
            Assert.That(parameter.Value.ToArray(), Is.EqualTo(expected), parameter.Name);
            smaller += expected.Length < weights[parameter.Name].Length ? 1 : 0;
            if (parameter.IsTrained)
            {
                Assert.That(optimizer.MomentsOf(parameter)[1].ToArray(), Is.EqualTo(Select(second[parameter.Name], shapes[parameter.Name], parameter)), parameter.Name);
            }
        }

        Assert.That(smaller, Is.GreaterThan(5));
    }

    [Test]
    public void Survivors_see_the_same_noise_whenever_their_neighbours_went()
    {
        ModelRecipe recipe = new("resnet18", 8, 10, 8, 8, 3);
        Dictionary<string, float[]> early = NoiseOnly(removeFirst: true, out Dictionary<string, (int[]? Rows, int[]? Columns)> kept);
        Dictionary<string, float[]> late = NoiseOnly(removeFirst: false, out _);
        foreach (var (name, values) in early)
        {
            Assert.That(values, Is.EqualTo(late[name]), name);
        }

        Assert.That(kept.Values.Count(indices => indices.Rows is not null), Is.GreaterThan(10));

        Dictionary<string, float[]> NoiseOnly(bool removeFirst, out Dictionary<string, (int[]? Rows, int[]? Columns)> indices)
        {
            using Model model = ModelFactory.Create(recipe, Device);
            model.Initialize(1);
            using Sgd optimizer = new(PruningRun.CreateGroups(model, 0, 0));
            if (removeFirst)
            {
                Cut();
            }

            foreach (ParameterGroup group in optimizer.Groups)
            {
                group.NoiseStandardDeviation = 0.1;
                group.NoiseOnLiveOnly = false;
            }

            Step(model, optimizer, 1);
            if (!removeFirst)
            {
                Cut();
            }

            indices = model.Parameters.ToDictionary(p => p.Name, p => (p.OriginalRows?.Values.ToArray(), p.OriginalColumns?.Values.ToArray()));
            return model.Parameters.Where(p => p.IsTrained).ToDictionary(p => p.Name, p => p.Value.ToArray());

            void Cut()
            {
                // Twice, so that the original indices of survivors of survivors count.
                for (int seed = 9; seed < 11; seed++)
                {
                    ChannelGraph graph = ChannelGraph.Trace(model, recipe.InputShape(1));
                    Surgery.Remove(model, graph, Silence(graph, seed, 0.3, touch: false), null, optimizer);
                }
            }
        }
    }

    [Test]
    public void Repeated_removals_compose()
    {
        ModelRecipe recipe = new("resnet18", 8, 10, 8, 8, 3);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(3);
        model.SetTraining(false);
        for (int round = 0; round < 3; round++)
        {
            ChannelGraph graph = ChannelGraph.Trace(model, recipe.InputShape(1));
            Dictionary<UnitGroup, bool[]> marks = Silence(graph, 100 + round, 0.3);
            float[] masked = Run(model, round, recipe.InputShape(2));
            Surgery.Remove(model, graph, marks, null, null);
            Assert.That(Difference.Relative(Run(model, round, recipe.InputShape(2)), masked), Is.LessThan(1e-5), $"round {round}");
        }

        Assert.That(model.Shortcuts.Count(entry => entry.Shortcut.Map is not null), Is.GreaterThan(0));
    }

    [Test]
    public void A_block_whose_inner_units_all_die_becomes_its_shortcut_plus_beta()
    {
        ModelRecipe recipe = new("resnet18", 8, 10, 8, 8, 3);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(3);
        using Adam optimizer = new(PruningRun.CreateGroups(model, 1e-3, 0));
        Step(model, optimizer, 1, recipe.InputShape(4));
        ChannelGraph graph = ChannelGraph.Trace(model, recipe.InputShape(1));
        UnitGroup inner = graph.Groups.Single(group => group.Name == "layer1.0.conv1");
        Dictionary<UnitGroup, bool[]> marks = new() { [inner] = [.. Enumerable.Repeat(true, inner.Channels)] };
        Silencer.Silence(inner, marks[inner]);

        // The branch's second norm then sees a zero convolution; with a zero running mean it computes exactly β.
        model.SetTraining(false);
        foreach (Parameter mean in model.Parameters.Where(p => p.Name == "layer1.0.bn2.running_mean"))
        {
            mean.Value.CopyFrom(new float[mean.Rows]);
        }

        float[] masked = Run(model, 1, recipe.InputShape(2));
        Surgery.Remove(model, graph, marks, null, optimizer);
        Assert.That(model.Parameters.Any(p => p.Name == "layer1.0.conv1.weight"), Is.False);
        Assert.That(Difference.Relative(Run(model, 1, recipe.InputShape(2)), masked), Is.LessThan(1e-5));
        model.SetTraining(true);
        Step(model, optimizer, 2, recipe.InputShape(4));
        Assert.That(ChannelGraph.Trace(model, recipe.InputShape(1)).Groups.Select(group => group.Name), Does.Not.Contain("layer1.0.conv1"));
    }

    [Test]
    public void A_layer_that_nothing_leads_around_keeps_its_most_active_unit()
    {
        ModelRecipe recipe = new("cnn", 4, 10, 8, 8, 1);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(3);
        ChannelGraph graph = ChannelGraph.Trace(model, recipe.InputShape(1));
        UnitGroup first = graph.Groups[0];
        Dictionary<UnitGroup, bool[]> marks = new() { [first] = [true, true, true, true] };
        Dictionary<UnitGroup, ChannelStatistics> statistics = new() { [first] = new([-1, 0, -2, -3], [-1, -1, -2, -3], [0, 0, 0, 0], 1) };
        SurgeryReport report = Surgery.Remove(model, graph, marks, statistics, null);
        Assert.That(first.Activity.OriginalChannels, Is.EqualTo(new[] { 1 }));
        Assert.That(report.Warnings, Has.Count.EqualTo(1));
        Assert.That(report.Warnings[0], Does.Contain("conv1"));
    }

    [Test]
    public void A_constant_unit_is_folded_into_its_readers()
    {
        ModelRecipe recipe = new("mlp", 9, 4, 2, 2, 1);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(3);
        model.SetTraining(false);
        ChannelGraph graph = ChannelGraph.Trace(model, recipe.InputShape(1));
        UnitGroup first = graph.Groups[0];
        Parameter weight = first.Producers.Single(p => p.Role == ParameterRole.Weight);
        Parameter bias = first.Producers.Single(p => p.Role == ParameterRole.Bias);
        float[] w = weight.Value.ToArray();
        Array.Clear(w, 0, weight.Columns);
        weight.Value.CopyFrom(w);
        float[] b = bias.Value.ToArray();
        b[0] = 1.5f;
        bias.Value.CopyFrom(b);
        float[] before = Run(model, 1, recipe.InputShape(5));
        var statistics = Census.Take(model, graph, visit =>
        {
            using TensorScope scope = new();
            visit(Tensor.Uniform(Device, recipe.InputShape(16), new RandomKey(4, 0, 0)));
        });
        bool[] remove = new bool[first.Channels];
        new DeadUnits().Select(first, statistics[first], remove);
        Assert.That(remove[0], Is.True, "a constant unit says nothing");
        Surgery.Remove(model, graph, new Dictionary<UnitGroup, bool[]> { [first] = [true, .. new bool[first.Channels - 1]] }, statistics, null);
        Assert.That(Difference.Relative(Run(model, 1, recipe.InputShape(5)), before), Is.LessThan(1e-5));
    }

    [Test]
    public void Tied_stages_lose_only_what_all_their_sums_lose()
    {
        ModelRecipe recipe = new("resnet18", 8, 10, 8, 8, 3);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(3);
        ChannelGraph graph = ChannelGraph.Trace(model, recipe.InputShape(1));
        Dictionary<UnitGroup, bool[]> marks = graph.Groups.ToDictionary(group => group, group => new bool[group.Channels]);
        UnitGroup stem = graph.Groups.Single(group => group.Name == "conv1");
        UnitGroup one = graph.Groups.Single(group => group.Name == "layer1.0");
        UnitGroup two = graph.Groups.Single(group => group.Name == "layer1.1");
        marks[stem][0] = marks[one][0] = marks[two][0] = true;
        marks[stem][1] = marks[one][1] = true;
        Surgery.Remove(model, graph, marks, null, null, tied: true);
        Assert.That(new[] { stem, one, two }.Select(group => group.Channels), Is.All.EqualTo(7));
        Assert.That(model.Shortcuts.All(entry => entry.Shortcut.Map is null), Is.True);
    }

    [Test]
    public void Tied_stages_that_are_all_dead_keep_one_unit_of_the_same_number()
    {
        ModelRecipe recipe = new("resnet18", 8, 10, 8, 8, 3);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(3);
        ChannelGraph graph = ChannelGraph.Trace(model, recipe.InputShape(1));
        UnitGroup[] stage = [.. graph.Groups.Where(group => group.Name is "conv1" or "layer1.0" or "layer1.1")];
        Dictionary<UnitGroup, ChannelStatistics> statistics = [];
        for (int i = 0; i < stage.Length; i++)
        {
            // Each group has another favourite, and all of them stay in all groups.
            float[] maximum = [.. Enumerable.Range(0, 8).Select(c => c == i ? -1f : -2f)];
            statistics[stage[i]] = new(maximum, maximum, new double[8], 5);
        }

        Surgery.Remove(model, graph, stage.ToDictionary(group => group, _ => Enumerable.Repeat(true, 8).ToArray()), statistics, null, tied: true);
        Assert.That(stage.Select(group => group.Activity.OriginalChannels), Is.All.EqualTo(new[] { 0, 1, 2 }));
        Assert.That(model.Shortcuts.All(entry => entry.Shortcut.Map is null), Is.True);
    }

    [Test]
    public void All_units_of_a_dropped_branch_count_as_removed()
    {
        ModelRecipe recipe = new("resnet50", 4, 10, 8, 8, 3);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(3);
        using Adam optimizer = new(PruningRun.CreateGroups(model, 1e-3, 0));
        Step(model, optimizer, 1, recipe.InputShape(4));
        ChannelGraph graph = ChannelGraph.Trace(model, recipe.InputShape(1));
        long before = graph.Groups.Sum(group => (long)group.Channels);
        UnitGroup inner = graph.Groups.Single(group => group.Name == "layer1.1.conv2");
        Parameter[] dropped = [.. model.Parameters.Where(p => p.IsTrained && p.Name.StartsWith("layer1.1.", StringComparison.Ordinal) && p.Name != "layer1.1.bn3.bias")];
        SurgeryReport report = Surgery.Remove(model, graph, new Dictionary<UnitGroup, bool[]> { [inner] = [true, true, true, true] }, null, optimizer);
        long after = ChannelGraph.Trace(model, recipe.InputShape(1)).Groups.Sum(group => (long)group.Channels);
        Assert.That(report.Removed, Is.EqualTo(before - after).And.EqualTo(8), "four of the group, four of its neighbour in the branch");
        Assert.That(dropped, Has.Length.EqualTo(8));
        Assert.That(dropped.Select(parameter => optimizer.MomentsOf(parameter).Count), Is.All.Zero);
    }

    [Test]
    public void Marks_of_another_width_and_stale_graphs_are_refused()
    {
        ModelRecipe recipe = new("cnn", 4, 10, 8, 8, 1);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(3);
        ChannelGraph graph = ChannelGraph.Trace(model, recipe.InputShape(1));
        UnitGroup first = graph.Groups[0];
        Assert.That(() => Surgery.Remove(model, graph, new Dictionary<UnitGroup, bool[]> { [first] = [true] }, null, null), Throws.ArgumentException.With.Message.Contains("4 channels"));
        Surgery.Remove(model, graph, new Dictionary<UnitGroup, bool[]> { [first] = [true, false, false, false] }, null, null);
        Assert.That(
            () => Surgery.Remove(model, graph, new Dictionary<UnitGroup, bool[]> { [first] = [true, false, false] }, null, null),
            Throws.InvalidOperationException.With.Message.Contains("trace the graph again"));
    }

    /// <summary>Marks random channels and, unless told otherwise, makes them exactly zero.</summary>
    private static Dictionary<UnitGroup, bool[]> Silence(ChannelGraph graph, int seed, double share, bool touch = true)
    {
        Random random = new(seed);
        Dictionary<UnitGroup, bool[]> marks = [];
        foreach (UnitGroup group in graph.Groups)
        {
            bool mayEmpty = group.Activity.AllRemoved is not null;
            bool empty = mayEmpty && random.Next(6) == 0;
            bool[] flags = [.. Enumerable.Range(0, group.Channels).Select(_ => random.NextDouble() < share || empty)];
            if (flags.All(flag => flag) && !mayEmpty)
            {
                flags[0] = false;
            }

            // Behind a sum with an identity shortcut a unit is silent only if its source is: those are silenced by a large negative β.
            marks[group] = flags;
            if (touch)
            {
                Silencer.Silence(group, flags);
            }
        }

        return marks;
    }

    private Dictionary<string, float[]> Train(int seed, string rule, int steps, bool cut)
    {
        using Model model = new RandomResidualNetwork(Device, seed);
        model.Initialize((ulong)seed);
        using Optimizer optimizer = CreateOptimizer(rule, PruningRun.CreateGroups(model, 1e-3, 0));
        Step(model, optimizer, 100);
        ChannelGraph graph = ChannelGraph.Trace(model, Images);
        Dictionary<UnitGroup, bool[]> marks = Silence(graph, seed, 0.4);
        if (cut)
        {
            Surgery.Remove(model, graph, marks, null, optimizer);
        }

        for (int i = 0; i < steps; i++)
        {
            Step(model, optimizer, i);
        }

        Dictionary<string, float[]> results = model.Parameters.ToDictionary(p => p.Name, p => p.Value.ToArray());
        if (!cut)
        {
            // Cut the trained masked network afterwards: what is left are the survivors' values.
            ChannelGraph after = ChannelGraph.Trace(model, Images);
            Surgery.Remove(model, after, after.Groups.ToDictionary(group => group, group => marks.Single(pair => pair.Key.Name == group.Name).Value), null, null);
            results = model.Parameters.ToDictionary(p => p.Name, p => p.Value.ToArray());
        }

        if (rule == "directional")
        {
            float[] weights = [.. results.Where(pair => model.Parameters.Single(p => p.Name == pair.Key).Role == ParameterRole.Weight).SelectMany(pair => pair.Value)];
            Assert.That(weights.Count(value => value == 0), Is.InRange(weights.Length / 100, weights.Length / 2), $"pruned weights of {weights.Length}");
        }

        return results;
    }

    private static Optimizer CreateOptimizer(string rule, IReadOnlyList<ParameterGroup> groups) => rule switch
    {
        "sgd" => new Sgd(groups, 0.9),
        "adam" => new Adam(groups, epsilon: 1e-3),
        _ => new DirectionalPruning(groups, 4, 0.55, 0.9),
    };

    private void Step(Model model, Optimizer optimizer, int seed, Shape? shape = null)
    {
        using TensorScope scope = new();
        Shape batch = (shape ?? Images).With(0, 4);
        Tensor images = Tensor.Uniform(Device, batch, new RandomKey((ulong)seed, 1, 0), -1, 1);
        Tensor labels = Tensor.FromValues(Device, [0, 1, 2, 3]);
        Operation.SoftmaxCrossEntropy(model.Forward(images), labels).Backward();
        optimizer.Step();
    }

    private float[] Run(Model model, int seed, Shape? shape = null)
    {
        using TensorScope scope = new();
        using InferenceScope inference = new();
        return model.Forward(Tensor.Uniform(Device, shape ?? Images, new RandomKey((ulong)seed, 2, 0), -1, 1)).ToArray();
    }

    /// <summary>The kept rows and columns of a dense array, by the parameter's original indices.</summary>
    private static float[] Select(float[] dense, int[] shape, Parameter parameter)
    {
        int columns = shape.Length == 1 ? 1 : shape[^1];
        int taps = dense.Length / shape[0] / columns;
        int[] rowIndices = parameter.OriginalRows?.Values.ToArray() ?? [.. Enumerable.Range(0, shape[0])];
        int[] columnIndices = parameter.OriginalColumns?.Values.ToArray() ?? [.. Enumerable.Range(0, columns)];
        return [.. rowIndices.SelectMany(row => Enumerable.Range(0, taps).SelectMany(tap => columnIndices.Select(column => dense[(row * taps + tap) * columns + column])))];
    }
}
