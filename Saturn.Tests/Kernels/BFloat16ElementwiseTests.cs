using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Conversions, sums, rearrangements and the census over bfloat16: all of them exact but for the one rounding of a result.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.DriverNames))]
public sealed class BFloat16ElementwiseTests(string device) : BFloat16Test(device)
{
    private static readonly int[] Channels = [1, 3, 7, 8, 37, 64, 520];

    [Test]
    public void Conversions_round_to_nearest_even([ValueSource(nameof(Channels))] int channels, [Values(1, 5, 700)] int rows, [Values] GradientMode mode)
    {
        Shape shape = new(rows, channels);
        float[] x = RandomValues(shape.ElementCount, 1);
        float[] before = RoundValues(shape.ElementCount, 2);
        DeviceBuffer input = Upload(shape, x);
        float[] narrowed = Twice(() =>
        {
            DeviceBuffer output = DestinationReduced(shape, mode, before);
            Device.Elementwise.Convert(shape, input, output, mode);
            return DownloadReduced(shape, output);
        });
        bool adds = mode == GradientMode.Accumulate;
        Assert.That(narrowed, Is.EqualTo(x.Zip(before, (value, old) => Round(adds ? old + value : value))));

        DeviceBuffer reduced = UploadReduced(shape, before);
        float[] widened = Twice(() =>
        {
            DeviceBuffer output = Destination(shape, mode, x);
            Device.Elementwise.Convert(shape, reduced, output, mode);
            return Download(shape, output);
        });
        Assert.That(widened, Is.EqualTo(x.Zip(before, (old, value) => adds ? old + value : value)));
    }

    [Test]
    public void Ties_infinities_and_tiny_numbers_convert_as_they_should()
    {
        // Above 1 the spacing is 2⁻⁷: ties go to the even neighbour, and the largest float32 rounds to infinity.
        float[] x = [1 + 1f / 256, 1 + 3f / 256, 1 + 1f / 256 + 1e-6f, -1 - 1f / 256, float.MaxValue, float.NegativeInfinity, float.NaN, 1e-40f, -0f, 65504];
        float[] expected = [1, 1 + 1f / 64, 1 + 1f / 128, -1, float.PositiveInfinity, float.NegativeInfinity, float.NaN, Round(1e-40f), -0f, 65536];
        Shape shape = new(x.Length);
        DeviceBuffer output = PoisonedReduced(shape);
        Device.Elementwise.Convert(shape, Upload(shape, x), output, GradientMode.Overwrite);
        Assert.That(DownloadReduced(shape, output), Is.EqualTo(expected));
        Assert.That(expected[7], Is.Not.Zero, "denormals are kept");
    }

    [Test]
    public void Sums_are_float32_and_rounded_once([ValueSource(nameof(Channels))] int channels, [Values(1, 300)] int rows, [Values(1f, -0.3f)] float scale)
    {
        Shape shape = new(rows, channels);
        float[] x = RoundValues(shape.ElementCount, 1);
        float[] before = RoundValues(shape.ElementCount, 2);
        DeviceBuffer input = UploadReduced(shape, x);
        float[] actual = Twice(() =>
        {
            DeviceBuffer output = UploadReduced(shape, before);
            Device.Elementwise.Accumulate(shape, input, output, scale);
            return DownloadReduced(shape, output);
        });
        Assert.That(actual, Is.EqualTo(x.Zip(before, (value, old) => Round(MathF.FusedMultiplyAdd(value, scale, old)))));

        DeviceBuffer filled = PoisonedReduced(shape);
        Device.Elementwise.Fill(shape, filled, scale);
        Assert.That(DownloadReduced(shape, filled), Is.All.EqualTo(Round(scale)));
    }

