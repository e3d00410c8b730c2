using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Cuda;

/// <summary>How filter gradients on tensor cores are divided: a function of the sizes alone.</summary>
public sealed class FilterGradientPlanTests
{
    private static readonly ConvolutionShape[] Layers =
    [
        new(128, 32, 32, 3, 64, 3, 3, 1, 1, 1, 1), new(128, 32, 32, 64, 64, 3, 3, 1, 1, 1, 1), new(128, 16, 16, 128, 128, 3, 3, 1, 1, 1, 1),
        new(128, 8, 8, 256, 256, 3, 3, 1, 1, 1, 1), new(128, 4, 4, 512, 512, 3, 3, 1, 1, 1, 1), new(128, 32, 32, 64, 128, 1, 1, 2, 2), new(128, 32, 32, 37, 19, 3, 3, 1, 1, 1, 1),
        new(1, 1, 1, 8, 8, 1, 1), new(256, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 2), new(50432, 1, 1, 768, 3072, 1, 1), new(256, 56, 56, 64, 256, 1, 1),
    ];

    [Test]
    public void Every_split_has_pixels_and_together_they_have_all([ValueSource(nameof(Layers))] ConvolutionShape shape, [Values(ElementType.Float32, ElementType.BFloat16)] ElementType type)
    {
        FilterGradientPlan plan = FilterGradientPlan.Of(shape, type);
        long pixels = shape.Output.Rows;
        Assert.That(plan.Splits, Is.GreaterThanOrEqualTo(1));
        Assert.That(plan.PixelsPerSplit % FilterGradientPlan.StepPixels(type), Is.Zero);
        Assert.That((long)plan.PixelsPerSplit * plan.Splits, Is.GreaterThanOrEqualTo(pixels));
        Assert.That((long)plan.PixelsPerSplit * (plan.Splits - 1), Is.LessThan(pixels));
        Assert.That(plan.Splits * shape.Weight.StorageCount * sizeof(float), Is.LessThanOrEqualTo(Math.Max(64L << 20, shape.Weight.StorageCount * sizeof(float))));
    }

    [Test]
    public void Long_sums_into_small_filters_are_split_and_short_ones_into_large_filters_are_not()
    {
        Assert.That(FilterGradientPlan.Of(Layers[1], ElementType.BFloat16).Splits, Is.GreaterThan(16));
        Assert.That(FilterGradientPlan.Of(Layers[4], ElementType.BFloat16).Splits, Is.LessThanOrEqualTo(2));
    }

    [Test]
    public void The_layers_take_every_tile() =>
        Assert.That(Layers.Select(shape => FilterGradientPlan.Of(shape, ElementType.BFloat16).Tile).Distinct(), Is.EquivalentTo(Enumerable.Range(0, FilterGradientPlan.Tiles.Count)));
}
