using NUnit.Framework;
using Saturn.Engine;
using Saturn.Prune;
using Saturn.Prune.Methods;
using Saturn.Training;

namespace Saturn.Tests.Prune;

/// <summary>Masks on single weights, their schedules and their formulas, with the arithmetic written out.</summary>
public sealed class MaskTests
{
    [Test]
    public void Erk_densities_solve_the_budget()
    {
        // Three matrices 10×10, 10×20 and 40×40: raw values 20/100, 30/200, 80/1600, times sizes 20, 30, 80. A tenth of 1,900 weights: ε = 190/130.
        double[] plain = LayerDensities.Erk([[10, 10], [10, 20], [40, 40]], 0.1);
        double epsilon = 190 / 130.0;
        Assert.That(plain, Is.EqualTo(new[] { 0.2 * epsilon, 0.15 * epsilon, 0.05 * epsilon }).Within(1e-12));

        // Half of them: ε = 950/130 makes the first two denser than 1; they are dense, and the third has (950 − 300)/1600.
        double[] clamped = LayerDensities.Erk([[10, 10], [10, 20], [40, 40]], 0.5);
        Assert.That(clamped, Is.EqualTo(new[] { 1, 1, 650 / 1600.0 }).Within(1e-12));

        // A filter of 8×3×3×4: (8 + 3 + 3 + 4)/288.
        Assert.That(LayerDensities.Erk([[8, 3, 3, 4]], 0.25), Is.EqualTo(new[] { 0.25 }).Within(1e-12));
    }

    [Test]
    public void The_gradual_schedule_is_cubic()
    {
        MagnitudePruning method = new() { TargetSparsity = 0.8, Start = 0.2, End = 0.7 };
        Assert.That(method.SparsityAt(0, 1000), Is.Zero);
        Assert.That(method.SparsityAt(200, 1000), Is.Zero);
        Assert.That(method.SparsityAt(450, 1000), Is.EqualTo(0.8 * (1 - 0.125)).Within(1e-12));
        Assert.That(method.SparsityAt(700, 1000), Is.EqualTo(0.8).Within(1e-12));
        Assert.That(method.SparsityAt(999, 1000), Is.EqualTo(0.8).Within(1e-12));
    }

    [Test]
    public void The_drop_fraction_is_half_a_cosine()
    {
        RiggedLottery method = new() { DropFraction = 0.3, Stop = 0.75 };
        Assert.That(method.DropFractionAt(0, 1000), Is.EqualTo(0.3).Within(1e-12));
        Assert.That(method.DropFractionAt(375, 1000), Is.EqualTo(0.15).Within(1e-12));
        Assert.That(method.DropFractionAt(750, 1000), Is.EqualTo(0).Within(1e-12));
    }

    [Test]
    public void Ranking_takes_equal_scores_in_order()
    {
        float[] scores = [3, -1, 2, -1, 2, 0];
        Assert.That(WeightRanking.Lowest(i => scores[i], _ => true, 6, 3), Is.EqualTo(new[] { 1, 3, 5 }));
        Assert.That(WeightRanking.Highest(i => scores[i], i => i > 0, 6, 2), Is.EqualTo(new[] { 2, 4 }));
        Assert.That(WeightRanking.Lowest(i => -0f, _ => true, 3, 9), Is.EqualTo(new[] { 0, 1, 2 }));
    }

    [TestCase(SparsityDistribution.Uniform)]
    [TestCase(SparsityDistribution.Erk)]
    [TestCase(SparsityDistribution.Global)]
    public void Magnitude_pruning_masks_the_smallest_and_reaches_its_target(SparsityDistribution distribution)
    {
        MagnitudePruning method = new() { TargetSparsity = 0.6, Start = 0, End = 0.5, UpdateEvery = 3, Distribution = distribution };
        using MethodRun run = new(method, totalSteps: 20);
        float[] kept = [];
        run.Train(20, beforeUpdate: step => kept = step == 10 ? Values(run, "conv2.weight") : kept);
        WeightMasks masks = run.Run.Masks!;
        long all = masks.Weights.Sum(weight => weight.Shape.ElementCount);
        Assert.That(masks.Absent.Values.Sum() / (double)all, Is.EqualTo(0.6).Within(4.0 / all));
        Assert.That(masks.Absent[masks.Weights.First()], Is.Zero, "the first layer is spared");
        Assert.That(masks.Absent[masks.Weights.Last()], Is.Zero, "the last layer is spared");
        Assert.That(run.Run.Accounting.LayerWeightSparsity, Is.EqualTo(0.6).Within(0.001));

        // What the last update at step 10 masked was no larger than what it left.
        bool[] open = masks.Read(masks.Weights.Single(weight => weight.Name == "conv2.weight"));
        float[] closed = [.. kept.Where((_, i) => !open[i]).Select(MathF.Abs)];
        float[] left = [.. kept.Where((_, i) => open[i]).Select(MathF.Abs)];
        Assert.That(closed.Max(), Is.LessThanOrEqualTo(left.Min()));
    }