    [Test]
    public void Shortcuts_enter_through_their_map_and_their_gradients_come_back(
        [Values(1, 3, 7, 37, 64)] int channels, [Values(1, 8, 9, 40)] int shortcutChannels, [Values(1, 300)] int rows, [Values] bool identity, [Values] GradientMode mode)
    {
        shortcutChannels = identity ? channels : shortcutChannels;
        Shape shape = new(rows, channels);
        Shape shortcutShape = new(rows, shortcutChannels);
        int[] map = [.. Enumerable.Range(0, channels).Select(c => identity ? c : c % 3 == 1 || c >= shortcutChannels ? -1 : shortcutChannels - 1 - c)];
        int[] inverse = [.. Enumerable.Range(0, shortcutChannels).Select(s => Array.IndexOf(map, s))];
        float[] branch = RoundValues(shape.ElementCount, 2);
        float[] shortcut = RoundValues(shortcutShape.ElementCount, 3);
        DeviceBuffer source = UploadReduced(shape, branch);
        DeviceBuffer other = UploadReduced(shortcutShape, shortcut);
        DeviceBuffer sources = identity ? DeviceBuffer.None : UploadPacked<int>(map);
        DeviceBuffer outputs = identity ? DeviceBuffer.None : UploadPacked<int>(inverse);
        DeviceBuffer output = PoisonedReduced(shape);
        Device.Elementwise.MappedAdd(shape, source, shortcutChannels, other, sources, output);
        AssertElements(DownloadReduced(shape, output), Rounded(ElementwiseReference.MappedAdd(channels, branch, shortcutChannels, shortcut, map)), 0, "the sum");
        DeviceBuffer gradient = DestinationReduced(shortcutShape, mode, shortcut);
        Device.Elementwise.MappedAddBackward(shape, source, shortcutChannels, outputs, gradient, mode);
        AssertElements(
            DownloadReduced(shortcutShape, gradient), Rounded(Combined(mode, shortcut, ElementwiseReference.MappedAddBackward(channels, branch, shortcutChannels, map))), 0,
            "the shortcut's gradient");
    }

    [Test]
    public void Channels_are_copied([Values("1 1 0 1 0", "13 37 5 21 8", "5 37 32 37 0", "16 40 3 48 17")] string sizes, [Values] GradientMode mode)
    {
        int[] n = [.. sizes.Split(' ').Select(int.Parse)];
        (int count, int from, int offset, int to, int destinationOffset) = (n[0], n[1], n[2], n[3], n[4]);
        Shape source = new(300, from);
        Shape destination = new(300, to);
        float[] x = RoundValues(source.ElementCount, 1);
        float[] before = RoundValues(destination.ElementCount, 2);
        double[] expected = [.. before.Select((value, i) =>
        {
            int c = i % to - destinationOffset;
            return c < 0 || c >= count ? value : x[i / to * from + offset + c] + (mode == GradientMode.Accumulate ? (double)value : 0);
        })];
        DeviceBuffer output = UploadReduced(destination, before);
        Device.Elementwise.CopyChannels(300, count, from, offset, UploadReduced(source, x), to, destinationOffset, output, mode);
        AssertElements(DownloadReduced(destination, output), Rounded(expected), 0, "the destination");
    }

    [Test]
    public void Reshapes_keep_the_order_in_either_type(
        [Values("4 4 8:16 8", "3 5 7:105", "105:3 5 7", "2 2 3 37:2 222", "300 3 37:300 111", "37:37 1")] string shapes, [Values] bool reducedInput, [Values] bool reducedOutput,
        [Values] GradientMode mode)
    {
        Shape[] both = [.. shapes.Split(':').Select(text => new Shape([.. text.Split(' ').Select(int.Parse)]))];
        (Shape from, Shape to) = (both[0], both[1]);
        float[] x = RoundValues(from.ElementCount, 1);
        float[] before = RoundValues(to.ElementCount, 2);
        double[] expected = Combined(mode, before, [.. x.Select(value => (double)value)]);
        DeviceBuffer input = reducedInput ? UploadReduced(from, x) : Upload(from, x);
        DeviceBuffer output = reducedOutput ? DestinationReduced(to, mode, before) : Destination(to, mode, before);
        Device.Elementwise.Reshape(from, input, to, output, mode);
        AssertElements(reducedOutput ? DownloadReduced(to, output) : Download(to, output), reducedOutput ? Rounded(expected) : expected, 0, "the output");
    }

