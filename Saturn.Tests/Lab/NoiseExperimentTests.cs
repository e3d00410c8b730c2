using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels.Cpu;
using Saturn.Training;
using Saturn.Training.Data;
using Saturn.Training.Lab;

namespace Saturn.Tests.Lab;

/// <summary>Steps of the noise experiment against gradients taken one by one.</summary>
public sealed class NoiseExperimentTests
{
    private static readonly NoiseExperimentOptions Options = new() { Images = 12, Width = 9, Steps = 4, CountEvery = 2, FullGradientEvery = 1, LearningRate = 0.1, Seed = 3 };

    [Test]
    public void A_step_of_sgd_noise_is_the_images_gradient_less_the_mean_gradient()
    {
        using CpuDevice device = new(workers: 1);
        ImageDataset images = DatasetSource.Open("synthetic", 12, 12).Training;
        using NoiseExperiment experiment = new(device, images, Options);
        Dictionary<string, float[]> before = Values(experiment);

        // Every image's gradient on its own, at the starting weights.
        Dictionary<string, double[]> mean = before.ToDictionary(pair => pair.Key, pair => new double[pair.Value.Length]);
        Dictionary<string, float[]> own = [];
        for (int i = 0; i < 12; i++)
        {
            Evaluator.ForEachBatch(device, images, [i], 1, (x, y) => Operation.SoftmaxCrossEntropy(experiment.Model.Forward(x), y).Backward());
            foreach (Parameter parameter in experiment.Model.Parameters)
            {
                float[] gradient = parameter.Gradient.ToArray();
                for (int k = 0; k < gradient.Length; k++)
                {
                    mean[parameter.Name][k] += gradient[k] / 12.0;
                }

                if (i == 5)
                {
                    own[parameter.Name] = gradient;
                }

                parameter.ClearGradient();
            }
        }

        experiment.Step(0, 5);
        foreach (var (name, values) in Values(experiment))
        {
            double[] expected = [.. before[name].Select((w, k) => w - 0.1 * (own[name][k] - mean[name][k]))];
            Assert.That(values, Is.EqualTo(expected).Within(2e-7), name);
        }
    }

    [Test]
    public void Asymmetric_noise_leaves_weights_without_gradient_alone_and_symmetric_does_not()
    {
        using CpuDevice device = new(workers: 1);
        ImageDataset images = DatasetSource.Open("synthetic", 12, 12).Training;
        foreach (NoiseSource source in new[] { NoiseSource.Asymmetric, NoiseSource.Symmetric })
        {
            using NoiseExperiment experiment = new(device, images, Options with { Source = source, NoiseStandardDeviation = 0.01 });
            Parameter bias = experiment.Model.Parameters.Single(parameter => parameter.Name == "layers.0.bias");
            float[] values = bias.Value.ToArray();
            values[4] = -100;
            bias.Value.CopyFrom(values);
            Dictionary<string, float[]> before = Values(experiment);
            experiment.Step(0, 3);
            Dictionary<string, float[]> after = Values(experiment);
            int inputs = before["layers.0.weight"].Length / 9;
            bool moved = Enumerable.Range(4 * inputs, inputs).Any(k => after["layers.0.weight"][k] != before["layers.0.weight"][k]);
            Assert.That(moved, Is.EqualTo(source == NoiseSource.Symmetric));
            Assert.That(after["fc.bias"].Zip(before["fc.bias"]).All(pair => pair.First != pair.Second), "the classifier is always live");
        }
    }

    [TestCase(NoiseSource.Sgd)]
    [TestCase(NoiseSource.SgdNoise)]
    [TestCase(NoiseSource.Asymmetric)]
    [TestCase(NoiseSource.Symmetric)]
    public void The_same_seed_gives_the_same_curve_with_a_count_at_both_ends(NoiseSource source)
    {
        DeathCurve first = Run();
        Assert.That(first.Counts.Select(count => count.Step), Is.EqualTo(new[] { 0, 2, 4 }));
        Assert.That(first.Counts.All(count => count.Units == 12));
        Assert.That(Run().Counts.Select(count => (count.Dead, count.EverDead, count.Revived)), Is.EqualTo(first.Counts.Select(count => (count.Dead, count.EverDead, count.Revived))));

        DeathCurve Run()
        {
            using CpuDevice device = new(workers: 2);
            using NoiseExperiment experiment = new(device, DatasetSource.Open("synthetic", 12, 12).Training, Options with { Source = source });
            return experiment.Run();
        }
    }

    [Test]
    public void Pages_and_tables_hold_every_run()
    {
        using CpuDevice device = new(workers: 1);
        using NoiseExperiment experiment = new(device, DatasetSource.Open("synthetic", 12, 12).Training, Options);
        DeathCurve curve = experiment.Run();
        Assert.That(DeathReport.Csv([curve, curve]).TrimEnd().Split('\n'), Has.Length.EqualTo(1 + 2 * 3));
        Assert.That(DeathReport.Page("a < b", [curve]), Does.Contain("a &lt; b").And.Contain(curve.Name).And.Contain("Dead by layer"));
    }

    private static Dictionary<string, float[]> Values(NoiseExperiment experiment) => experiment.Model.Parameters.ToDictionary(parameter => parameter.Name, parameter => parameter.Value.ToArray());
}
