using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers.Models;
using Saturn.Prune;
using Saturn.Prune.Methods;
using Saturn.Prune.Scores;
using Saturn.Tests.Engine;

namespace Saturn.Tests.Prune;

/// <summary>Scores of units on networks small enough to compute by hand, and against a double-precision perceptron whose gates are closed by brute force.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class ScoreTests(string device) : EngineTest(device)
{
    private static readonly ModelRecipe Perceptron = new("mlp", 6, 3, 2, 2, 1);

    [Test]
    public void Snap_is_the_gradient_of_the_loss_by_the_gates()
    {
        using Network network = new(Device);
        var scores = new SnapScore(2).Score(network.Run);
        DoublePerceptron reference = new(network.Model);
        double[][] gradient = reference.GateGradient(network.Batches, Ones(network.Run));
        for (int g = 0; g < 2; g++)
        {
            Assert.That(scores[network.Run.Graph.Groups[g]], Is.EqualTo(gradient[g].Select(Math.Abs)).Within(2e-6));
        }

        Assert.That(network.Model.Activities.All(activity => activity.Gates is null && !activity.IsPaused), "no gate is left behind");
        Assert.That(network.Model.Parameters.Any(parameter => parameter.HasGradient), Is.False);
    }

    [Test]
    public void Crop_is_the_gates_hessian_times_their_gradient()
    {
        using Network network = new(Device);
        var scores = new CropScore(2).Score(network.Run);
        DoublePerceptron reference = new(network.Model);
        double[][] ones = Ones(network.Run);
        double[][] direction = reference.GateGradient(network.Batches, ones);

        // A far smaller step than float32 allows.
        const double Step = 1e-5;
        double[][] above = reference.GateGradient(network.Batches, Moved(ones, direction, Step));
        double[][] below = reference.GateGradient(network.Batches, Moved(ones, direction, -Step));
        double largest = 0;
        for (int g = 0; g < 2; g++)
        {
            double[] expected = [.. above[g].Select((value, c) => Math.Abs(value - below[g][c]) / (2 * Step))];
            largest = Math.Max(largest, expected.Max());
            Assert.That(scores[network.Run.Graph.Groups[g]], Is.EqualTo(expected).Within(2e-3 * Math.Max(expected.Max(), 1e-3)));
        }

        Assert.That(largest, Is.GreaterThan(1e-3), "the test says something");
    }

    /// <summary>
    /// Networks with and without normalizations, residual sums, attention and tails: the gradient of open gates is that of gates that are just not open, which are
    /// multiplied with, and along a direction it is the loss's difference.
    /// </summary>
    [TestCase("resnet18", "relu")]
    [TestCase("vgg16", "leakyrelu")]
    [TestCase("cnn", "silu")]
    [TestCase("vit", "gelu")]
    [TestCase("mlp", "relu")]
    public void Gates_are_differentiated_in_every_kind_of_network(string name, string activation)
    {
        int side = name == "vgg16" ? 32 : 8;
        ModelRecipe recipe = new(name, name == "vit" ? 32 : 3, 10, side, side, 3) { Activation = activation, Depth = 2 };
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(0);
        using Sgd optimizer = new(PruningRun.CreateGroups(model, 0.1, 0));
        using PruningRun run = new(model, optimizer, new Dense(), 10, recipe.InputShape(1), 4) { LabelledImages = (_, visit) => Show(recipe, visit) };
        Dictionary<UnitGroup, double[]> gradient, direction;
        double slope;
        using (GateGradients gates = new(run, 1))
        {
            gradient = gates.Take();

            // The smallest step from 1: a product and a pass of its own instead of what open gates save.
            gates.Move(gradient.ToDictionary(pair => pair.Key, pair => pair.Value.Select(_ => 1.0).ToArray()), Math.BitIncrement(1f) - 1.0);
            foreach (var (group, values) in gates.Take())
            {
                Assert.That(gradient[group], Is.EqualTo(values).Within(2e-5 + 2e-4 * values.Max(Math.Abs)), group.Name);
            }

            Random random = new(1);
            direction = gradient.ToDictionary(pair => pair.Key, pair => pair.Value.Select(value => Math.Sign(value) * random.NextDouble()).ToArray());
            slope = (LossAt(gates, 1e-3) - LossAt(gates, -1e-3)) / 2e-3;
        }

        double expected = gradient.Sum(pair => pair.Value.Zip(direction[pair.Key], (g, d) => g * d).Sum());
        Assert.That(slope, Is.EqualTo(expected).Within(0.02 * expected + 1e-4));

        double LossAt(GateGradients gates, double step)
        {
            gates.Move(direction, step);
            double loss = 0;
            Show(recipe, (images, labels) =>
            {
                using InferenceScope inference = new();
                model.BeginStep(0);
                loss = Operation.SoftmaxCrossEntropy(model.Forward(images), labels).ToScalar();
            });
            return loss;
        }
    }

    [Test]
    public void Gradient_scores_leave_running_statistics_and_modes_alone()
    {
        ModelRecipe recipe = new("cnn", 4, 10, 8, 8, 1);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(0);
        using Sgd optimizer = new(PruningRun.CreateGroups(model, 0.1, 0));
        using PruningRun run = new(model, optimizer, new Dense(), 10, recipe.InputShape(1), 4)
        {
            LabelledImages = (_, visit) =>
            {
                using TensorScope scope = new();
                visit(Tensor.Uniform(Device, recipe.InputShape(4), new RandomKey(1, 0, 0), -1, 1), Tensor.FromValues(Device, [0, 1, 2, 3]));
            },
        };
        Dictionary<string, float[]> before = model.Parameters.ToDictionary(parameter => parameter.Name, parameter => parameter.Value.ToArray());
        model.SetTraining(false);
        new CropScore(1).Score(run);
        Assert.That(model.IsTraining, Is.False);
        Assert.That(model.Parameters.All(parameter => parameter.Value.ToArray().SequenceEqual(before[parameter.Name])));

        // Three gradients of four images, each a forward pass and the data's gradient: the filters' are not computed.
        Assert.That(run.Accounting.TrainingFlops, Is.EqualTo(3 * 2 * 4 * run.Accounting.Flops));
        Assert.That(model.Parameters.All(parameter => !parameter.IsFrozen && !parameter.HasGradient));
    }

    [Test]
    public void Scales_filters_and_random_numbers_score_as_they_say()
    {
        ModelRecipe recipe = new("cnn", 2, 10, 8, 8, 1);
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(0);
        model.Parameters.Single(parameter => parameter.Name == "bn1.weight").Value.CopyFrom([-3, 0.5f]);
        float[] filter = new float[18];
        filter[0] = 9;
        filter[9] = -1;
        filter[17] = 2;
        model.Parameters.Single(parameter => parameter.Name == "conv1.weight").Value.CopyFrom(filter);
        using Sgd optimizer = new(PruningRun.CreateGroups(model, 0.1, 0));
        using PruningRun run = new(model, optimizer, new Dense(), 10, recipe.InputShape(1), 4, seed: 7);
        UnitGroup first = run.Graph.Groups[0];
        Assert.That(new ScaleScore().Score(run)[first], Is.EqualTo(new[] { 3, 0.5 }).Within(1e-7));

        // Nine weights a filter: 9/9 and 3/9.
        Assert.That(new FilterNormScore().Score(run)[first], Is.EqualTo(new[] { 1, 1 / 3.0 }).Within(1e-7));
        double[] drawn = new RandomScore().Score(run)[first];
        Assert.That(drawn, Is.EqualTo(new RandomScore().Score(run)[first]));
        Assert.That(drawn, Is.Unique.And.All.InRange(0, 1));
        run.Remove(new Dictionary<UnitGroup, bool[]> { [first] = [true, false] });
        Assert.That(new RandomScore().Score(run)[run.Graph.Groups[0]], Is.EqualTo(new[] { drawn[1] }), "a unit keeps its number when its neighbour goes");
    }

    [Test]
    public void Equal_scores_go_in_the_order_of_the_network_and_the_best_of_a_layer_stays()
    {
        using Network network = new(Device);
        UnitGroup first = network.Run.Graph.Groups[0];
        UnitGroup second = network.Run.Graph.Groups[1];
        Dictionary<UnitGroup, double[]> scores = new() { [first] = [1, 1, 1, 1, 1, 2], [second] = [0, 0] };

        // Eight units; half of them: one of the second layer (the other is its best), then the first of the equal ones.
        var marks = GlobalRanking.Mark(network.Run, scores, 0.5, SparsityMetric.Neurons);
        Assert.That(marks[first], Is.EqualTo(new[] { true, true, true, false, false, false }));
        Assert.That(marks[second], Is.EqualTo(new[] { false, true }));
        scores[first][2] = double.NaN;
        Assert.That(() => GlobalRanking.Mark(network.Run, scores, 0.5, SparsityMetric.Neurons), Throws.ArgumentException.With.Message.Contains("unit 2 of layers.0"));
        scores[first][2] = 1;
        Assert.That(() => GlobalRanking.Mark(network.Run, scores, 0.8, SparsityMetric.Neurons), Throws.ArgumentException.With.Message.Contains("at most 0.75"));
    }

    private void Show(ModelRecipe recipe, Action<Tensor, Tensor> visit)
    {
        using TensorScope scope = new();
        visit(Tensor.Uniform(Device, recipe.InputShape(8), new RandomKey(1, 0, 0), -1, 1), Tensor.FromValues(Device, [0, 1, 2, 3, 4, 5, 6, 7]));
    }

    private static double[][] Ones(PruningRun run) => [.. run.Graph.Groups.Select(group => Enumerable.Repeat(1.0, group.Channels).ToArray())];

    private static double[][] Moved(double[][] gates, double[][] direction, double step) => [.. gates.Select((row, g) => row.Select((value, c) => value + step * direction[g][c]).ToArray())];

    /// <summary>A perceptron of 4, 6, 2 and 3 units with two batches of images.</summary>
    private sealed class Network : IDisposable
    {
        private readonly Sgd optimizer;

        public Network(Device device)
        {
            Model = ModelFactory.Create(Perceptron, device);
            Model.Initialize(4);
            optimizer = new Sgd(PruningRun.CreateGroups(Model, 0.1, 0));
            Random random = new(3);
            Batches = [.. Enumerable.Range(0, 2).Select(_ => (Enumerable.Range(0, 12).Select(_ => random.NextSingle() * 2 - 1).ToArray(), (int[])[random.Next(3), random.Next(3), random.Next(3)]))];
            Run = new PruningRun(Model, optimizer, new Dense(), 10, Perceptron.InputShape(1), 3)
            {
                LabelledImages = (count, visit) =>
                {
                    foreach (var (images, labels) in Batches.Take(count))
                    {
                        using TensorScope scope = new();
                        visit(Tensor.FromValues(device, Perceptron.InputShape(3), images), Tensor.FromValues(device, labels));
                    }
                },
            };
        }

        public Model Model { get; }

        public PruningRun Run { get; }

        public (float[] Images, int[] Labels)[] Batches { get; }

        public void Dispose()
        {
            Run.Dispose();
            optimizer.Dispose();
            Model.Dispose();
        }
    }

    /// <summary>The same perceptron in double precision; the gradient by the gates is a central difference of the loss.</summary>
    private sealed class DoublePerceptron(Model model)
    {
        private readonly (double[] Weight, double[] Bias, int Inputs)[] layers =
        [
            .. new[] { "layers.0", "layers.1", "fc" }.Select(name => (
                Values(model, name + ".weight"), Values(model, name + ".bias"), model.Parameters.Single(parameter => parameter.Name == name + ".weight").Columns)),
        ];

        public double[][] GateGradient((float[] Images, int[] Labels)[] batches, double[][] gates)
        {
            const double Step = 1e-6;
            double[][] gradient = [.. gates.Select(row => new double[row.Length])];
            for (int g = 0; g < gates.Length; g++)
            {
                for (int c = 0; c < gates[g].Length; c++)
                {
                    double kept = gates[g][c];
                    gates[g][c] = kept + Step;
                    double above = Loss(batches, gates);
                    gates[g][c] = kept - Step;
                    gradient[g][c] = (above - Loss(batches, gates)) / (2 * Step);
                    gates[g][c] = kept;
                }
            }

            return gradient;
        }

        private double Loss((float[] Images, int[] Labels)[] batches, double[][] gates)
        {
            double sum = 0;
            foreach (var (images, labels) in batches)
            {
                for (int n = 0; n < labels.Length; n++)
                {
                    double[] x = [.. images.Skip(4 * n).Take(4).Select(value => (double)value)];
                    for (int l = 0; l < 3; l++)
                    {
                        var (weight, bias, inputs) = layers[l];
                        double[] from = x;
                        x = [.. bias.Select((b, o) => b + Enumerable.Range(0, inputs).Sum(i => weight[o * inputs + i] * from[i]))];
                        if (l < 2)
                        {
                            double[] gate = gates[l];
                            x = [.. x.Select((value, c) => Math.Max(value, 0) * gate[c])];
                        }
                    }

                    double largest = x.Max();
                    sum += (largest + Math.Log(x.Sum(value => Math.Exp(value - largest))) - x[labels[n]]) / labels.Length;
                }
            }

            return sum;
        }

        private static double[] Values(Model model, string name) => [.. model.Parameters.Single(parameter => parameter.Name == name).Value.ToArray().Select(value => (double)value)];
    }
}
