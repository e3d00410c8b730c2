using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>The elementwise kernels that move values between places: channel maps, concatenation, reshapes and permutations. All of it is exact.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class RearrangementTests(string device) : KernelTest(device)
{
    private static readonly (int[] Before, int[] After)[] Reshapes =
    [
        ([], [1]), ([1, 1], []), ([37], [37, 1]), ([37, 1], [37]), ([37], [37]), ([6, 37], [37, 6]), ([4, 4, 8], [16, 8]), ([4, 4, 8], [2, 64]), ([4, 4, 64], [4, 4, 64]), ([3, 5, 7], [105]),
        ([105], [3, 5, 7]), ([2, 2, 3, 37], [2, 222]), ([300, 3, 37], [300, 111]), ([400, 8, 16], [400, 128]), ([2, 20_000], [40_000]), ([7, 9, 11], [9, 77]),
    ];

    private static readonly (int[] Extents, int[] Order)[] Permutations =
    [
        ([], []), ([37], [0]), ([3, 7], [1, 0]), ([3, 7], [0, 1]), ([2, 3, 37], [2, 0, 1]), ([2, 3, 37], [1, 0, 2]), ([1, 3, 1], [1, 2, 0]), ([2, 5, 4, 3], [0, 2, 1, 3]),
        ([2, 5, 4, 9], [3, 1, 2, 0]), ([2, 3, 1, 2, 5, 3], [5, 3, 1, 0, 2, 4]), ([70, 3, 130], [1, 2, 0]), ([40, 50, 20], [1, 0, 2]), ([64, 8, 8, 16], [0, 3, 1, 2]),
    ];

    [Test]
    public void Shortcuts_enter_through_their_map([Values(1, 3, 7, 37, 64)] int channels, [Values(1, 8, 9, 40)] int shortcutChannels, [Values(1, 5, 700)] int rows)
    {
        Shape shape = new(rows, channels);
        Shape shortcutShape = new(rows, shortcutChannels);
        int[] map = Map(channels, shortcutChannels, out _);
        float[] branch = RandomIntegers(shape.ElementCount, 2);
        float[] shortcut = RandomIntegers(shortcutShape.ElementCount, 3);
        double[] expected = ElementwiseReference.MappedAdd(channels, branch, shortcutChannels, shortcut, map);
        DeviceBuffer source = Upload(shape, branch);
        DeviceBuffer other = Upload(shortcutShape, shortcut);
        DeviceBuffer index = UploadPacked<int>(map);
        AssertElements(
            Twice(() =>
            {
                DeviceBuffer output = Poisoned(shape);
                Device.Elementwise.MappedAdd(shape, source, shortcutChannels, other, index, output);
                return Download(shape, output);
            }), expected, 0, "the sum");
        Device.Elementwise.MappedAdd(shape, source, shortcutChannels, other, index, source);
        AssertElements(Download(shape, source), expected, 0, "the sum in the branch's place");
    }

    [Test]
    public void Gradients_of_shortcuts_come_through_the_inverse_map(
        [Values(1, 3, 7, 37, 64)] int channels, [Values(1, 8, 9, 40)] int shortcutChannels, [Values(1, 300)] int rows, [Values] GradientMode mode)
    {
        Shape shape = new(rows, channels);
        Shape shortcutShape = new(rows, shortcutChannels);
        int[] map = Map(channels, shortcutChannels, out int[] inverse);
        float[] gradient = RandomIntegers(shape.ElementCount, 2);
        float[] before = RandomIntegers(shortcutShape.ElementCount, 3);
        double[] expected = Combined(mode, before, ElementwiseReference.MappedAddBackward(channels, gradient, shortcutChannels, map));
        DeviceBuffer outputGradient = Upload(shape, gradient);
        DeviceBuffer index = UploadPacked<int>(inverse);
        AssertElements(
            Twice(() =>
            {
                DeviceBuffer output = Destination(shortcutShape, mode, before);
                Device.Elementwise.MappedAddBackward(shape, outputGradient, shortcutChannels, index, output, mode);
                return Download(shortcutShape, output);
            }), expected, 0, "the shortcut's gradient");
    }

    [Test]
    public void No_map_is_the_identity([Values(1, 3, 7, 8, 37, 64)] int channels, [Values] GradientMode mode)
    {
        Shape shape = new(700, channels);
        float[] x = RandomIntegers(shape.ElementCount, 2);
        float[] y = RandomIntegers(shape.ElementCount, 3);
        double[] sum = [.. x.Zip(y, (a, b) => (double)a + b)];
        DeviceBuffer output = Poisoned(shape);
        DeviceBuffer input = Upload(shape, x);
        Device.Elementwise.MappedAdd(shape, input, channels, Upload(shape, y), DeviceBuffer.None, output);
        AssertElements(Download(shape, output), sum, 0, "the sum");
        DeviceBuffer gradient = Destination(shape, mode, y);
        Device.Elementwise.MappedAddBackward(shape, input, channels, DeviceBuffer.None, gradient, mode);
        AssertElements(Download(shape, gradient), Combined(mode, y, [.. x.Select(value => (double)value)]), 0, "the gradient");
    }

    [Test]
    public void Channels_are_copied_and_nothing_else_is_touched(
        [Values] GradientMode mode, [Values(1, 300)] int rows,
        [Values("1 1 0 1 0", "13 37 5 21 8", "8 64 16 24 8", "3 3 0 7 4", "5 37 32 37 0", "37 37 0 64 0", "16 40 3 48 17")] string sizes)
    {
        int[] numbers = [.. sizes.Split(' ').Select(int.Parse)];
        (int count, int sourceChannels, int sourceOffset, int channels, int offset) = (numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]);
        Shape source = new(rows, sourceChannels);
        float[] x = RandomIntegers(source.ElementCount, 1);

        // The destination holds numbers in its padding too: they must stay.
        int pitch = Shape.PitchOf(channels);
        float[] before = RandomIntegers(rows * pitch, 2);
        double[] expected = [.. before.Select(value => (double)value)];
        for (int row = 0; row < rows; row++)
        {
            for (int c = 0; c < count; c++)
            {
                ref double target = ref expected[row * pitch + offset + c];
                target = (mode == GradientMode.Accumulate ? target : 0) + x[row * sourceChannels + sourceOffset + c];
            }
        }

        DeviceBuffer input = Upload(source, x);
        AssertElements(
            Twice(() =>
            {
                DeviceBuffer output = UploadPacked<float>(before);
                Device.Elementwise.CopyChannels(rows, count, sourceChannels, sourceOffset, input, channels, offset, output, mode);
                return DownloadPacked<float>(output, before.Length);
            }), expected, 0, "the destination, padding included");
    }

    [Test]
    public void Reshapes_keep_the_order_of_the_elements([ValueSource(nameof(Reshapes))] (int[] Before, int[] After) extents, [Values] GradientMode mode)
    {
        Shape before = new(extents.Before);
        Shape after = new(extents.After);
        float[] x = RandomIntegers(before.ElementCount, 1);
        float[] y = RandomIntegers(after.ElementCount, 2);
        DeviceBuffer input = Upload(before, x);
        AssertElements(
            Twice(() =>
            {
                DeviceBuffer output = Destination(after, mode, y);
                Device.Elementwise.Reshape(before, input, after, output, mode);
                return Download(after, output);
            }), Combined(mode, y, [.. x.Select(value => (double)value)]), 0, $"{before} as {after}");
    }

    [Test]
    public void Permutations_reorder_dimensions([ValueSource(nameof(Permutations))] (int[] Extents, int[] Order) permutation)
    {
        Shape before = new(permutation.Extents);
        Shape after = new([.. permutation.Order.Select(dimension => permutation.Extents[dimension])]);
        float[] x = RandomValues(before.ElementCount);
        DeviceBuffer input = Upload(before, x);
        AssertElements(
            Twice(() =>
            {
                DeviceBuffer output = Poisoned(after);
                Device.Elementwise.Permute(before, permutation.Order, input, output);
                return Download(after, output);
            }), ElementwiseReference.Permute(before, permutation.Order, x), 0, $"{before} as {after}");
    }

    [Test]
    public void Sizes_beyond_one_grid_stride()
    {
        const int Channels = 37;
        Shape shape = new(BeyondOneStride / Channels / 4 + 1, 4, Channels);
        int rows = shape.Rows;
        float[] x = RandomIntegers(shape.ElementCount, 1);
        DeviceBuffer input = Upload(shape, x);
        int[] map = Map(Channels, Channels, out int[] inverse);
        DeviceBuffer output = Poisoned(shape);
        Device.Elementwise.MappedAdd(shape, input, Channels, input, UploadPacked<int>(map), output);
        AssertElements(Download(shape, output), ElementwiseReference.MappedAdd(Channels, x, Channels, x, map), 0, "the sum");
        Device.Elementwise.MappedAddBackward(shape, input, Channels, UploadPacked<int>(inverse), output, GradientMode.Overwrite);
        AssertElements(Download(shape, output), ElementwiseReference.MappedAddBackward(Channels, x, Channels, map), 0, "the shortcut's gradient");
        Device.Elementwise.CopyChannels(rows, Channels, Channels, 0, input, Channels, 0, output, GradientMode.Overwrite);
        AssertElements(Download(shape, output), [.. x.Select(value => (double)value)], 0, "the copy");
        Shape flat = new(shape[0], 4 * Channels);
        DeviceBuffer reshaped = Poisoned(flat);
        Device.Elementwise.Reshape(shape, input, flat, reshaped, GradientMode.Overwrite);
        AssertElements(Download(flat, reshaped), [.. x.Select(value => (double)value)], 0, "the reshaped");
        Shape turned = new(Channels, 4, shape[0]);
        DeviceBuffer permuted = Poisoned(turned);
        Device.Elementwise.Permute(shape, [2, 1, 0], input, permuted);
        AssertElements(Download(turned, permuted), ElementwiseReference.Permute(shape, [2, 1, 0], x), 0, "the permuted");
    }

    /// <summary>A random partial matching of channels, both ways; −1 where there is no partner.</summary>
    private static int[] Map(int channels, int shortcutChannels, out int[] inverse)
    {
        Random random = new(channels * 100 + shortcutChannels);
        int[] map = new int[channels];
        inverse = new int[shortcutChannels];
        Array.Fill(inverse, -1);
        int[] partners = [.. Enumerable.Range(0, Math.Max(channels, shortcutChannels)).OrderBy(_ => random.Next())];
        for (int c = 0; c < channels; c++)
        {
            map[c] = partners[c] < shortcutChannels && random.Next(4) > 0 ? partners[c] : -1;
            if (map[c] >= 0)
            {
                inverse[map[c]] = c;
            }
        }

        return map;
    }
}