    [TestCase("magnitude", "sgd")]
    [TestCase("saliency", "nesterov")]
    [TestCase("set", "adam")]
    [TestCase("rigl", "adamw")]
    [TestCase("srigl", "sgd")]
    [TestCase("chase", "adam")]
    public void Absent_weights_and_their_moments_are_exactly_zero(string name, string optimizer)
    {
        Dictionary<string, string> settings = StructuredPruningTests.Settings(("target-sparsity", "0.7"), ("update-every", "4"));
        if (name == "chase")
        {
            settings["channel-every"] = "5";
        }

        using MethodRun run = new(MethodCatalog.Create(name, settings), totalSteps: 24, optimizer: optimizer, decay: 1e-2);
        run.Run.Start();
        run.Train(24);
        WeightMasks masks = run.Run.Masks!;
        foreach (Parameter weight in masks.Weights)
        {
            bool[] open = masks.Read(weight);
            float[] values = weight.Value.ToArray();
            Assert.That(open.Count(flag => !flag), Is.EqualTo(masks.Absent[weight]), weight.Name);
            foreach (float[] state in run.Optimizer.MomentsOf(weight).Select(moment => moment.ToArray()).Append(values))
            {
                Assert.That(state.Where((_, i) => !open[i]), Is.All.EqualTo(0f), weight.Name);
            }

            Assert.That(values.Count(value => value != 0), Is.GreaterThan(0.9 * open.Count(flag => flag)), "the others train");
        }

        Assert.That(run.Run.Accounting.LayerWeightSparsity, Is.EqualTo(0.7).Within(0.01));
    }

    [Test]
    public void RigL_exchanges_the_smallest_weights_for_the_largest_gradients_and_skips_the_step()
    {
        RiggedLottery method = new() { TargetSparsity = 0.5, UpdateEvery = 5 };
        using MethodRun run = new(method, totalSteps: 100);
        run.Run.Start();
        run.Train(5);
        Parameter weight = run.Run.Masks!.Weights.Single(candidate => candidate.Name == "fc1.weight");
        bool[] before = run.Run.Masks.Read(weight);
        float[] values = weight.Value.ToArray();
        float[] gradient = [];
        float[] classifier = Values(run, "fc2.weight");
        run.Train(1, first: 5, beforeUpdate: _ => gradient = Array.ConvertAll(weight.Gradient.ToArray(), MathF.Abs));
        bool[] after = run.Run.Masks.Read(weight);

        // f = 0.15·(1 + cos(π·5/75)) of the weights present.
        int present = before.Count(flag => flag);
        int exchanged = (int)(0.15 * (1 + Math.Cos(Math.PI * 5 / 75)) * present);
        Assert.That(after.Count(flag => flag), Is.EqualTo(present));
        float[] smallest = [.. values.Where((_, i) => before[i]).Select(MathF.Abs).Order()];
        int[] dropped = [.. Enumerable.Range(0, before.Length).Where(i => before[i] && Math.Abs(values[i]) <= smallest[exchanged - 1])];
        int[] candidates = [.. Enumerable.Range(0, before.Length).Where(i => !before[i] || dropped.Contains(i)).OrderByDescending(i => gradient[i])];
        bool[] expected = [.. before.Select((flag, i) => flag && !dropped.Contains(i))];
        foreach (int i in candidates.Take(exchanged))
        {
            expected[i] = true;
        }

        Assert.That(after, Is.EqualTo(expected));
        Assert.That(Values(run, "fc2.bias").Length, Is.GreaterThan(0));
        float[] now = weight.Value.ToArray();
        Assert.That(Enumerable.Range(0, now.Length).Where(i => after[i] && !before[i]).Select(i => now[i]), Is.All.EqualTo(0f), "what was grown starts at zero");
        Assert.That(Enumerable.Range(0, now.Length).Where(i => after[i] && before[i]).All(i => now[i] == values[i]), "the optimizer skipped the step");
        bool[] open = run.Run.Masks.Read(run.Run.Masks.Weights.Last());
        Assert.That(Values(run, "fc2.weight").Where((_, i) => open[i] && classifier[i] != 0).Count(), Is.GreaterThan(0));
    }

