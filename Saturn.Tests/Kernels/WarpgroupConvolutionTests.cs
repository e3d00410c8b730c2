using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Diagnostics;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>
/// The convolution of kernels/convolution_wgmma.cu against the definition in double precision on bfloat16 operands: tails of tiles, depth and channels, every tile, steps, padding, dilation.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.HopperNames))]
public sealed class WarpgroupConvolutionTests(string device) : KernelTest(device)
{
    // What rounding to bfloat16 changes at most, of each element.
    private const double HalfUlp = 1.0 / 256;

    private static readonly ConvolutionShape[] Shapes =
    [
        new(1, 5, 5, 8, 8, 1, 1),
        new(2, 6, 7, 37, 37, 3, 3, 1, 1, 1, 1),
        new(3, 9, 9, 64, 64, 3, 3, 1, 1, 1, 1),
        new(2, 9, 8, 75, 130, 3, 3, 2, 2, 1, 1),
        new(1, 8, 8, 130, 75, 3, 3, 1, 1, 1, 1),
        new(2, 7, 9, 24, 200, 5, 5, 1, 1, 2, 2),
        new(1, 5, 6, 250, 24, 3, 3, 1, 1, 1, 1),
        new(5, 8, 8, 16, 40, 1, 1, 2, 2),
        new(2, 6, 6, 8, 16, 3, 3, 1, 1, 0, 2),
        new(1, 10, 9, 40, 24, 3, 2, 2, 1, 1, 0, 2, 3),
        new(1, 9, 9, 8, 8, 3, 3, 1, 1, 2, 2, 2, 2),
        new(130, 1, 1, 37, 10, 1, 1),
        new(1, 4, 4, 8, 8, 1, 1, 1, 1, 1, 1),

        // Patches of 8 × 8 pixels: one too few for a tile, several images, other padding and widths of the filter, depth in several parts.
        new(1, 8, 8, 8, 8, 3, 3, 1, 1, 1, 1),
        new(3, 8, 8, 37, 75, 3, 3, 1, 1, 1, 1),
        new(1, 16, 24, 130, 40, 3, 3, 1, 1, 1, 1),
        new(2, 10, 8, 64, 130, 3, 1, 1, 1, 0, 0),
        new(1, 6, 14, 20, 250, 3, 3, 1, 1, 2, 2),
        new(1, 8, 16, 72, 24, 3, 5, 1, 1, 1, 2),
    ];

    private CudaWarpgroupConvolution Kernels => new(((CudaDevice)Device).Context, tilesWanted: 0);

    // Below which errors are absolute: sums of two thousand products that nearly cancel keep the errors of the terms.
    private double Floor => CutsSumsOff ? 0.1 : 1e-3;

    [TestCaseSource(nameof(Shapes))]
    public void Forward_is_the_definition(ConvolutionShape shape)
    {
        Assert.That(CudaWarpgroupConvolution.FitsForward(shape));
        float[] input = Rounded(RandomValues(shape.Input.ElementCount, 1));
        float[] weight = Rounded(RandomValues(shape.Weight.ElementCount, 2));
        float[] bias = RandomValues(shape.OutputChannels, 3);
        DeviceBuffer x = UploadHalf(shape.Input, input);
        DeviceBuffer w = UploadHalf(shape.Weight, weight);
        DeviceBuffer b = Upload(new Shape(bias.Length), bias);
        float[] values = Twice(() =>
        {
            DeviceBuffer y = PoisonedHalf(shape.Output);
            Kernels.Forward(shape, x, w, b, y, default);
            return DownloadHalf(shape.Output, y);
        });
        AssertElements(values, ConvolutionReference.Forward(shape, input, weight, bias), 1.01 * HalfUlp, "y", Floor);
    }

