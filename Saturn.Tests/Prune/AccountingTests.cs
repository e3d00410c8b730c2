using NUnit.Framework;
using Saturn.Kernels.Cpu;
using Saturn.Layers.Models;
using Saturn.Prune;

namespace Saturn.Tests.Prune;

/// <summary>Counts at the published size of ImageNet networks, and what masks do to the accounts.</summary>
public sealed class AccountingTests
{
    // Parameters and multiply-adds as torchvision's model cards give them: 1.814, 4.089 and 15.47 billion multiply-adds an image.
    [TestCase("resnet18", 11_689_512, 3_904, 2 * 1.814e9)]
    [TestCase("resnet50", 25_557_032, 22_720, 2 * 4.089e9)]
    [TestCase("vgg16", 138_365_992, 12_416, 2 * 15.47e9)]
    public void Networks_on_images_of_224_pixels_have_the_published_counts(string name, long parameters, long units, double flops)
    {
        using CpuDevice device = new();
        ModelRecipe recipe = new(name, 64, 1000, 224, 224, 3);
        using Model model = ModelFactory.Create(recipe, device);
        model.Initialize(0);
        Accounting accounting = new(model, ChannelGraph.Trace(model, recipe.InputShape(1)));
        Assert.That(accounting.DenseParameters, Is.EqualTo(parameters));
        Assert.That(accounting.TotalUnits, Is.EqualTo(units));
        Assert.That(accounting.Flops, Is.EqualTo(flops).Within(1).Percent);
        Assert.That(accounting.StructuralFlops, Is.EqualTo(accounting.Flops));
    }

    [Test]
    public void Masked_weights_are_absent_from_parameters_and_operations_but_not_from_what_dense_kernels_do()
    {
        using CpuDevice device = new();
        ModelRecipe recipe = new("cnn", 4, 10, 8, 8, 1);
        using Model model = ModelFactory.Create(recipe, device);
        model.Initialize(0);
        using Saturn.Engine.Optimizers.Sgd optimizer = new(PruningRun.CreateGroups(model, 0.1, 0));
        using PruningRun run = new(model, optimizer, new Saturn.Prune.Methods.Dense(), 10, recipe.InputShape(1), 2);
        WeightMasks masks = run.UseMasks();
        var conv2 = masks.Weights.Single(weight => weight.Name == "conv2.weight");
        bool[] open = new bool[conv2.Shape.ElementCount];
        Array.Fill(open, true, 0, 216);
        masks.Set(conv2, open, optimizer);
        run.CountWeights();

        // conv1 8·8·4·9·1, conv2 4·4·8·9·4, fc1 2·2·8·16, fc2 16·10 multiply-adds; a quarter of conv2's 288 weights is masked.
        Assert.That(run.Accounting.Parameters, Is.EqualTo(1062 - 72));
        Assert.That(run.Accounting.WeightSparsity, Is.EqualTo(72 / 1062.0).Within(1e-12));
        Assert.That(run.Accounting.StructuralFlops, Is.EqualTo(2 * (2304 + 4608 + 512 + 160)));
        Assert.That(run.Accounting.Flops, Is.EqualTo(2.0 * (2304 + 3456 + 512 + 160)).Within(1e-6));
        run.Accounting.CountStep(2);
        Assert.That(run.Accounting.StructuralTrainingFlopsRatio, Is.EqualTo(1));
        Assert.That(run.Accounting.TrainingFlopsRatio, Is.EqualTo(6432 / 7584.0).Within(1e-12));
        Assert.That(conv2.Value.ToArray().Count(value => value == 0), Is.EqualTo(72));
    }

    [Test]
    public void A_preview_counts_what_surgery_then_leaves()
    {
        using CpuDevice device = new();
        ModelRecipe recipe = new("resnet18", 8, 10, 16, 16, 3);
        using Model model = ModelFactory.Create(recipe, device);
        model.Initialize(0);
        using Saturn.Engine.Optimizers.Sgd optimizer = new(PruningRun.CreateGroups(model, 0.1, 0));
        using PruningRun run = new(model, optimizer, new Saturn.Prune.Methods.Dense(), 10, recipe.InputShape(1), 2);
        Random random = new(5);
        RemovalPreview preview = new(run);
        Dictionary<UnitGroup, bool[]> marks = [];
        foreach (UnitGroup group in run.Graph.Groups)
        {
            bool[] flags = [.. Enumerable.Range(0, group.Channels).Select(c => c > 0 && random.NextDouble() < 0.4)];
            marks[group] = flags;
            preview.Remove(group, flags.Count(flag => flag));
        }

        run.Remove(marks);
        Assert.That(preview.Counts, Is.EqualTo(run.Accounting.Counts));
        Assert.That(run.Accounting.NeuronSparsity, Is.GreaterThan(0.2));
    }
}
