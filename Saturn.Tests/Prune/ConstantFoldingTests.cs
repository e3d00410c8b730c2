using FsCheck;
using FsCheck.Fluent;
using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers;
using Saturn.Layers.Models;
using Saturn.Prune;
using Saturn.Tests.Engine;

namespace Saturn.Tests.Prune;

/// <summary>Units with a constant output that is not zero leave their constant behind: in biases, running means, and through identity shortcuts in β.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class ConstantFoldingTests(string device) : EngineTest(device)
{
    private static readonly Shape Images = new(1, 4, 4, 3);

    [Test]
    public void Constants_pass_through_norms_shortcuts_concatenations_and_flattening()
    {
        int cut = 0;
        Prop.ForAll(Arb.From(Gen.Choose(0, 1_000_000)), seed =>
        {
            using HandMadeNetwork network = Network(seed, out List<ConvBatchNormRelu> layers);
            Initializer.Initialize(network, (ulong)seed);
            network.SetTraining(false);
            MakeConstant(layers, new Random(seed));
            ChannelGraph graph = ChannelGraph.Trace(network, Images);
            Assert.That(graph.Groups.Select(group => group.PinnedBecause), Is.All.Null);
            float[] before = Run(network);
            var statistics = Take(network, graph);
            Dictionary<UnitGroup, bool[]> marks = Mark(graph, statistics);
            SurgeryReport report = Surgery.Remove(network, graph, marks, statistics, null);
            cut += report.Removed;
            double error = Difference.Relative(Run(network), before);
            return (error < 1e-5).Label($"seed {seed}: {report.Removed} removed, relative error {error:E2}");
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(30).WithReplay(7, 9));
        Assert.That(cut, Is.GreaterThan(200), "the property must have cut something to say anything");
    }

    [Test]
    public void A_block_without_a_branch_takes_constants_of_its_source_into_beta()
    {
        ModelRecipe recipe = new("resnet18", 6, 10, 8, 8, 3);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(3);
        model.SetTraining(false);
        ChannelGraph graph = ChannelGraph.Trace(model, recipe.InputShape(1));
        UnitGroup inner = graph.Groups.Single(group => group.Name == "layer1.0.conv1");
        Surgery.Remove(model, graph, new Dictionary<UnitGroup, bool[]> { [inner] = [.. Enumerable.Repeat(true, inner.Channels)] }, null, null);
        Set(model.Parameters.Single(p => p.Name == "bn1.weight"), 2, 0);
        Set(model.Parameters.Single(p => p.Name == "bn1.bias"), 2, 1.25f);
        graph = ChannelGraph.Trace(model, recipe.InputShape(1));
        UnitGroup stem = graph.Groups.Single(group => group.Name == "conv1");
        float[] before = Run(model, recipe.InputShape(1));
        var statistics = Take(model, graph, recipe.InputShape(1));
        Dictionary<UnitGroup, bool[]> marks = new() { [stem] = [.. Enumerable.Range(0, 6).Select(c => c == 2)] };
        Assert.That(Surgery.Remove(model, graph, marks, statistics, null).Removed, Is.EqualTo(1));
        Assert.That(Difference.Relative(Run(model, recipe.InputShape(1)), before), Is.LessThan(1e-5));
    }

    [Test]
    public void A_constant_that_has_no_place_keeps_its_unit()
    {
        using HandMadeNetwork network = new(Device);
        var first = network.AddConvolution("first", 3, 4);
        Linear classifier = network.Add("fc", new Linear(Device, 4, 2, bias: false));
        network.Run = x => classifier.Forward(Operation.GlobalAveragePool(first.Forward(x)));
        Initializer.Initialize(network, 1);
        network.SetTraining(false);
        first.Norm.Gamma.Value.CopyFrom([0, 0, 1, 1]);
        first.Norm.Beta.Value.CopyFrom([2, -2, 0, 0]);
        ChannelGraph graph = ChannelGraph.Trace(network, Images);
        UnitGroup group = graph.Groups.Single();
        var statistics = Take(network, graph);
        SurgeryReport report = Surgery.Remove(network, graph, new Dictionary<UnitGroup, bool[]> { [group] = [true, true, false, false] }, statistics, null);
        Assert.That(report.Removed, Is.EqualTo(1), "the report counts what went, not what was marked");
        Assert.That(group.Activity.OriginalChannels, Is.EqualTo(new[] { 0, 2, 3 }));
    }

    /// <summary>1×1 convolutions, whose taps no border cuts off: a stem, two identity blocks, a concatenation, and a classifier behind a flatten.</summary>
    private HandMadeNetwork Network(int seed, out List<ConvBatchNormRelu> layers)
    {
        Random random = new(seed);
        HandMadeNetwork network = new(Device);
        int width = random.Next(3, 12);
        var stem = network.AddConvolution("stem", 3, width);
        var (inner1, outer1, link1) = Block("block1");
        var (inner2, outer2, link2) = Block("block2");
        int left = random.Next(2, 9), right = random.Next(2, 9);
        var a = network.AddConvolution("left", width, left);
        var b = network.AddConvolution("right", width, right);
        Linear hidden = network.Add("hidden", new Linear(Device, (left + right) * 16, 7, bias: random.Next(2) == 0));
        BatchNorm norm = network.Add("hidden_norm", new BatchNorm(Device, 7));
        ChannelActivity activity = network.Add("hidden", new ChannelActivity(Device, 7, Activation.Relu));
        Linear classifier = network.Add("fc", new Linear(Device, 7, 4));
        network.Run = x =>
        {
            x = stem.Forward(x);
            x = outer1.Forward(inner1.Forward(x), x, link1);
            x = outer2.Forward(inner2.Forward(x), x, link2);
            x = Operation.Flatten(Operation.Concatenate(a.Forward(x), b.Forward(x)));
            return classifier.Forward(norm.Forward(hidden.Forward(x), new NormalizationTail(Activation.Relu, Activity: activity)));
        };
        layers = [stem, inner1, outer1, inner2, outer2, a, b];
        return network;

        (ConvBatchNormRelu Inner, ConvBatchNormRelu Outer, Shortcut Link) Block(string name)
        {
            int inside = random.Next(2, 9);
            return (network.AddConvolution(name + ".inner", width, inside), network.AddConvolution(name + ".outer", inside, width), network.AddShortcut());
        }
    }

    /// <summary>γ = 0 and a random β in some channels. Of the constant channels of the stem some stay constant through the sums, and others meet a branch that is not.</summary>
    private static void MakeConstant(List<ConvBatchNormRelu> layers, Random random)
    {
        bool[] trunk = [.. Enumerable.Range(0, layers[0].Norm.Gamma.Rows).Select(_ => random.Next(3) == 0)];
        for (int i = 0; i < layers.Count; i++)
        {
            Parameter gamma = layers[i].Norm.Gamma;
            for (int c = 0; c < gamma.Rows; c++)
            {
                bool constant = i == 0 ? trunk[c] : random.Next(i is 2 or 4 ? 2 : 3) == 0;
                Set(gamma, c, constant ? 0 : 1);
                Set(layers[i].Norm.Beta, c, (float)(random.NextDouble() * 2 - 0.5));
                Set(layers[i].Norm.RunningMean, c, (float)(random.NextDouble() - 0.5));
            }
        }
    }

    private static Dictionary<UnitGroup, bool[]> Mark(ChannelGraph graph, IReadOnlyDictionary<UnitGroup, ChannelStatistics> statistics)
    {
        Dictionary<UnitGroup, bool[]> marks = [];
        foreach (UnitGroup group in graph.Groups)
        {
            new DeadUnits().Select(group, statistics[group], marks[group] = new bool[group.Channels]);
        }

        return marks;
    }

    private IReadOnlyDictionary<UnitGroup, ChannelStatistics> Take(Module model, ChannelGraph graph, Shape? shape = null) => Census.Take(model, graph, visit =>
    {
        using TensorScope scope = new();
        visit(CensusImages(shape ?? Images));
    });

    /// <summary>The network on the census's own images: others may wake a unit that these left dead.</summary>
    private float[] Run(Module model, Shape? shape = null)
    {
        using TensorScope scope = new();
        using InferenceScope inference = new();
        return model.Forward(CensusImages(shape ?? Images)).ToArray();
    }

    private Tensor CensusImages(Shape shape) => Tensor.Uniform(Device, shape.With(0, 32), new RandomKey(4, 0, 0), -1, 1);

    private static void Set(Parameter parameter, int index, float value)
    {
        float[] values = parameter.Value.ToArray();
        values[index] = value;
        parameter.Value.CopyFrom(values);
    }
}