    [TestCaseSource(nameof(Shapes))]
    public void Statistics_are_those_of_the_stored_values(ConvolutionShape shape)
    {
        DeviceBuffer x = UploadHalf(shape.Input, Rounded(RandomValues(shape.Input.ElementCount, 1)));
        DeviceBuffer w = UploadHalf(shape.Weight, Rounded(RandomValues(shape.Weight.ElementCount, 2)));

        // A large bias, about which the variance must not be lost.
        DeviceBuffer b = Upload(new Shape(shape.OutputChannels), [.. Enumerable.Range(0, shape.OutputChannels).Select(o => 20f * (o % 3))]);
        BatchStatistics form = CudaWarpgroupConvolution.Statistics(shape);
        (int channels, int pitch, int tiles) = (shape.OutputChannels, Shape.PitchOf(shape.OutputChannels), form.Tiles);
        DeviceBuffer y = PoisonedHalf(shape.Output);
        float[] statistics = Twice(() =>
        {
            DeviceBuffer buffer = PoisonedBytes(form.ByteLength(channels));
            Kernels.Forward(shape, x, w, b, y, buffer);
            return DownloadPacked<float>(buffer, tiles * 4 * pitch);
        });
        float[] values = DownloadHalf(shape.Output, y);
        int[] rows = RowsOfTiles(shape);
        for (int tile = 0; tile < tiles; tile++)
        {
            for (int channel = 0; channel < pitch; channel++)
            {
                double[] column = channel >= channels
                    ? [0]
                    : [.. rows.Skip(tile * form.RowsOfTile).Take(form.RowsOfTile).Select(row => (double)values[row * channels + channel])];
                double mean = column.Average();
                double[] expected = [mean, column.Sum(value => (value - mean) * (value - mean)), column.Max(), column.Min()];
                float[] actual = [.. Enumerable.Range(0, 4).Select(i => statistics[(tile * 4 + i) * pitch + channel])];
                AssertElements(actual, expected, 1e-5, $"mean, squares, maximum and minimum of tile {tile}, channel {channel}", floor: 1);
            }
        }
    }

    [TestCaseSource(nameof(Shapes))]
    public void The_data_gradient_is_the_definition(ConvolutionShape shape)
    {
        shape = shape with { StrideHeight = 1, StrideWidth = 1 };
        Assert.That(CudaWarpgroupConvolution.FitsGradient(shape));
        float[] gradient = Rounded(RandomValues(shape.Output.ElementCount, 3));
        float[] weight = Rounded(RandomValues(shape.Weight.ElementCount, 2));
        DeviceBuffer dy = UploadHalf(shape.Output, gradient);
        DeviceBuffer w = UploadHalf(shape.Weight, weight);
        float[] values = Twice(() =>
        {
            DeviceBuffer dx = PoisonedHalf(shape.Input);
            Kernels.DataGradient(shape, dy, w, dx, GradientMode.Overwrite);
            return DownloadHalf(shape.Input, dx);
        });
        AssertElements(values, ConvolutionReference.DataGradient(shape, gradient, weight), 1.01 * HalfUlp, "dx", Floor);
    }

    [TestCaseSource(nameof(Shapes))]
    public void Small_integers_come_out_exactly_and_gradients_add_up(ConvolutionShape shape)
    {
        // Few enough terms differ from zero that every sum is below 256, which bfloat16 holds.
        float[] input = Sparse(RandomIntegers(shape.Input.ElementCount, 1, 2));
        float[] weight = Sparse(RandomIntegers(shape.Weight.ElementCount, 2, 2));
        DeviceBuffer w = UploadHalf(shape.Weight, weight);
        DeviceBuffer y = PoisonedHalf(shape.Output);
        Kernels.Forward(shape, UploadHalf(shape.Input, input), w, default, y, default);
        AssertClose(DownloadHalf(shape.Output, y), ConvolutionReference.Forward(shape, input, weight, null), 0, "y");

        shape = shape with { StrideHeight = 1, StrideWidth = 1 };
        float[] gradient = Sparse(RandomIntegers(shape.Output.ElementCount, 3, 2));
        double[] expected = ConvolutionReference.DataGradient(shape, gradient, weight);
        DeviceBuffer dy = UploadHalf(shape.Output, gradient);
        DeviceBuffer dx = PoisonedHalf(shape.Input);
        Kernels.DataGradient(shape, dy, w, dx, GradientMode.Overwrite);
        Kernels.DataGradient(shape, dy, w, dx, GradientMode.Accumulate);
        AssertClose(DownloadHalf(shape.Input, dx), [.. expected.Select(value => 2 * value)], 0, "dx added twice");
    }