    [Test]
    public void Constant_fan_in_is_constant_and_weak_neurons_are_ablated()
    {
        // Four neurons of fan-in 6, budget 8: fan-in 2. Neuron 3 holds two tiny weights and has no gradient: with a half of the weights up for exchange, none of its weights is salient.
        float[] weights =
        [
            9, 8, 0, 0, 0, 0,
            7, 6, 0, 0, 0, 0,
            0, 0, 5, 0.3f, 0, 0,
            0, 0, 0, 0, 0.2f, 0.1f,
        ];
        float[] gradients =
        [
            0, 0, 1, 2, 0, 0,
            0, 0, 0, 0, 0, 0,
            9, 3, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0,
        ];
        bool[] open = [.. weights.Select(weight => weight != 0)];
        int fanIn = StructuredRiggedLottery.Exchange(weights, gradients, open, 4, 8, 0.5, 0.3);

        // Three neurons share the budget of 8: ⌊8/3⌋ = 2 weights each.
        Assert.That(fanIn, Is.EqualTo(2));
        Assert.That(open.Chunk(6).Select(row => row.Count(flag => flag)), Is.EqualTo(new[] { 2, 2, 2, 0 }));

        // The four largest weights stay salient, 9, 8, 7 and 6; neuron 2 grows where its gradient is largest.
        Assert.That(open.Select((flag, i) => flag ? i : -1).Where(i => i >= 0), Is.EqualTo(new[] { 0, 1, 6, 7, 12, 13 }));
    }

    [Test]
    public void Chase_removes_channels_up_to_its_share_and_keeps_what_every_layer_must()
    {
        Chase method = new() { TargetSparsity = 0.85, UpdateEvery = 4, ChannelEvery = 4, ChannelSparsity = 0.5, ChannelStop = 0.5, KeepAtLeast = 0.4 };
        using MethodRun run = new(method, totalSteps: 24);
        run.Run.Start();
        run.Train(24);
        Accounting accounting = run.Run.Accounting;
        Assert.That(accounting.NeuronSparsity, Is.EqualTo(0.5).Within(1.0 / accounting.TotalUnits));
        for (int g = 0; g < accounting.LiveChannels.Count; g++)
        {
            Assert.That(accounting.LiveChannels[g], Is.GreaterThanOrEqualTo((int)Math.Ceiling(0.4 * accounting.Dense.Groups[g].Channels)));
        }

        Assert.That(accounting.StructuralInferenceFlopsRatio, Is.LessThan(0.9).And.GreaterThan(accounting.InferenceFlopsRatio));
        Assert.That(accounting.LayerWeightSparsity, Is.EqualTo(0.85).Within(1e-3), "what went with the channels grew again elsewhere");
    }

    [Test]
    public void Chase_removes_the_weakest_channel_and_grows_its_weights_where_the_gradient_is_largest()
    {
        // A perceptron 64-2-1-10: 140 weights, of which a half are to be present. One removal, after two steps, of half of its three units: one.
        Chase method = new() { TargetSparsity = 0.5, UpdateEvery = 1000, ChannelEvery = 2, ChannelSparsity = 0.5, ChannelStop = 0.2, KeepAtLeast = 0 };
        using MethodRun run = new(method, totalSteps: 10, model: "mlp", width: 2);
        run.Run.Start();
        WeightMasks masks = run.Run.UseMasks();
        Parameter first = masks.Weights.Single(weight => weight.Name == "layers.0.weight");
        bool[] open = [.. Enumerable.Range(0, 128).Select(i => i % 2 == 0)];
        masks.Set(first, open, run.Optimizer);
        first.Value.CopyFrom([.. open.Select((flag, i) => flag ? i < 64 ? 0.5f : 0.1f : 0)]);
        foreach (Parameter other in masks.Weights.Where(weight => weight != first).ToArray())
        {
            bool[] all = [.. Enumerable.Repeat(true, (int)other.Shape.ElementCount)];
            masks.Set(other, all, run.Optimizer);
            other.Value.CopyFrom([.. all.Select((_, i) => 1 + 0.1f * i)]);
        }

        // The second unit of the first layer is the weakest by far, whatever two small steps did.
        run.Train(2);
        Assert.That(run.Run.Accounting.LiveChannels, Is.EqualTo(new[] { 1, 1 }));
        Assert.That(Values(run, "layers.0.weight").Max(), Is.GreaterThan(0.4f));

        // The next step grows what is missing and takes no step. Half of 140 weights are to be present; 32 + 1 + 10 are left of 64 + 1 + 10, so 27 of the 32 closed ones open, those with the largest gradient.
        float[] gradient = [];
        bool[] before = masks.Read(first);
        run.Train(1, 2, _ => gradient = first.Gradient.ToArray());
        bool[] now = masks.Read(first);
        Assert.That(now.Count(flag => flag), Is.EqualTo(59));
        float[] opened = [.. gradient.Where((_, i) => now[i] && !before[i]).Select(MathF.Abs)];
        float[] closed = [.. gradient.Where((_, i) => !now[i]).Select(MathF.Abs)];
        Assert.That(opened, Has.Length.EqualTo(27));
        Assert.That(opened.Min(), Is.GreaterThanOrEqualTo(closed.Max()));
    }

