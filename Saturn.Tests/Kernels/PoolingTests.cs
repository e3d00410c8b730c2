using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Pooling against its definition: overlapping windows, gaps between windows, padding, ties, both gradient modes.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class PoolingTests(string device) : KernelTest(device)
{
    private static readonly PoolingShape[] Shapes =
    [
        new(1, 1, 1, 1, 1, 1, 1, 1),
        new(1, 2, 2, 1, 2, 2, 2, 2),
        new(1, 5, 5, 3, 2, 2, 2, 2),
        new(2, 6, 7, 7, 3, 3, 2, 2, 1, 1),
        new(3, 8, 8, 37, 2, 2, 2, 2),
        new(2, 9, 8, 8, 3, 3, 1, 1, 1, 1),
        new(2, 7, 7, 64, 3, 3, 3, 3),
        new(1, 7, 5, 37, 3, 2, 1, 2, 1, 0),
        new(2, 8, 9, 3, 2, 3, 2, 1, 0, 1),
        new(2, 10, 10, 7, 2, 2, 3, 4),
        new(2, 6, 6, 5, 6, 6, 1, 1),
        new(1, 3, 3, 9, 5, 5, 2, 2, 2, 2),
        new(17, 16, 16, 20, 3, 3, 2, 2, 1, 1),
        new(130, 4, 4, 40, 2, 2, 2, 2),
    ];

    [TestCaseSource(nameof(Shapes))]
    public void Maxima_and_their_places_are_the_definition(PoolingShape shape) => CheckMaximum(shape, RandomValues(shape.Input.ElementCount));

    [TestCaseSource(nameof(Shapes))]
    public void The_first_of_equals_wins(PoolingShape shape) => CheckMaximum(shape, RandomIntegers(shape.Input.ElementCount, range: 1));

    [Test]
    public void Padding_never_wins([ValueSource(nameof(Shapes))] PoolingShape shape, [Values(-1, float.MinValue, float.NegativeInfinity)] float value) =>
        CheckMaximum(shape, [.. Enumerable.Repeat(value, (int)shape.Input.ElementCount)]);

    [Test]
    public void Gradients_go_to_the_winners([ValueSource(nameof(Shapes))] PoolingShape shape, [Values] GradientMode mode)
    {
        (_, int[] winners) = PoolingReference.MaximumForward(shape, RandomIntegers(shape.Input.ElementCount, 1));
        float[] dy = RandomIntegers(shape.Output.ElementCount, 2);
        float[] before = RandomIntegers(shape.Input.ElementCount, 3);
        DeviceBuffer outputGradient = Upload(shape.Output, dy);
        DeviceBuffer places = UploadPitched(shape.Output, winners);
        float[] actual = Twice(() =>
        {
            DeviceBuffer inputGradient = Destination(shape.Input, mode, before);
            Device.Pooling.MaximumBackward(shape, places, outputGradient, inputGradient, mode);
            return Download(shape.Input, inputGradient);
        });
        AssertElements(actual, Combined(mode, before, PoolingReference.MaximumBackward(shape, winners, dy)), 0, "dx");
    }

    [Test]
    public void Averages_are_the_definition([ValueSource(nameof(Shapes))] PoolingShape shape, [Values] bool countPadding, [Values] bool integers)
    {
        float[] x = integers ? RandomIntegers(shape.Input.ElementCount) : RandomValues(shape.Input.ElementCount);
        DeviceBuffer input = Upload(shape.Input, x);
        float[] actual = Twice(() =>
        {
            DeviceBuffer output = Poisoned(shape.Output);
            Device.Pooling.AverageForward(shape, countPadding, input, output);
            return Download(shape.Output, output);
        });
        AssertElements(actual, PoolingReference.AverageForward(shape, countPadding, x), integers && DividesExactly(shape, countPadding) ? 0 : 1e-6, "y", 1);
    }

    [Test]
    public void Gradients_are_spread_over_the_window(
        [ValueSource(nameof(Shapes))] PoolingShape shape, [Values] bool countPadding, [Values] bool integers, [Values] GradientMode mode)
    {
        float[] dy = integers ? RandomIntegers(shape.Output.ElementCount, 2) : RandomValues(shape.Output.ElementCount, 2);
        float[] before = RandomIntegers(shape.Input.ElementCount, 3);
        DeviceBuffer outputGradient = Upload(shape.Output, dy);
        float[] actual = Twice(() =>
        {
            DeviceBuffer inputGradient = Destination(shape.Input, mode, before);
            Device.Pooling.AverageBackward(shape, countPadding, outputGradient, inputGradient, mode);
            return Download(shape.Input, inputGradient);
        });
        double[] expected = Combined(mode, before, PoolingReference.AverageBackward(shape, countPadding, dy));
        AssertElements(actual, expected, integers && DividesExactly(shape, countPadding) ? 0 : 1e-6, "dx", 1);
    }

    [Test]
    public void Global_averages_are_means_over_pixels(
        [Values("1 1", "1 49", "3 64", "70 16", "2 1000")] string sizes, [Values(1, 3, 7, 8, 37, 64)] int channels, [Values] GradientMode mode)
    {
        int batch = int.Parse(sizes.Split(' ')[0]);
        int pixels = int.Parse(sizes.Split(' ')[1]);
        Shape image = new(batch, pixels, channels);
        Shape mean = new(batch, channels);
        double tolerance = int.IsPow2(pixels) ? 0 : 5e-7;
        float[] x = RandomIntegers(image.ElementCount, 1);
        DeviceBuffer input = Upload(image, x);
        float[] actual = Twice(() =>
        {
            DeviceBuffer output = Poisoned(mean);
            Device.Pooling.GlobalAverageForward(batch, pixels, channels, input, output);
            return Download(mean, output);
        });
        AssertElements(actual, ReductionReference.Reduce(ReductionOperation.Mean, image, x, new Shape(batch, 1, channels)), tolerance, "y", 1);

        float[] dy = RandomIntegers(mean.ElementCount, 2);
        float[] before = RandomIntegers(image.ElementCount, 3);
        double[] gradient = [.. Enumerable.Range(0, x.Length).Select(i => (double)dy[i / (pixels * channels) * channels + i % channels] / pixels)];
        DeviceBuffer outputGradient = Upload(mean, dy);
        actual = Twice(() =>
        {
            DeviceBuffer inputGradient = Destination(image, mode, before);
            Device.Pooling.GlobalAverageBackward(batch, pixels, channels, outputGradient, inputGradient, mode);
            return Download(image, inputGradient);
        });
        AssertElements(actual, Combined(mode, before, gradient), tolerance, "dx", 1);
    }

    [Test]
    public void Global_averages_of_fractions_are_close([Values(1, 7, 64)] int channels)
    {
        Shape image = new(3, 1000, channels);
        float[] x = RandomValues(image.ElementCount);
        DeviceBuffer output = Poisoned(new Shape(3, channels));
        Device.Pooling.GlobalAverageForward(3, 1000, channels, Upload(image, x), output);
        AssertElements(Download(new Shape(3, channels), output), ReductionReference.Reduce(ReductionOperation.Mean, image, x, new Shape(3, 1, channels)), 1e-6, "y", 1);
    }

    [Test]
    public void Sizes_beyond_one_grid_stride()
    {
        PoolingShape shape = new(BeyondOneStride / (16 * 16 * 37) + 1, 32, 32, 37, 2, 2, 2, 2);
        float[] x = RandomIntegers(shape.Input.ElementCount);
        CheckMaximum(shape, x);
        float[] dy = RandomIntegers(shape.Output.ElementCount, 2);
        DeviceBuffer inputGradient = Poisoned(shape.Input);
        Device.Pooling.AverageBackward(shape, false, Upload(shape.Output, dy), inputGradient, GradientMode.Overwrite);
        AssertElements(Download(shape.Input, inputGradient), PoolingReference.AverageBackward(shape, false, dy), 0, "dx");
    }

    private static bool DividesExactly(PoolingShape shape, bool countPadding) =>
        int.IsPow2(shape.KernelHeight * shape.KernelWidth) && (countPadding || (shape.PaddingHeight == 0 && shape.PaddingWidth == 0));

    private void CheckMaximum(PoolingShape shape, float[] x)
    {
        (double[] expected, int[] places) = PoolingReference.MaximumForward(shape, x);
        DeviceBuffer input = Upload(shape.Input, x);
        float[] actual = Twice(() =>
        {
            DeviceBuffer output = Poisoned(shape.Output);
            DeviceBuffer winners = PoisonedBytes(shape.Output.StorageCount * sizeof(int));
            Device.Pooling.MaximumForward(shape, input, output, winners);
            int[] stored = DownloadPacked<int>(winners, (int)shape.Output.StorageCount);
            int wrong = Enumerable.Range(0, places.Length).Count(i => stored[i / shape.Channels * shape.Output.Pitch + i % shape.Channels] != places[i]);
            Assert.That(wrong, Is.Zero, $"wrong winners of {places.Length}");
            return Download(shape.Output, output);
        });
        AssertElements(actual, expected, 0, "y");
        DeviceBuffer withoutWinners = Poisoned(shape.Output);
        Device.Pooling.MaximumForward(shape, input, withoutWinners, DeviceBuffer.None);
        AssertElements(Download(shape.Output, withoutWinners), expected, 0, "y without winners");
    }

    private DeviceBuffer UploadPitched(Shape shape, int[] values)
    {
        int[] stored = new int[shape.StorageCount];
        for (int i = 0; i < values.Length; i++)
        {
            stored[i / shape.Channels * shape.Pitch + i % shape.Channels] = values[i];
        }

        return UploadPacked<int>(stored);
    }
}