    [TestCaseSource(nameof(Shapes))]
    public void A_mapped_shortcut_is_added_by_the_way(ConvolutionShape shape)
    {
        shape = shape with { StrideHeight = 1, StrideWidth = 1 };
        Shape sumShape = shape.Input.With(-1, shape.InputChannels + 2);
        int[] inverse = [.. Enumerable.Range(0, shape.InputChannels).Select(c => c % 3 == 1 ? -1 : shape.InputChannels + 1 - c)];
        float[] weight = Sparse(RandomIntegers(shape.Weight.ElementCount, 2, 2));
        float[] gradient = Sparse(RandomIntegers(shape.Output.ElementCount, 3, 2));
        float[] sum = RandomIntegers(sumShape.ElementCount, 4, 3);
        double[] expected = ConvolutionReference.DataGradient(shape, gradient, weight);
        for (int i = 0; i < expected.Length; i++)
        {
            int from = inverse[i % shape.InputChannels];
            expected[i] += from < 0 ? 0 : sum[i / shape.InputChannels * sumShape.Channels + from];
        }

        DeviceBuffer dy = UploadHalf(shape.Output, gradient);
        DeviceBuffer w = UploadHalf(shape.Weight, weight);
        ShortcutGradient shortcut = new(UploadHalf(sumShape, sum), sumShape.Channels, UploadPacked<int>(inverse));
        float[] values = Twice(() =>
        {
            DeviceBuffer dx = PoisonedHalf(shape.Input);
            Kernels.DataGradient(shape, dy, w, dx, GradientMode.Overwrite, shortcut);
            return DownloadHalf(shape.Input, dx);
        });
        AssertClose(values, expected, 0, "dx");
    }

    [Test]
    public void What_is_not_a_number_stays_out_of_the_padding()
    {
        ConvolutionShape shape = new(1, 4, 5, 8, 37, 3, 3, 1, 1, 1, 1);
        float[] input = RandomIntegers(shape.Input.ElementCount, 1, 2);
        input[17] = float.PositiveInfinity;
        DeviceBuffer y = PoisonedHalf(shape.Output);
        DeviceBuffer w = UploadHalf(shape.Weight, RandomIntegers(shape.Weight.ElementCount, 2, 2));
        Kernels.Forward(shape, UploadHalf(shape.Input, input), w, default, y, default);
        Assert.That(DownloadHalf(shape.Output, y).Count(value => !float.IsFinite(value)), Is.Positive);
    }

    [Test]
    public void Float32_images_go_to_their_twin_with_statistics_as_promised()
    {
        ConvolutionShape shape = new(2, 9, 9, 37, 75, 3, 3, 1, 1, 1, 1);
        Open("1");
        float[] input = Rounded(RandomValues(shape.Input.ElementCount, 1));
        float[] weight = Rounded(RandomValues(shape.Weight.ElementCount, 2));
        BatchStatistics form = Device.Convolution.Statistics(shape);
        DeviceBuffer y = Poisoned(shape.Output);
        DeviceBuffer statistics = PoisonedBytes(form.ByteLength(shape.OutputChannels));
        DeviceBuffer saved = Poisoned(new Shape(4, shape.OutputChannels));
        Device.Convolution.Forward(shape, Upload(shape.Input, input), Upload(shape.Weight, weight), default, y, statistics);
        Device.Normalization.PrepareTraining(
            new BatchNormShape(shape.Output.Rows, shape.OutputChannels, 0, 0.1f), form, statistics, default, default, default, default, saved, Activation.Identity, ActivityReport.None);
        double[] expected = ConvolutionReference.Forward(shape, input, weight, null);
        AssertElements(Download(shape.Output, y), expected, 1e-5, "y", floor: 1);
        double[] means = [.. Enumerable.Range(0, shape.OutputChannels).Select(c => expected.Where((_, i) => i % shape.OutputChannels == c).Average())];
        AssertElements(Download(new Shape(4, shape.OutputChannels), saved)[..shape.OutputChannels], means, 1e-5, "means", floor: 1);
    }

