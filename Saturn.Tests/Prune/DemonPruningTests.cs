using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels.Families;
using Saturn.Layers.Models;
using Saturn.Prune;
using Saturn.Tests.Engine;

namespace Saturn.Tests.Prune;

/// <summary>Algorithm 1's pieces, and the accounts, against numbers that a person can check.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class DemonPruningTests(string device) : EngineTest(device)
{
    [TestCase("resnet18", 64, 11_173_962, 3_904, 1.1113e9)]
    [TestCase("resnet50", 64, 23_520_842, 22_720, 2.59e9)]
    [TestCase("vgg16", 64, 14_728_266, 4_224, 0.6265e9)]
    public void Counts_of_a_dense_network_are_the_published_ones(string name, int width, long parameters, long units, double flops)
    {
        ModelRecipe recipe = new(name, width, 10, 32, 32, 3);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(0);
        Accounting accounting = new(model, ChannelGraph.Trace(model, recipe.InputShape(1)));
        Assert.That(accounting.DenseParameters, Is.EqualTo(parameters));
        Assert.That(accounting.TotalUnits, Is.EqualTo(units));
        Assert.That(accounting.Flops, Is.EqualTo(flops).Within(1).Percent);
    }

    [Test]
    public void Every_trained_parameter_is_in_one_group_and_pressure_is_on_scales_alone()
    {
        ModelRecipe recipe = new("resnet18", 4, 10, 8, 8, 3);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(0);
        using Sgd optimizer = new(DemonPruning.CreateGroups(model, 0.1, 5e-4, decayNorms: false));
        Assert.That(optimizer.Parameters, Is.EquivalentTo(model.Parameters.Where(p => p.IsTrained)));
        DemonPruning pruning = new(
            model, optimizer, new DemonPruningOptions { Lambda = 6, NoiseStandardDeviation = 3, PruneEvery = 7 }, 100, recipe.InputShape(1), 4);
        pruning.BeforeStep(15);
        Assert.That(optimizer.Groups.Select(group => group.L1), Is.EqualTo(new[] { 0, 3, 0 }).Within(1e-12));
        Assert.That(optimizer.Groups.Select(group => group.NoiseStandardDeviation), Is.EqualTo(new[] { 1.5, 0, 0 }).Within(1e-12));
        Assert.That(optimizer.Groups.Select(group => group.WeightDecay), Is.EqualTo(new[] { 5e-4, 0, 0 }));
        Assert.That(Enumerable.Range(0, 101).Where(step => pruning.IsDue(step)), Is.EqualTo(Enumerable.Range(1, 14).Select(i => i * 7).Append(100)));
    }

    [Test]
    public void Only_weights_of_live_units_receive_noise()
    {
        ModelRecipe recipe = new("cnn", 4, 10, 8, 8, 1);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(0);
        using Sgd optimizer = new(DemonPruning.CreateGroups(model, 0, 0), momentum: 0);
        DemonPruning pruning = new(
            model, optimizer, new DemonPruningOptions { NoiseStandardDeviation = 0.5, Schedule = PressureSchedule.Constant }, 10, recipe.InputShape(1), 4);
        Parameter beta = model.Parameters.Single(p => p.Name == "bn1.bias");
        beta.Value.CopyFrom([0, -1000, 0, 0]);
        Parameter weight = model.Parameters.Single(p => p.Name == "conv1.weight");
        float[] before = weight.Value.ToArray();
        pruning.BeforeStep(0);
        model.BeginStep(0);
        using (TensorScope scope = new())
        {
            Tensor images = Tensor.Uniform(Device, recipe.InputShape(4), new RandomKey(1, 0, 0), -1, 1);
            Operation.SoftmaxCrossEntropy(model.Forward(images), Tensor.FromValues(Device, [0, 1, 2, 3])).Backward();
        }

        optimizer.Step();
        float[] after = weight.Value.ToArray();
        for (int row = 0; row < 4; row++)
        {
            bool moved = Enumerable.Range(row * 9, 9).Any(i => after[i] != before[i]);
            Assert.That(moved, Is.EqualTo(row != 1), $"filter {row}");
        }
    }

    [Test]
    public void A_census_finds_the_dead_and_their_removal_shrinks_the_accounts()
    {
        ModelRecipe recipe = new("resnet18", 8, 10, 8, 8, 3);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(0);
        using Adam optimizer = new(DemonPruning.CreateGroups(model, 1e-3, 0));
        DemonPruning pruning = new(model, optimizer, new DemonPruningOptions { PruneEvery = 1 }, 10, recipe.InputShape(1), 4);
        long total = pruning.Accounting.TotalUnits;
        Parameter beta = model.Parameters.Single(p => p.Name == "layer2.0.bn1.bias");
        float[] values = beta.Value.ToArray();
        values[3] = values[5] = -1000;
        beta.Value.CopyFrom(values);
        using (TensorScope scope = new())
        {
            Tensor images = Tensor.Uniform(Device, recipe.InputShape(8), new RandomKey(1, 0, 0), -1, 1);
            SurgeryReport report = pruning.Prune(visit => visit(images));
            Assert.That(pruning.Accounting.LiveUnits, Is.EqualTo(total - report.Removed));
        }

        // So few pixels leave other units dead as well; the two that were made so must be among them.
        int[] left = model.Activities.Single(activity => activity.Name == "layer2.0.conv1").OriginalChannels!;
        Assert.That(left, Does.Not.Contain(3).And.Not.Contain(5).And.Not.Empty);
        Assert.That(model.Parameters.Single(p => p.Name == "layer2.0.conv1.weight").Rows, Is.EqualTo(left.Length));
        Assert.That(model.Parameters.Single(p => p.Name == "layer2.0.conv2.weight").Columns, Is.EqualTo(left.Length));
        Assert.That(pruning.Accounting.InferenceFlopsRatio, Is.LessThan(1));
    }

    [Test]
    public void Bad_options_are_one_clear_sentence()
    {
        Assert.That(() => new DemonPruningOptions { Lambda = -1 }.Validate(), Throws.ArgumentException.With.Message.EqualTo("--lambda must be 0 or above, but is -1."));
        Assert.That(() => new DemonPruningOptions { PruneEvery = 0 }.Validate(), Throws.ArgumentException.With.Message.Contains("--prune-every"));
    }
}
