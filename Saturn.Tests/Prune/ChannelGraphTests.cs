using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers;
using Saturn.Prune;
using Saturn.Prune.Methods;
using Saturn.Tests.Engine;

namespace Saturn.Tests.Prune;

/// <summary>
/// Networks in which removing a channel would need knowledge that the graph does not have. Every unit that the graph offers is silenced and removed; the network must still run, keep the
/// shape of its output, and compute what it did.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class ChannelGraphTests(string device) : EngineTest(device)
{
    private static readonly Shape Images = new(2, 4, 4, 3);

    [Test]
    public void The_networks_output_keeps_its_channels()
    {
        using HandMadeNetwork network = new(Device);
        var first = network.AddConvolution("first", 3, 6);
        var last = network.AddConvolution("last", 6, 5);
        network.Run = x => last.Forward(first.Forward(x));
        AssertRemovable(network, "first");
    }

    [Test]
    public void An_identity_shortcut_from_the_image_keeps_its_channels()
    {
        using HandMadeNetwork network = new(Device);
        var first = network.AddConvolution("first", 3, 3);
        Shortcut link = network.AddShortcut();
        Linear classifier = network.Add("fc", new Linear(Device, 3, 4));
        network.Run = x => classifier.Forward(Operation.GlobalAveragePool(first.Forward(x, x, link)));
        AssertRemovable(network);
    }

    [Test]
    public void A_pre_activation_that_is_read_twice_keeps_its_channels()
    {
        // The pre-activation residual network: the sum goes on as it is, and each branch begins with its own norm.
        using HandMadeNetwork network = new(Device);
        Convolution2d stem = network.Add("stem", new Convolution2d(Device, 3, 6, 1, ConvolutionSettings.Square()));
        BatchNorm norm = network.Add("norm", new BatchNorm(Device, 6));
        ChannelActivity before = network.Add("before", new ChannelActivity(Device, 6, Activation.Relu));
        var inner = network.AddConvolution("inner", 6, 7);
        Convolution2d last = network.Add("last", new Convolution2d(Device, 7, 6, 1, ConvolutionSettings.Square()));
        BatchNorm finalNorm = network.Add("final", new BatchNorm(Device, 6));
        ChannelActivity after = network.Add("after", new ChannelActivity(Device, 6, Activation.Relu));
        Shortcut link = network.AddShortcut();
        Linear classifier = network.Add("fc", new Linear(Device, 6, 4));
        network.Run = x =>
        {
            Tensor trunk = stem.Forward(x);
            Tensor branch = last.Forward(inner.Forward(norm.Forward(trunk, new NormalizationTail(Activation.Relu, Activity: before))));
            Tensor sum = finalNorm.Forward(Operation.ResidualAdd(branch, trunk, link), new NormalizationTail(Activation.Relu, Activity: after));
            return classifier.Forward(Operation.GlobalAveragePool(sum));
        };
        AssertRemovable(network, "inner");
    }

    [Test]
    public void A_module_that_runs_twice_keeps_its_channels()
    {
        using HandMadeNetwork network = new(Device);
        var stem = network.AddConvolution("stem", 3, 6);
        var twice = network.AddConvolution("twice", 6, 6);
        var last = network.AddConvolution("last", 6, 5);
        Linear classifier = network.Add("fc", new Linear(Device, 5, 4));
        network.Run = x => classifier.Forward(Operation.GlobalAveragePool(last.Forward(twice.Forward(twice.Forward(stem.Forward(x))))));
        AssertRemovable(network, "last");
    }

    [Test]
    public void Groups_that_one_weight_reads_keep_their_channels()
    {
        using HandMadeNetwork network = new(Device);
        var left = network.AddConvolution("left", 3, 6);
        var right = network.AddConvolution("right", 3, 6);
        Convolution2d shared = network.Add("shared", new Convolution2d(Device, 6, 5, 1, ConvolutionSettings.Square()));
        Linear classifier = network.Add("fc", new Linear(Device, 5, 4));
        network.Run = x => classifier.Forward(Operation.GlobalAveragePool(shared.Forward(left.Forward(x)) + shared.Forward(right.Forward(x))));
        AssertRemovable(network);
    }

    [Test]
    public void Channels_that_are_flattened_before_their_activation_stay()
    {
        using HandMadeNetwork network = new(Device);
        Convolution2d convolution = network.Add("conv", new Convolution2d(Device, 3, 5, 1, ConvolutionSettings.Square(), bias: true));
        ActivationLayer activation = network.Add("conv", new ActivationLayer(Device, 5 * 16, Activation.Relu));
        Linear classifier = network.Add("fc", new Linear(Device, 5 * 16, 4));
        network.Run = x => classifier.Forward(activation.Forward(Operation.Flatten(convolution.Forward(x))));
        AssertRemovable(network);
    }

    [Test]
    public void Grouped_and_depthwise_convolutions_keep_their_channels_and_others_go()
    {
        using HandMadeNetwork network = new(Device);
        var first = network.AddConvolution("first", 3, 6);
        Convolution2d depthwise = network.Add("depthwise", new Convolution2d(Device, 6, 6, 3, ConvolutionSettings.Square(padding: 1, groups: 6)));
        BatchNorm norm = network.Add("norm", new BatchNorm(Device, 6));
        ChannelActivity activity = network.Add("depthwise", new ChannelActivity(Device, 6, Activation.Relu));
        var last = network.AddConvolution("last", 6, 5);
        Linear classifier = network.Add("fc", new Linear(Device, 5, 4));
        network.Run = x => classifier.Forward(Operation.GlobalAveragePool(
            last.Forward(norm.Forward(depthwise.Forward(first.Forward(x)), new NormalizationTail(Activation.Relu, Activity: activity)))));
        AssertRemovable(network, "last");
    }

    [Test]
    public void Unknown_operations_keep_the_channels_around_them()
    {
        using HandMadeNetwork network = new(Device);
        var first = network.AddConvolution("first", 3, 6);
        var second = network.AddConvolution("second", 6, 6);
        var third = network.AddConvolution("third", 6, 5);
        Linear classifier = network.Add("fc", new Linear(Device, 5, 4));
        network.Run = x => classifier.Forward(Operation.GlobalAveragePool(third.Forward(Operation.Square(second.Forward(first.Forward(x))))));
        ChannelGraph graph = AssertRemovable(network, "first", "third");
        Assert.That(graph.Groups.Single(group => group.Name == "second").PinnedBecause, Does.Contain("UnaryNode"));
    }

    [TestCase(true)]
    [TestCase(false)]
    public void A_network_of_which_nothing_can_be_removed_is_refused_with_the_reason(bool structured)
    {
        using HandMadeNetwork network = new(Device);
        var first = network.AddConvolution("first", 3, 6);
        Linear classifier = network.Add("fc", new Linear(Device, 6, 4));
        Initializer.Initialize(network, 1);
        network.Run = x => classifier.Forward(Operation.GlobalAveragePool(Operation.Square(first.Forward(x))));
        Assert.That(
            () => Begin(network), Throws.ArgumentException.With.Message.StartsWith("No unit of this network can be removed: first stays because ").And.Message.Contains("UnaryNode"));
        network.Run = x => classifier.Forward(Operation.GlobalAveragePool(Operation.Relu(first.Convolution.Forward(x))));
        Assert.That(() => Begin(network), Throws.ArgumentException.With.Message.Contains("no activation with a record of its channels"));

        void Begin(HandMadeNetwork model)
        {
            using Sgd optimizer = new(PruningRun.CreateGroups(model, 0.1, 0));
            using PruningRun run = new(model, optimizer, structured ? new Snap() : new DemonPruning(), 10, Images, 2);
        }
    }

    [Test]
    public void Tracing_leaves_activity_and_modes_alone()
    {
        using HandMadeNetwork network = new(Device);
        var first = network.AddConvolution("first", 3, 6);
        Linear classifier = network.Add("fc", new Linear(Device, 6, 4));
        network.Run = x => classifier.Forward(Operation.GlobalAveragePool(first.Forward(x)));
        Initializer.Initialize(network, 1);
        first.Norm.Beta.Value.CopyFrom([1000, 1000, -1000, 1000, 1000, -1000]);
        first.Norm.SetTraining(false);
        using (TensorScope scope = new())
        {
            network.Forward(Tensor.Uniform(Device, Images, new RandomKey(1, 0, 0)));
        }

        Assert.That(first.Activity!.CountActive(), Is.EqualTo(4));
        first.Norm.Beta.Value.CopyFrom([1000, 1000, 1000, 1000, 1000, 1000]);
        ChannelGraph.Trace(network, Images);
        Assert.That(first.Activity.CountActive(), Is.EqualTo(4), "the blank image must not be seen");
        Assert.That(network.IsTraining, Is.True);
        Assert.That(first.Norm.IsTraining, Is.False, "a frozen norm stays frozen");
    }

    [Test]
    public void Tracing_without_a_tape_says_so()
    {
        using HandMadeNetwork network = new(Device);
        var first = network.AddConvolution("first", 3, 6);
        network.Run = x => first.Forward(x);
        Initializer.Initialize(network, 1);
        using InferenceScope inference = new();
        InvalidOperationException? error = null;
        try
        {
            ChannelGraph.Trace(network, Images);
        }
        catch (InvalidOperationException exception)
        {
            error = exception;
        }

        Assert.That(error, Is.Not.Null);
        Assert.That(error!.Message, Does.Contain("InferenceScope"));
    }

    /// <summary>Removes all but one unit of every group that the graph lets go, and expects these groups to be the named ones.</summary>
    private ChannelGraph AssertRemovable(HandMadeNetwork network, params string[] names)
    {
        Initializer.Initialize(network, 3);
        network.SetTraining(false);
        ChannelGraph graph = ChannelGraph.Trace(network, Images);
        Assert.That(graph.Groups.Where(group => group.PinnedBecause is null).Select(group => group.Name), Is.EquivalentTo(names));
        Dictionary<UnitGroup, bool[]> marks = [];
        foreach (UnitGroup group in graph.Groups)
        {
            marks[group] = [.. Enumerable.Range(0, group.Channels).Select(c => c > 0)];
            if (group.PinnedBecause is null)
            {
                Silencer.Silence(group, marks[group]);
            }
        }

        using TensorScope scope = new();
        using InferenceScope inference = new();
        Tensor images = Tensor.Uniform(Device, Images, new RandomKey(5, 0, 0), -1, 1);
        Tensor before = network.Forward(images);
        Surgery.Remove(network, graph, marks, null, null);
        Tensor after = network.Forward(images);
        Assert.That(after.Shape, Is.EqualTo(before.Shape));
        Assert.That(after.ToArray(), Is.EqualTo(before.ToArray()).Within(1e-5f));
        Assert.That(graph.Groups.Where(group => group.Channels == 1).Select(group => group.Name), Is.EquivalentTo(names));
        return graph;
    }
}