    [Test]
    public void Where_they_are_asked_for_they_replace_their_twin_which_computes_the_same()
    {
        ConvolutionShape shape = new(2, 9, 9, 37, 75, 3, 3, 1, 1, 1, 1);
        float[] input = Rounded(RandomValues(shape.Input.ElementCount, 1));
        float[] weight = Rounded(RandomValues(shape.Weight.ElementCount, 2));
        float[] gradient = Rounded(RandomValues(shape.Output.ElementCount, 3));
        (BatchStatistics form, float[] y, float[] dx, float[] saved) twin = Run(null);
        (BatchStatistics form, float[] y, float[] dx, float[] saved) asked = Run("1");
        Assert.That(asked.form.RowsOfTile, Is.EqualTo(128));
        Assert.That(twin.form.RowsOfTile, Is.Not.EqualTo(128), "the choice shows");
        AssertElements(asked.y, [.. twin.y.Select(value => (double)value)], 2 * HalfUlp, "y", floor: 1e-2);
        AssertElements(asked.dx, [.. twin.dx.Select(value => (double)value)], 2 * HalfUlp, "dx", floor: 1e-2);
        AssertElements(asked.saved, [.. twin.saved.Select(value => (double)value)], 1e-3, "saved statistics", floor: 1);

        (BatchStatistics, float[], float[], float[]) Run(string? value)
        {
            Open(value);
            BatchStatistics form = Device.Convolution.Statistics(shape);
            DeviceBuffer w = UploadHalf(shape.Weight, weight);
            DeviceBuffer y = PoisonedHalf(shape.Output);
            DeviceBuffer dx = PoisonedHalf(shape.Input);
            DeviceBuffer statistics = PoisonedBytes(form.ByteLength(shape.OutputChannels));
            DeviceBuffer saved = Poisoned(new Shape(4, shape.OutputChannels));
            Device.Convolution.Forward(shape, UploadHalf(shape.Input, input), w, default, y, statistics);
            Device.Convolution.DataGradient(shape, UploadHalf(shape.Output, gradient), w, dx, GradientMode.Overwrite);
            Device.Normalization.PrepareTraining(
                new BatchNormShape(shape.Output.Rows, shape.OutputChannels, 1e-5f, 0.1f), form, statistics, default, default, default, default, saved, Activation.Identity, ActivityReport.None);
            return (form, DownloadHalf(shape.Output, y), DownloadHalf(shape.Input, dx), Download(new Shape(4, shape.OutputChannels), saved));
        }
    }

    // The pixels of one tile after the other.
    private static int[] RowsOfTiles(ConvolutionShape shape)
    {
        IEnumerable<int> rows = Enumerable.Range(0, shape.Output.Rows);
        return CudaWarpgroupConvolution.HasPatches(shape)
            ? [.. rows.OrderBy(row => (row / (8 * shape.OutputWidth), row % shape.OutputWidth / 8, row))]
            : [.. rows];
    }

    // The device under bf16, with the environment's choice.
    private void Open(string? wgmma)
    {
        string? before = Environment.GetEnvironmentVariable(EnvironmentVariable.Wgmma.Name);
        Environment.SetEnvironmentVariable(EnvironmentVariable.Wgmma.Name, wgmma);
        try
        {
            Reopen("bf16");
        }
        finally
        {
            Environment.SetEnvironmentVariable(EnvironmentVariable.Wgmma.Name, before);
        }
    }

    private static float[] Sparse(float[] values) => [.. values.Select((value, i) => i % 5 is 0 or 3 ? value : 0)];

    private static float[] Rounded(float[] values) => [.. values.Select(value => Single(Half(value)))];

    private static ushort Half(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
    }

    private static float Single(ushort half) => BitConverter.UInt32BitsToSingle((uint)half << 16);

    private DeviceBuffer UploadHalf(in Shape shape, float[] values)
    {
        ushort[] stored = new ushort[shape.StorageCount];
        for (int i = 0; i < values.Length; i++)
        {
            stored[i / shape.Channels * shape.Pitch + i % shape.Channels] = Half(values[i]);
        }

        return UploadPacked<ushort>(stored) with { Type = ElementType.BFloat16 };
    }

    private DeviceBuffer PoisonedHalf(in Shape shape) => PoisonedBytes(shape.StorageCount * sizeof(ushort)) with { Type = ElementType.BFloat16 };

    private float[] DownloadHalf(in Shape shape, DeviceBuffer buffer)
    {
        ushort[] stored = DownloadPacked<ushort>(buffer, checked((int)shape.StorageCount));
        float[] values = new float[shape.ElementCount];
        for (int i = 0; i < stored.Length; i++)
        {
            if (i % shape.Pitch < shape.Channels)
            {
                values[i / shape.Pitch * shape.Channels + i % shape.Pitch] = Single(stored[i]);
            }
            else
            {
                Assert.That(stored[i] & 0x7FFF, Is.Zero, $"padding at element {i} of {shape}");
            }
        }

        return values;
    }
}
