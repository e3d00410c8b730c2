using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Layers;
using Saturn.Layers.Models;
using Saturn.Tests.Engine;

namespace Saturn.Tests.Layers;

/// <summary>What the models are made of, and that each of them runs. Every test also checks that a disposed model leaves no memory behind.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class ModelTests(string device) : EngineTest(device)
{
    // The state dictionary of torchvision's resnet18 without num_batches_tracked, in its order: each block's own two layers, then its downsample.
    private static readonly string[] ResNet18Layers =
    [
        "conv1", "bn1", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.conv2", "layer1.0.bn2", "layer1.1.conv1", "layer1.1.bn1", "layer1.1.conv2", "layer1.1.bn2",
        "layer2.0.conv1", "layer2.0.bn1", "layer2.0.conv2", "layer2.0.bn2", "layer2.0.downsample.0", "layer2.0.downsample.1", "layer2.1.conv1", "layer2.1.bn1",
        "layer2.1.conv2", "layer2.1.bn2", "layer3.0.conv1", "layer3.0.bn1", "layer3.0.conv2", "layer3.0.bn2", "layer3.0.downsample.0", "layer3.0.downsample.1",
        "layer3.1.conv1", "layer3.1.bn1", "layer3.1.conv2", "layer3.1.bn2", "layer4.0.conv1", "layer4.0.bn1", "layer4.0.conv2", "layer4.0.bn2",
        "layer4.0.downsample.0", "layer4.0.downsample.1", "layer4.1.conv1", "layer4.1.bn1", "layer4.1.conv2", "layer4.1.bn2",
    ];

    private static readonly ModelRecipe[] SmallRecipes =
    [
        new("mlp", 9, 4, 8, 8, 3), new("cnn", 3, 4, 8, 12, 1), new("resnet18", 3, 4, 16, 16, 3), new("resnet34", 2, 4, 16, 16, 3), new("resnet50", 1, 4, 16, 16, 3),
        new("resnet18", 2, 4, 72, 80, 3), new("vgg16", 1, 4, 32, 32, 3), new("vgg16", 1, 4, 96, 96, 3), new("cnn", 3, 4, 8, 8, 2, "leakyrelu"),
        new("resnet18", 3, 4, 16, 16, 3, "gelu"), new("resnet50", 1, 4, 16, 16, 3, "silu"),
    ];

    [Test]
    public void ResNet18_has_the_names_of_torchvision()
    {
        string[] expected =
        [
            .. ResNet18Layers.SelectMany(layer => layer.Contains("conv") || layer.EndsWith("downsample.0")
                ? (string[])[layer + ".weight"]
                : [layer + ".weight", layer + ".bias", layer + ".running_mean", layer + ".running_var"]),
            "fc.weight", "fc.bias",
        ];
        using Model model = ModelFactory.Create(new ModelRecipe("resnet18", 4, 10, 32, 32, 3), Device);
        Assert.That(model.Parameters.Select(parameter => parameter.Name), Is.EqualTo(expected));
    }

    [Test]
    public void Vgg_has_the_names_of_torchvision()
    {
        using Model model = ModelFactory.Create(new ModelRecipe("vgg16", 1, 10, 96, 96, 3), Device);
        int[] convolutions = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40];
        string[] expected =
        [
            .. convolutions.SelectMany(i => (string[])
            [
                $"features.{i}.weight", $"features.{i}.bias", $"features.{i + 1}.weight", $"features.{i + 1}.bias", $"features.{i + 1}.running_mean", $"features.{i + 1}.running_var",
            ]),
            "classifier.0.weight", "classifier.0.bias", "classifier.3.weight", "classifier.3.bias", "classifier.6.weight", "classifier.6.bias",
        ];
        Assert.That(model.Parameters.Select(parameter => parameter.Name), Is.EqualTo(expected));
        Assert.That(model.Activities.Select(activity => activity.Name), Is.EqualTo((string[])[.. convolutions.Select(i => $"features.{i}"), "classifier.0", "classifier.3"]));
    }

    [TestCase("resnet18", 32, 10, 3904, 11_173_962)]
    [TestCase("resnet50", 224, 1000, 22_720, 25_557_032)]
    [TestCase("resnet34", 224, 1000, 64 + 64 * 6 + 128 * 8 + 256 * 12 + 512 * 6, 21_797_672)]
    [TestCase("vgg16", 224, 1000, 4224 + 2 * 4096, 138_365_992)]
    public void Dense_counts_are_the_known_ones(string name, int pixels, int classes, int units, long parameters)
    {
        // torchvision's counts for ImageNet, and the usual one of ResNet-18 for CIFAR-10.
        using Model model = ModelFactory.Create(new ModelRecipe(name, 64, classes, pixels, pixels, 3), Device);
        long trained = model.Parameters.Where(parameter => parameter.IsTrained).Sum(parameter => parameter.Shape.ElementCount);
        Assert.That(model.Activities.Sum(activity => activity.Channels), Is.EqualTo(units));
        Assert.That(trained, Is.EqualTo(parameters));
    }

    [Test]
    public void The_mnist_network_has_its_known_sizes()
    {
        using Model model = ModelFactory.Create(new ModelRecipe("cnn", 32, 10, 28, 28, 1), Device);
        Assert.That(
            model.Parameters.Where(parameter => parameter.Role == ParameterRole.Weight).Select(parameter => parameter.Shape.ToString()),
            Is.EqualTo((string[])["[32, 3, 3, 1]", "[64, 3, 3, 32]", "[128, 3136]", "[10, 128]"]));
    }

    [TestCaseSource(nameof(SmallRecipes))]
    public void Every_model_gives_logits_and_gradients(ModelRecipe recipe)
    {
        using Model model = ModelFactory.Create(recipe, Device);
        RunOnce(model);
    }

    [TestCaseSource(nameof(SmallRecipes))]
    public void Every_model_runs_at_half_its_widths(ModelRecipe recipe)
    {
        using Model dense = ModelFactory.Create(recipe, Device);
        using Model half = ModelFactory.Create(recipe, Device, ChannelPlan.OfShare(0.5));
        Assert.That(half.Activities.Sum(activity => activity.Channels), Is.LessThan(dense.Activities.Sum(activity => activity.Channels)));
        RunOnce(half);
    }

    [Test]
    public void Equal_seeds_give_equal_bits_and_other_seeds_others([Values] FilterInitialization initialization)
    {
        ModelRecipe recipe = new("resnet18", 3, 10, 16, 16, 3);
        using Model first = ModelFactory.Create(recipe, Device);
        using Model second = ModelFactory.Create(recipe, Device);
        using Model third = ModelFactory.Create(recipe, Device);
        first.Initialize(7, initialization);
        second.Initialize(7, initialization);
        third.Initialize(8, initialization);
        Assert.That(second.Parameters.SelectMany(parameter => parameter.Value.ToArray()), Is.EqualTo(first.Parameters.SelectMany(parameter => parameter.Value.ToArray())));
        foreach (var (a, b) in first.Parameters.Zip(third.Parameters).Where(pair => pair.First.Role == ParameterRole.Weight))
        {
            Assert.That(a.Value.ToArray(), Is.Not.EqualTo(b.Value.ToArray()), a.Name);
        }
    }

    [TestCase(FilterInitialization.KaimingNormalFanOut, 2.0 / (24 * 9), 6)]
    [TestCase(FilterInitialization.KaimingNormalFanIn, 2.0 / (12 * 9), 6)]
    [TestCase(FilterInitialization.TruncatedNormalFanIn, 2.0 / (12 * 9), 2.3)]
    public void Filters_start_with_the_variance_asked(FilterInitialization initialization, double variance, double largest)
    {
        using Model model = ModelFactory.Create(new ModelRecipe("cnn", 12, 10, 8, 8, 1), Device);
        model.Initialize(3, initialization);
        Parameter filter = model.Parameters.Single(parameter => parameter.Name == "conv2.weight");
        float[] values = filter.Value.ToArray();
        Assert.That(values.Average(value => (double)value * value), Is.EqualTo(variance).Within(0.08 * variance));
        Assert.That(values.Max(Math.Abs), Is.LessThan(largest * Math.Sqrt(variance)));
        float[] matrix = model.Parameters.Single(parameter => parameter.Name == "fc2.weight").Value.ToArray();
        Assert.That(matrix.Max(Math.Abs), Is.LessThanOrEqualTo(1 / Math.Sqrt(48)).And.GreaterThan(0.98 / Math.Sqrt(48)));
        Assert.That(model.Parameters.Single(parameter => parameter.Name == "bn1.weight").Value.ToArray(), Is.All.EqualTo(1));
        Assert.That(model.Parameters.Single(parameter => parameter.Name == "bn1.running_mean").Value.ToArray(), Is.All.Zero);
    }

    [Test]
    public void Evaluation_leaves_the_running_statistics_alone()
    {
        using Model model = ModelFactory.Create(new ModelRecipe("resnet18", 3, 4, 16, 16, 3), Device);
        model.Initialize(1);
        Parameter mean = model.Parameters.Single(parameter => parameter.Name == "layer2.0.bn1.running_mean");
        float[] start = mean.Value.ToArray();
        model.SetTraining(false);
        float[] first = Logits(model, 1);
        Assert.That(Logits(model, 1), Is.EqualTo(first));
        Assert.That(mean.Value.ToArray(), Is.EqualTo(start));
        model.SetTraining(true);
        Logits(model, 1);
        Assert.That(mean.Value.ToArray(), Is.Not.EqualTo(start));
    }

    [Test]
    public void Dropout_follows_from_seed_name_and_step()
    {
        ModelRecipe recipe = new("vgg16", 1, 10, 96, 96, 3, Seed: 5);
        using Model model = ModelFactory.Create(recipe, Device);
        using Model other = ModelFactory.Create(recipe with { Seed = 6 }, Device);
        model.Initialize(1);
        other.Initialize(1);
        float[] atStep3 = LogitsAtStep(model, 3);
        Assert.That(LogitsAtStep(model, 4), Is.Not.EqualTo(atStep3));
        Assert.That(LogitsAtStep(model, 3), Is.EqualTo(atStep3));
        Assert.That(LogitsAtStep(other, 3), Is.Not.EqualTo(atStep3));

        float[] LogitsAtStep(Model network, long step)
        {
            network.BeginStep(step);
            return Logits(network, 1);
        }
    }

    [Test]
    public void Unknown_names_are_answered_with_the_known_ones()
    {
        ModelRecipe recipe = new("resnet18", 4, 10, 32, 32, 3);
        Assert.That(() => ModelFactory.Create(recipe with { Name = "resnet19" }, Device), Throws.ArgumentException.With.Message.Contains("resnet19").And.Message.Contains("mlp, cnn, resnet18"));
        Assert.That(
            () => ModelFactory.Create(recipe, Device, new ChannelPlan(new Dictionary<string, int> { ["layer9"] = 2 })),
            Throws.ArgumentException.With.Message.Contains("layer9").And.Message.Contains("layer1.0.conv1"));
        Assert.That(() => ModelFactory.Create(recipe with { Classes = 0 }, Device), Throws.ArgumentException.With.Message.Contains("Classes"));
        Assert.That(() => ModelFactory.Create(recipe with { Activation = "tanh" }, Device), Throws.ArgumentException.With.Message.Contains("leakyrelu"));
    }

    [TestCase("conv1", 0)]
    [TestCase("conv1", 5)]
    [TestCase("layer2.1", 0)]
    [TestCase("layer2.1.conv1", -1)]
    public void Impossible_plans_are_refused_without_a_leak(string group, int channels)
    {
        ChannelPlan plan = new(new Dictionary<string, int> { [group] = channels });
        Assert.That(() => ModelFactory.Create(new ModelRecipe("resnet18", 4, 10, 16, 16, 3), Device, plan), Throws.ArgumentException.With.Message.Contains($"gives {group} {channels} "));
    }

    /// <summary>A training step's forward and backward pass: logits of the right shape, finite gradients for every trained parameter.</summary>
    private static void RunOnce(Model model)
    {
        model.Initialize(1);
        using TensorScope scope = new();
        Shape shape = model.Recipe.InputShape(3);
        Tensor logits = model.Forward(Images(model, 3));
        Assert.That(logits.Shape, Is.EqualTo(new Shape(3, model.Recipe.Classes)));
        Tensor loss = Operation.SoftmaxCrossEntropy(logits, Tensor.FromValues(model.Device, [0, 1, 3]));
        loss.Backward();
        Assert.That(loss.ToScalar(), Is.GreaterThan(0).And.LessThan(100));
        foreach (Parameter parameter in model.Parameters.Where(parameter => parameter.IsTrained))
        {
            Assert.That(parameter.HasGradient, $"{parameter.Name} in {shape}");
            Assert.That(parameter.Gradient.ToArray(), Has.All.Matches<float>(float.IsFinite), parameter.Name);
        }
    }

    private static float[] Logits(Model model, int batch)
    {
        using InferenceScope inference = new();
        using TensorScope scope = new();
        return model.Forward(Images(model, batch)).ToArray();
    }

    private static Tensor Images(Model model, int batch)
    {
        Shape shape = model.Recipe.InputShape(batch);
        return Tensor.FromValues(model.Device, shape, [.. Enumerable.Range(0, (int)shape.ElementCount).Select(i => MathF.Sin(0.37f * i))]);
    }
}
