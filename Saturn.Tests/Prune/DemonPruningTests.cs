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
        using Sgd optimizer = new(PruningRun.CreateGroups(model, 0.1, 5e-4, decayNorms: false));
        Assert.That(optimizer.Parameters, Is.EquivalentTo(model.Parameters.Where(p => p.IsTrained)));
        using PruningRun pruning = new(
            model, optimizer, new DemonPruning(new DemonPruningOptions { Lambda = 6, NoiseStandardDeviation = 3, PruneEvery = 7 }), 100, recipe.InputShape(1), 4);
        pruning.BeforeStep(15);
        Assert.That(optimizer.Groups.Select(group => group.L1), Is.EqualTo(new[] { 0, 3, 0 }).Within(1e-12));
        Assert.That(optimizer.Groups.Select(group => group.NoiseStandardDeviation), Is.EqualTo(new[] { 1.5, 0, 0 }).Within(1e-12));
        Assert.That(optimizer.Groups.Select(group => group.WeightDecay), Is.EqualTo(new[] { 5e-4, 0, 0 }));
        Assert.That(Enumerable.Range(0, 101).Where(step => ((DemonPruning)pruning.Method).IsDue(step, 100)), Is.EqualTo(Enumerable.Range(1, 14).Select(i => i * 7).Append(100)));
    }

    [Test]
    public void Only_weights_of_live_units_receive_noise()
    {
        ModelRecipe recipe = new("cnn", 4, 10, 8, 8, 1);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(0);
        using Sgd optimizer = new(PruningRun.CreateGroups(model, 0, 0), momentum: 0);
        using PruningRun pruning = new(
            model, optimizer, new DemonPruning(new DemonPruningOptions { NoiseStandardDeviation = 0.5, Schedule = PressureSchedule.Constant }), 10, recipe.InputShape(1), 4);
        Parameter beta = model.Parameters.Single(p => p.Name == "bn1.bias");
        beta.Value.CopyFrom([0, -1000, 0, 0]);
        Parameter weight = model.Parameters.Single(p => p.Name == "conv1.weight");
        float[] before = weight.Value.ToArray();
        Step(model, pruning, recipe);
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
        using Adam optimizer = new(PruningRun.CreateGroups(model, 1e-3, 0));
        using PruningRun pruning = new(model, optimizer, new DemonPruning(new DemonPruningOptions { PruneEvery = 1 }), 10, recipe.InputShape(1), 4);
        long total = pruning.Accounting.TotalUnits;
        Parameter beta = model.Parameters.Single(p => p.Name == "layer2.0.bn1.bias");
        float[] values = beta.Value.ToArray();
        values[3] = values[5] = -1000;
        beta.Value.CopyFrom(values);
        using (TensorScope scope = new())
        {
            Tensor images = Tensor.Uniform(Device, recipe.InputShape(8), new RandomKey(1, 0, 0), -1, 1);
            pruning.CensusImages = visit => visit(images);
            int removed = ((DemonPruning)pruning.Method).Prune(pruning);
            Assert.That(pruning.Accounting.LiveUnits, Is.EqualTo(total - removed));
        }

        // So few pixels leave other units dead as well; the two that were made so must be among them.
        int[] left = model.Activities.Single(activity => activity.Name == "layer2.0.conv1").OriginalChannels!;
        Assert.That(left, Does.Not.Contain(3).And.Not.Contain(5).And.Not.Empty);
        Assert.That(model.Parameters.Single(p => p.Name == "layer2.0.conv1.weight").Rows, Is.EqualTo(left.Length));
        Assert.That(model.Parameters.Single(p => p.Name == "layer2.0.conv2.weight").Columns, Is.EqualTo(left.Length));
        Assert.That(pruning.Accounting.InferenceFlopsRatio, Is.LessThan(1));
    }

    [TestCase(PressureSchedule.OneCycle, 0, 0.5, 1, 0.5, 0)]
    [TestCase(PressureSchedule.OneCycleCosine, 0.04, 0.52, 1, 0.500002, 4e-6)]
    [TestCase(PressureSchedule.Constant, 1, 1, 1, 1, 1)]
    [TestCase(PressureSchedule.Cosine, 1, 0.9455, 0.7939, 0.273, 0)]
    [TestCase(PressureSchedule.Warmup, 0, 0.5, 1, 1, 1)]
    public void Schedules_start_peak_and_end_where_they_should(PressureSchedule kind, double start, double halfUp, double peak, double halfDown, double end)
    {
        // Warm-up 30 % of 1,000 steps; the middle of the way down is step 650; the last value is held.
        var schedule = new DemonPruningOptions { Schedule = kind, Span = 1000 }.CreateSchedule(2, 5000);
        long[] steps = [0, 150, 300, 650, 1000, 4999];
        Assert.That(steps.Select(schedule.At), Is.EqualTo(new[] { start, halfUp, peak, halfDown, end, end }.Select(value => 2 * value)).Within(2e-4));
    }

    [Test]
    public void Pressure_is_part_of_the_gradient_that_Adam_sees()
    {
        ModelRecipe recipe = new("cnn", 4, 10, 8, 8, 1);
        var (plain, _) = FirstMoments(0);
        var (pressed, signs) = FirstMoments(0.25);
        foreach (var (name, values) in pressed)
        {
            // m = (1 − β₁)(g + λ·sign γ) after one step, on scales; the same as without on all others.
            double pressure = signs.ContainsKey(name) ? 0.1 * 0.25 : 0;
            Assert.That(
                values.Zip(plain[name], (with, without) => (double)with - without), Is.EqualTo(values.Select((_, i) => pressure == 0 ? 0 : pressure * signs[name][i])).Within(1e-6), name);
        }

        Assert.That(signs.Values.SelectMany(s => s), Does.Contain(-1).And.Contain(0).And.Contain(1));

        (Dictionary<string, float[]> Moments, Dictionary<string, int[]> Signs) FirstMoments(double lambda)
        {
            using Model model = ModelFactory.Create(recipe, Device);
            model.Initialize(0);
            model.Parameters.Single(p => p.Name == "bn1.weight").Value.CopyFrom([1, 0, -0.5f, 2]);
            using Adam optimizer = new(PruningRun.CreateGroups(model, 1e-3, 0));
            using PruningRun pruning = new(
                model, optimizer, new DemonPruning(new DemonPruningOptions { Lambda = lambda, NoiseStandardDeviation = 0, Schedule = PressureSchedule.Constant }), 10, recipe.InputShape(1), 4);
            var signs = model.Parameters.Where(p => p.Role == ParameterRole.NormalizationScale).ToDictionary(p => p.Name, p => p.Value.ToArray().Select(Math.Sign).ToArray());
            Step(model, pruning, recipe);
            return (optimizer.Parameters.ToDictionary(p => p.Name, p => optimizer.MomentsOf(p)[0].ToArray()), signs);
        }
    }

    [TestCase(false, new[] { 0, 0.5, 0 })]
    [TestCase(true, new[] { 0.5, 0.5, 0 })]
    public void Shifts_are_never_under_pressure(bool all, double[] expected)
    {
        ModelRecipe recipe = new("cnn", 4, 10, 8, 8, 1);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(0);
        using Sgd optimizer = new(PruningRun.CreateGroups(model, 0.1, 0));
        using PruningRun pruning = new(
            model, optimizer, new DemonPruning(new DemonPruningOptions { Lambda = 0.5, RegularizeAll = all, Regularizer = Regularizer.L2, Schedule = PressureSchedule.Constant }), 10, recipe.InputShape(1), 4);
        pruning.BeforeStep(3);
        Assert.That(optimizer.Groups.Select(group => group.L2), Is.EqualTo(expected));
        Assert.That(optimizer.Groups.Select(group => group.L1), Is.All.Zero);
    }

    [Test]
    public void Optimizer_groups_that_mix_scales_with_weights_are_refused()
    {
        ModelRecipe recipe = new("cnn", 4, 10, 8, 8, 1);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(0);
        using Sgd optimizer = new([new ParameterGroup(model.Parameters.Where(p => p.IsTrained), 0.1)]);
        Assert.That(() => new PruningRun(model, optimizer, new DemonPruning(), 10, recipe.InputShape(1), 4), Throws.ArgumentException.With.Message.Contains("CreateGroups"));
    }

    [Test]
    public void The_accounts_sum_the_network_as_it_was_at_every_step()
    {
        ModelRecipe recipe = new("cnn", 4, 10, 8, 8, 1);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(0);
        using Sgd optimizer = new(PruningRun.CreateGroups(model, 0.1, 0));
        using PruningRun pruning = new(model, optimizer, new DemonPruning(new DemonPruningOptions(), new EveryOtherUnitOf("conv1")), 10, recipe.InputShape(1), 5);

        // conv1 8·8·4·9·1, conv2 4·4·8·9·4, fc1 2·2·8·16, fc2 16·10 multiply-adds.
        const double dense = 2.0 * (2304 + 4608 + 512 + 160);
        Assert.That(pruning.Accounting.Flops, Is.EqualTo(dense));
        Assert.That(pruning.Accounting.DenseParameters, Is.EqualTo(36 + 288 + 512 + 170 + 2 * (4 + 8 + 16)));
        pruning.Accounting.CountStep(5);
        int removed;
        using (TensorScope scope = new())
        {
            Tensor images = Tensor.Uniform(Device, recipe.InputShape(64), new RandomKey(1, 0, 0), -1, 1);
            pruning.CensusImages = visit => visit(images);
            removed = ((DemonPruning)pruning.Method).Prune(pruning);
        }

        Assert.That(removed, Is.EqualTo(2));
        const double now = 2.0 * (1152 + 2304 + 512 + 160);
        Assert.That(pruning.Accounting.Flops, Is.EqualTo(now));
        pruning.Accounting.CountStep(5);
        Assert.That(pruning.Accounting.TrainingFlops, Is.EqualTo(3 * 5 * dense + 64 * dense + 3 * 5 * now));
        Assert.That(pruning.Accounting.DenseTrainingFlops, Is.EqualTo(2 * 3 * 5 * dense));
        Assert.That(pruning.Accounting.WeightSparsity, Is.EqualTo((18 + 144 + 4) / 1062.0).Within(1e-12));
        Assert.That(pruning.Accounting.NeuronSparsity, Is.EqualTo(2 / 28.0).Within(1e-12));
    }

    [Test]
    public void Bad_options_are_one_clear_sentence()
    {
        Assert.That(() => new DemonPruningOptions { Lambda = -1 }.Validate(), Throws.ArgumentException.With.Message.EqualTo("--lambda must be 0 or above, but is -1."));
        Assert.That(() => new DemonPruningOptions { PruneEvery = 0 }.Validate(), Throws.ArgumentException.With.Message.Contains("--prune-every"));
    }

    private void Step(Model model, PruningRun pruning, ModelRecipe recipe)
    {
        pruning.BeforeStep(0);
        model.BeginStep(0);
        using TensorScope scope = new();
        Tensor images = Tensor.Uniform(Device, recipe.InputShape(4), new RandomKey(1, 0, 0), -1, 1);
        Operation.SoftmaxCrossEntropy(model.Forward(images), Tensor.FromValues(Device, [0, 1, 2, 3])).Backward();
        pruning.Update();
    }

    private sealed class EveryOtherUnitOf(string name) : IPruningCriterion
    {
        public void Select(UnitGroup group, ChannelStatistics statistics, Span<bool> remove)
        {
            for (int c = 0; c < remove.Length && group.Name == name; c += 2)
            {
                remove[c] = true;
            }
        }
    }
}