    [Test]
    public void Chase_stops_where_fewer_channels_could_not_hold_the_weights()
    {
        Chase method = new() { TargetSparsity = 0.2, UpdateEvery = 4, ChannelEvery = 4, ChannelSparsity = 0.9, ChannelStop = 0.5, KeepAtLeast = 0 };
        using MethodRun run = new(method, totalSteps: 24);
        run.Run.Start();
        run.Train(24);
        Assert.That(run.Run.Accounting.LayerWeightSparsity, Is.EqualTo(0.2).Within(1e-3));
        Assert.That(run.Run.Accounting.NeuronSparsity, Is.LessThan(0.3));
    }

    [Test]
    public void Stability_compares_supports_by_their_places_in_the_dense_network()
    {
        using MethodRun run = new(new Dense(), totalSteps: 10, width: 2);
        MaskStability stability = new(run.Run.Accounting.Dense);
        Parameter filter = run.Model.Parameters.Single(parameter => parameter.Name == "conv1.weight");
        foreach (Parameter weight in run.Model.Parameters.Where(parameter => parameter.Role == ParameterRole.Weight))
        {
            weight.Value.CopyFrom(new float[weight.Shape.ElementCount]);
        }

        // Two filters of nine weights: {0, 1, 9} → {1, 9, 10, 11}: two stay, two are born, one dies.
        Set(filter, 0, 1, 9);
        Assert.That(stability.Compare(run.Model.Parameters), Is.Null);
        Set(filter, 1, 9, 10, 11);
        Assert.That(stability.Compare(run.Model.Parameters), Is.EqualTo(new MaskChange(2 / 5.0, 2, 1, 4)));

        // The first filter goes; 9, 10 and 11 are 0, 1 and 2 of what is left.
        run.Run.Remove(new Dictionary<UnitGroup, bool[]> { [run.Run.Graph.Groups[0]] = [true, false] });
        Assert.That(stability.Compare(run.Model.Parameters), Is.EqualTo(new MaskChange(3 / 4.0, 0, 1, 3)));
    }

    [Test]
    public void Masks_go_with_their_weights_through_surgery()
    {
        using MethodRun run = new(new Dense(), totalSteps: 10);
        WeightMasks masks = run.Run.UseMasks();
        Parameter filter = masks.Weights.Single(weight => weight.Name == "conv2.weight");
        bool[] open = [.. Enumerable.Range(0, (int)filter.Shape.ElementCount).Select(i => i % 3 != 0)];
        masks.Set(filter, open, run.Optimizer);
        bool[] flags = new bool[8];
        flags[2] = flags[5] = true;
        run.Run.Remove(new Dictionary<UnitGroup, bool[]> { [run.Run.Graph.Groups[0]] = flags });

        // conv2 loses the columns 2 and 5 of eight.
        Assert.That(masks.Read(filter), Is.EqualTo(open.Where((_, i) => i % 8 is not (2 or 5))));
        Assert.That(filter.Value.ToArray().Zip(masks.Read(filter)).Where(pair => !pair.Second).Select(pair => pair.First), Is.All.EqualTo(0f));
    }

    [TestCase("rigl")]
    [TestCase("srigl")]
    [TestCase("chase")]
    [TestCase("saliency")]
    [TestCase("grda")]
    public void A_resumed_run_gives_the_same_bits(string method)
    {
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, Path.GetRandomFileName());
        try
        {
            Dictionary<string, string> settings = method == "grda"
                ? StructuredPruningTests.Settings(("c", "0.005"), ("mu", "0.6"))
                : StructuredPruningTests.Settings(("target-sparsity", "0.7"), ("update-every", "5"));
            TrainingOptions options = new()
            {
                TrainImages = 256,
                ValidationImages = 64,
                Model = "resnet18",
                Width = 4,
                Epochs = 5,
                Batch = 32,
                LearningRate = 0.05,
                Threads = 1,
                Augment = false,
                Method = method,
                MethodSettings = settings,
            };
            Assert.That(ResumedRuns.Differences(folder, options, 2), Is.Empty);
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    [Test]
    public void Spared_ends_that_hold_too_much_are_one_sentence() => Assert.That(
        () => new MethodRun(new MagnitudePruning { TargetSparsity = 0.95 }, 10, width: 2), Throws.ArgumentException.With.Message.Contains("spare-ends=off"));

    private static float[] Values(MethodRun run, string name) => run.Model.Parameters.Single(parameter => parameter.Name == name).Value.ToArray();

    private static void Set(Parameter parameter, params int[] positions)
    {
        float[] values = new float[parameter.Shape.ElementCount];
        foreach (int position in positions)
        {
            values[position] = 1;
        }

        parameter.Value.CopyFrom(values);
    }
}
