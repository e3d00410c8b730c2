using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Data gradients that add the gradient of a mapped shortcut while they are written: the definition, and the bits of a gather followed by an addition.</summary>
[TestFixtureSource(nameof(DeviceNames))]
public sealed class ShortcutGradientTests(string device) : BFloat16Test(device)
{
    private static readonly string[] DeviceNames = [.. TestDevices.Names.Where(name => !name.StartsWith("cpu", StringComparison.Ordinal)), .. TestDevices.TensorNames];

    private static readonly ConvolutionShape[] Shapes =
    [
        new(1, 5, 5, 1, 1, 3, 3, 1, 1, 1, 1),
        new(2, 6, 7, 3, 7, 3, 3, 1, 1, 1, 1),
        new(3, 8, 8, 37, 40, 3, 3, 1, 1, 1, 1),
        new(2, 9, 9, 75, 37, 3, 3, 2, 2, 1, 1),
        new(2, 8, 8, 24, 33, 1, 1, 2, 2),
        new(2, 6, 6, 48, 16, 3, 3, 1, 1, 1, 1, 1, 1, 2),
        new(70, 1, 1, 37, 10, 1, 1),
        new(9, 32, 32, 72, 5, 1, 1),
    ];

    private bool Reduced => Device.Precision == Precision.Bf16;

    [TestCaseSource(nameof(Shapes))]
    public void It_is_the_definition(ConvolutionShape shape) => RequireDefinition(shape);

    [TestCaseSource(nameof(Shapes))]
    public void It_has_the_bits_of_a_gather_and_an_addition(ConvolutionShape shape)
    {
        (Shape sumShape, int[] inverse) = Shortcut(shape);
        DeviceBuffer weight = Put(shape.Weight, Values(shape.Weight, 1));
        DeviceBuffer gradient = Put(shape.Output, Values(shape.Output, 2));
        DeviceBuffer sum = Put(sumShape, Values(sumShape, 3));
        DeviceBuffer map = UploadPacked<int>(inverse);
        DeviceBuffer apart = Poison(shape.Input);
        Device.Elementwise.MappedAddBackward(sumShape, sum, shape.InputChannels, map, apart, GradientMode.Overwrite);
        Device.Convolution.DataGradient(shape, gradient, weight, apart, GradientMode.Accumulate);
        float[] together = Twice(() =>
        {
            DeviceBuffer target = Poison(shape.Input);
            Device.Convolution.DataGradient(shape, gradient, weight, target, GradientMode.Overwrite, new ShortcutGradient(sum, sumShape.Channels, map));
            return Get(shape.Input, target);
        });
        Assert.That(together, Is.EqualTo(Get(shape.Input, apart)));
    }

    [Test]
    public void Narrow_groups_do_it_as_well()
    {
        ConvolutionShape shape = new(2, 6, 6, 14, 7, 3, 3, 2, 2, 1, 1, 1, 1, 7);
        Assert.That(Device.Convolution.AddsShortcutGradients);
        if (Reduced)
        {
            Assert.That(() => RequireDefinition(shape), Throws.TypeOf<NotSupportedException>());
            return;
        }

        RequireDefinition(shape);
    }

    [Test]
    public void It_is_not_added_to_a_gradient_nor_without_a_map()
    {
        ConvolutionShape shape = Shapes[1];
        (Shape sumShape, int[] inverse) = Shortcut(shape);
        ShortcutGradient shortcut = new(Put(sumShape, Values(sumShape, 3)), sumShape.Channels, UploadPacked<int>(inverse));
        Assert.That(() => Run(GradientMode.Accumulate, shortcut), Throws.ArgumentException);
        Assert.That(() => Run(GradientMode.Overwrite, shortcut with { InverseMap = default }), Throws.ArgumentException);

        void Run(GradientMode mode, ShortcutGradient added) =>
            Device.Convolution.DataGradient(shape, Put(shape.Output, Values(shape.Output, 2)), Put(shape.Weight, Values(shape.Weight, 1)), Poison(shape.Input), mode, added);
    }

    private void RequireDefinition(ConvolutionShape shape)
    {
        (Shape sumShape, int[] inverse) = Shortcut(shape);
        float[] weight = RandomIntegers(shape.Weight.ElementCount, 1);
        float[] gradient = RandomIntegers(shape.Output.ElementCount, 2);
        float[] sum = RandomIntegers(sumShape.ElementCount, 3);
        double[] expected = ConvolutionReference.DataGradient(shape, gradient, weight);
        for (int i = 0; i < expected.Length; i++)
        {
            int from = inverse[i % shape.InputChannels];
            expected[i] += from < 0 ? 0 : sum[i / shape.InputChannels * sumShape.Channels + from];
        }

        DeviceBuffer target = Poison(shape.Input);
        Device.Convolution.DataGradient(
            shape, Put(shape.Output, gradient), Put(shape.Weight, weight), target, GradientMode.Overwrite,
            new ShortcutGradient(Put(sumShape, sum), sumShape.Channels, UploadPacked<int>(inverse)));
        AssertClose(Get(shape.Input, target), Reduced ? Rounded(expected) : expected, 0, "dx");
    }

    /// <summary>A sum of two more channels than the source has, which it reads backwards, two of three.</summary>
    private static (Shape Sum, int[] Inverse) Shortcut(ConvolutionShape shape)
    {
        int channels = shape.InputChannels + 2;
        return (shape.Input.With(-1, channels), [.. Enumerable.Range(0, shape.InputChannels).Select(c => c % 3 == 1 ? -1 : channels - 1 - c)]);
    }

    private float[] Values(Shape shape, int seed) => Reduced ? RoundValues(shape.ElementCount, seed) : RandomValues(shape.ElementCount, seed);

    private DeviceBuffer Put(in Shape shape, float[] values) => Reduced ? UploadReduced(shape, values) : Upload(shape, values);

    private DeviceBuffer Poison(in Shape shape) => Reduced ? PoisonedReduced(shape) : Poisoned(shape);

    private float[] Get(in Shape shape, DeviceBuffer buffer) => Reduced ? DownloadReduced(shape, buffer) : Download(shape, buffer);
}
