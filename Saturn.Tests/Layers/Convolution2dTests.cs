using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Checkpoints;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers;
using Saturn.Tests.Engine;
using Saturn.Tests.References;

namespace Saturn.Tests.Layers;

/// <summary>The convolution layer: filters, strides, paddings and dilations of different extents in the two directions, against the definition.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class Convolution2dTests(string device) : EngineTest(device)
{
    private static readonly object[] Cases =
    [
        new object[] { 3, 5, new ConvolutionSettings(2, 1, 1, 2) },
        new object[] { 1, 7, new ConvolutionSettings(1, 3, 0, 3) },
        new object[] { 5, 1, new ConvolutionSettings(3, 1, 2, 0) },
        new object[] { 2, 3, new ConvolutionSettings(1, 2, 3, 0, 2, 1) },
        new object[] { 3, 2, new ConvolutionSettings(2, 1, 0, 4, 1, 3, 3) },
    ];

    [TestCaseSource(nameof(Cases))]
    public void Rectangular_filters_compute_what_the_definition_says(int kernelHeight, int kernelWidth, ConvolutionSettings settings)
    {
        ConvolutionShape shape = new(
            2, 9, 12, 6, 9, kernelHeight, kernelWidth, settings.StrideHeight, settings.StrideWidth, settings.PaddingHeight, settings.PaddingWidth, settings.DilationHeight,
            settings.DilationWidth, settings.Groups);
        using TensorScope scope = new();
        using Convolution2d layer = new(Device, 6, 9, kernelHeight, kernelWidth, settings, bias: true);
        float[] weight = Values(shape.Weight, 0.7);
        float[] input = Values(shape.Input, 1.3);
        float[] bias = Values(new Shape(9), 2.1);
        layer.Weight.Value.CopyFrom(weight);
        layer.Bias!.Value.CopyFrom(bias);

        Tensor output = layer.Forward(Tensor.FromValues(Device, shape.Input, input));
        Assert.That(output.Shape, Is.EqualTo(shape.Output));
        Assert.That(output.ToArray(), Is.EqualTo(ConvolutionReference.Forward(shape, input, weight, bias)).Within(1e-5));
        Operation.Sum(output).Backward();
        double[] ones = ConvolutionReference.FilterGradient(shape, input, [.. Enumerable.Repeat(1f, (int)shape.Output.ElementCount)]);
        Assert.That(layer.Weight.Gradient.ToArray(), Is.EqualTo(ones).Within(1e-4));

        SafeTensor exported = ModelWeights.Export(layer.Weight, layer.Weight.Value);
        int columns = shape.GroupInputChannels;
        Assert.That(exported.Shape, Is.EqualTo(new[] { 9, columns, kernelHeight, kernelWidth }));
        Assert.That(exported.Values[((4 * columns + 1) * kernelHeight + (kernelHeight - 1)) * kernelWidth], Is.EqualTo(weight[((4 * kernelHeight + (kernelHeight - 1)) * kernelWidth) * columns + 1]));
    }

    [TestCase(0, 3, 1, "at least 1×1 pixels, but has 0×3")]
    [TestCase(3, -1, 1, "at least 1×1 pixels, but has 3×-1")]
    [TestCase(3, 3, 4, "there are 4 groups, 6 input channels and 9 output channels")]
    [TestCase(3, 3, 0, "there are 0 groups")]
    public void Sizes_that_cannot_be_are_refused(int kernelHeight, int kernelWidth, int groups, string expected) => Assert.That(
        () => new Convolution2d(Device, 6, 9, kernelHeight, kernelWidth, new ConvolutionSettings(Groups: groups)), Throws.ArgumentException.With.Message.Contains(expected));

    private static float[] Values(Shape shape, double frequency) => [.. Enumerable.Range(0, (int)shape.ElementCount).Select(i => (float)Math.Sin(frequency * i))];
}