    [Test]
    public void Permutations_move_every_element([Values("3 7:1 0", "2 3 37:2 0 1", "2 5 4 3:0 2 1 3", "70 3 130:1 2 0")] string permutation)
    {
        int[][] numbers = [.. permutation.Split(':').Select(text => (int[])[.. text.Split(' ').Select(int.Parse)])];
        Shape shape = new(numbers[0]);
        int[] order = numbers[1];
        Shape outputShape = new([.. order.Select(dimension => shape[dimension])]);
        float[] x = RoundValues(shape.ElementCount, 1);
        DeviceBuffer output = PoisonedReduced(outputShape);
        Device.Elementwise.Permute(shape, order, UploadReduced(shape, x), output);
        AssertElements(DownloadReduced(outputShape, output), ElementwiseReference.Permute(shape, order, x), 0, "the output");
    }

    [Test]
    public void The_census_sees_what_is_stored([ValueSource(nameof(Channels))] int channels, [Values(1, 7, 400)] int rows, [Values] ActivityCriterion criterion)
    {
        Shape shape = new(rows, channels);
        float[] x = [.. RoundValues(shape.ElementCount, 1).Select((value, i) => i % channels % 5 == 2 ? -Math.Abs(value) / 8 : value)];
        DeviceBuffer input = UploadReduced(shape, x);
        int words = ActivityReport.WordCount(channels);
        uint[] bits = Twice(() =>
        {
            DeviceBuffer flags = PoisonedBytes(4 * words);
            Device.Census.Flag(rows, channels, input, new ActivityReport(flags, criterion, 0.25f, false));
            return DownloadPacked<uint>(flags, words);
        });
        Assert.That(bits, Is.EqualTo(ActivationReference.ActivityBits(channels, x, criterion, 0.25f)));

        DeviceBuffer maximum = UploadPacked<float>([.. Enumerable.Repeat(float.NegativeInfinity, shape.Pitch)]);
        DeviceBuffer minimum = UploadPacked<float>([.. Enumerable.Repeat(float.PositiveInfinity, shape.Pitch)]);
        DeviceBuffer sum = UploadPacked<double>(new double[shape.Pitch]);
        Device.Census.Accumulate(rows, channels, input, maximum, minimum, sum);
        Device.Census.Accumulate(rows, channels, input, maximum, minimum, sum);
        float[] largest = DownloadPacked<float>(maximum, channels);
        float[] smallest = DownloadPacked<float>(minimum, channels);
        double[] total = DownloadPacked<double>(sum, channels);
        for (int c = 0; c < channels; c++)
        {
            float[] column = [.. Enumerable.Range(0, rows).Select(row => x[row * channels + c])];
            Assert.That((largest[c], smallest[c]), Is.EqualTo((column.Max(), column.Min())), $"channel {c}");
            Assert.That(total[c], Is.EqualTo(2 * column.Sum(value => (double)value)).Within(1e-9), $"channel {c}");
        }
    }

    [Test]
    public void Mixed_types_and_kernels_without_bfloat16_are_refused()
    {
        Shape shape = new(2, 3);
        DeviceBuffer reduced = UploadReduced(shape, new float[6]);
        DeviceBuffer single = Upload(shape, new float[6]);
        Assert.That(() => Device.Elementwise.Accumulate(shape, reduced, single), Throws.ArgumentException.With.Message.Contains("one type").And.Message.Contains("Convert"));
        Assert.That(() => Device.Activation.Forward(Activation.Relu, shape, reduced, single, ActivityReport.None), Throws.ArgumentException.With.Message.Contains("activation.Forward"));
        Assert.That(() => Device.Elementwise.Convert(shape, single, single, GradientMode.Overwrite), Throws.ArgumentException.With.Message.Contains("Float32 to Float32"));
        Assert.That(() => Device.Elementwise.Unary(UnaryOperation.Square, shape, reduced, single), Throws.ArgumentException.With.Message.Contains("float32 only"));
        Assert.That(() => Device.Reduction.Reduce(ReductionOperation.Sum, shape, reduced, new Shape(3), single), Throws.ArgumentException.With.Message.Contains("reduction.Reduce"));
    }
}
