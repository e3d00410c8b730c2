using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Convolutions on tensor cores against the definition in double precision. Operands are rounded beforehand, so that products are exact and only float32 sums and the stored type round.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.TensorNames))]
public sealed class TensorConvolutionTests(string device) : KernelTest(device)
{
    private static readonly ConvolutionShape[] Shapes =
    [
        new(1, 5, 5, 1, 1, 3, 3, 1, 1, 1, 1),
        new(2, 6, 7, 3, 7, 3, 3, 1, 1, 1, 1),
        new(3, 8, 8, 37, 37, 3, 3, 1, 1, 1, 1),
        new(2, 9, 8, 7, 64, 5, 5, 1, 1, 2, 2),
        new(2, 9, 9, 75, 37, 3, 3, 2, 2, 1, 1),
        new(2, 8, 8, 24, 75, 1, 1, 2, 2),
        new(5, 1, 1, 37, 10, 1, 1),
        new(1, 12, 11, 3, 20, 7, 7, 2, 2, 3, 3),
        new(2, 9, 9, 8, 40, 3, 3, 1, 1, 2, 2, 2, 2),
        new(1, 8, 10, 8, 8, 3, 2, 2, 1, 1, 0, 1, 3),
        new(2, 6, 6, 48, 16, 3, 3, 1, 1, 1, 1, 1, 1, 2),
        new(1, 6, 6, 24, 72, 3, 3, 2, 2, 1, 1, 1, 1, 3),
        new(2, 6, 6, 8, 8, 5, 5, 3, 3, 1, 1),
        new(1, 3, 3, 8, 8, 1, 1, 4, 4),
        new(1, 20, 20, 72, 130, 1, 1),
    ];

    [TestCaseSource(nameof(Shapes))]
    public void Both_passes_are_the_definition(ConvolutionShape shape)
    {
        float[] input = Rounded(RandomValues(shape.Input.ElementCount, 1));
        float[] weight = Rounded(RandomValues(shape.Weight.ElementCount, 2));
        float[] bias = RandomValues(shape.OutputChannels, 3);
        float[] gradient = Rounded(RandomValues(shape.Output.ElementCount, 4));
        DeviceBuffer w = Put(shape.Weight, weight);
        float[] y = Twice(() => Forward(shape, Put(shape.Input, input), w, Upload(new Shape(bias.Length), bias)));
        AssertClose(y, Stored(ConvolutionReference.Forward(shape, input, weight, bias)), Tolerance, "y");
        float[] dx = Twice(() =>
        {
            DeviceBuffer target = PoisonedOf(shape.Input);
            Device.Convolution.DataGradient(shape, Put(shape.Output, gradient), w, target, GradientMode.Overwrite);
            return Get(shape.Input, target);
        });
        AssertClose(dx, Stored(ConvolutionReference.DataGradient(shape, gradient, weight)), Tolerance, "dx");
    }

    [TestCaseSource(nameof(Shapes))]
    public void Integers_come_out_exactly_and_gradients_add_up(ConvolutionShape shape)
    {
        float[] input = RandomIntegers(shape.Input.ElementCount, 1);
        float[] weight = RandomIntegers(shape.Weight.ElementCount, 2);
        float[] gradient = RandomIntegers(shape.Output.ElementCount, 3);
        float[] before = RandomIntegers(shape.Input.ElementCount, 4);
        DeviceBuffer w = Put(shape.Weight, weight);
        AssertClose(Forward(shape, Put(shape.Input, input), w, default), Stored(ConvolutionReference.Forward(shape, input, weight, null)), 0, "y");
        DeviceBuffer dx = Put(shape.Input, before);
        Device.Convolution.DataGradient(shape, Put(shape.Output, gradient), w, dx, GradientMode.Accumulate);
        AssertClose(Get(shape.Input, dx), Stored(Combined(GradientMode.Accumulate, before, ConvolutionReference.DataGradient(shape, gradient, weight))), 0, "dx added to what was there");
    }

    [TestCase("Square", 8192, 16, 256)]
    [TestCase("Tall", 33792, 8, 40)]
    [TestCase("Medium", 2048, 24, 505)]
    [TestCase("Small", 100, 8, 70)]
    [TestCase("Narrow", 400, 8, 30)]
    public void Every_tile_gives_the_exact_sums_and_moments(string tile, int rows, int depth, int columns)
    {
        ConvolutionShape forward = new(rows, 1, 1, depth, columns, 1, 1);
        Assert.That(TensorConvolutionTile.All[TensorConvolutionTile.Choose(rows, columns, 1).Tile].Name, Is.EqualTo(tile));
        float[] input = RandomIntegers(forward.Input.ElementCount, 1);
        float[] weight = RandomIntegers(forward.Weight.ElementCount, 2);
        DeviceBuffer output = PoisonedOf(forward.Output);
        BatchStatistics form = Device.Convolution.Statistics(forward);
        DeviceBuffer statistics = PoisonedBytes(form.ByteLength(columns));
        Device.Convolution.Forward(forward, Put(forward.Input, input), Put(forward.Weight, weight), default, output, statistics);
        float[] y = Get(forward.Output, output);
        AssertClose(y, Stored(ConvolutionReference.Forward(forward, input, weight, null)), 0, "y");
        AssertStatistics(form, rows, columns, y, DownloadPacked<float>(statistics, (int)form.ByteLength(columns) / 4));

        ConvolutionShape backward = new(rows, 1, 1, columns, depth, 1, 1);
        DeviceBuffer dx = PoisonedOf(backward.Input);
        float[] filters = RandomIntegers(backward.Weight.ElementCount, 3);
        Device.Convolution.DataGradient(backward, Put(backward.Output, input), Put(backward.Weight, filters), dx, GradientMode.Overwrite);
        AssertClose(Get(backward.Input, dx), Stored(ConvolutionReference.DataGradient(backward, input, filters)), 0, "dx");
    }

    private static readonly ConvolutionShape[] DeepShapes =
    [
        new(3, 10, 9, 72, 72, 3, 3, 1, 1, 1, 1),
        new(2, 21, 13, 128, 128, 3, 3, 2, 2, 1, 1),
        new(1, 17, 16, 37, 130, 3, 2, 1, 2, 2, 1, 2, 1),
    ];

    // Many steps of depth go through a tile's stages more than once; its columns are all used, in part, or beyond the last channel.
    [Test]
    public void Every_tile_does_every_pass_exactly([Values("Square", "Tall", "Medium", "Small", "Narrow")] string tile, [ValueSource(nameof(DeepShapes))] ConvolutionShape shape)
    {
        CudaTensorConvolution kernels = new(((CudaDevice)Device).Context, TensorConvolutionTile.All.Select(each => each.Name).ToList().IndexOf(tile));
        float[] input = RandomIntegers(shape.Input.ElementCount, 1);
        float[] weight = RandomIntegers(shape.Weight.ElementCount, 2);
        float[] bias = RandomIntegers(shape.OutputChannels, 3);
        float[] gradient = RandomIntegers(shape.Output.ElementCount, 4);
        float[] before = RandomIntegers(shape.Input.ElementCount, 5);
        DeviceBuffer x = Put(shape.Input, input);
        DeviceBuffer w = Put(shape.Weight, weight);
        DeviceBuffer b = Upload(new Shape(bias.Length), bias);
        DeviceBuffer dy = Put(shape.Output, gradient);
        double[] sums = ConvolutionReference.Forward(shape, input, weight, bias);
        double[] gradients = ConvolutionReference.DataGradient(shape, gradient, weight);

        DeviceBuffer output = PoisonedOf(shape.Output);
        kernels.Forward(shape, x, w, b, output, default);
        AssertClose(Get(shape.Output, output), Stored(sums), 0, "y");

        output = PoisonedOf(shape.Output);
        BatchStatistics form = kernels.Statistics(shape);
        DeviceBuffer statistics = PoisonedBytes(form.ByteLength(shape.OutputChannels));
        kernels.Forward(shape, x, w, b, output, statistics);
        float[] y = Get(shape.Output, output);
        AssertClose(y, Stored(sums), 0, "y beside its statistics");
        AssertStatistics(form, shape.Output.Rows, shape.OutputChannels, y, DownloadPacked<float>(statistics, (int)form.ByteLength(shape.OutputChannels) / 4));

        // Powers of two, so that this is exact as well.
        float[] saved = new float[4 * shape.Output.Pitch];
        saved.AsSpan(2 * shape.Output.Pitch, shape.OutputChannels).Fill(0.5f);
        saved.AsSpan(3 * shape.Output.Pitch, shape.OutputChannels).Fill(-2);
        output = PoisonedOf(shape.Output);
        kernels.ForwardNormalized(
            shape, x, w, b, UploadPacked<float>(saved), new NormalizationEpilogue(Activation.Relu, dy, shape.OutputChannels), output, ActivityReport.None);
        AssertClose(Get(shape.Output, output), Stored([.. sums.Select((sum, i) => Math.Max(0, 0.5 * sum - 2 + gradient[i]))]), 0, "y, folded");

        DeviceBuffer dx = PoisonedOf(shape.Input);
        kernels.DataGradient(shape, dy, w, dx, GradientMode.Overwrite, default);
        AssertClose(Get(shape.Input, dx), Stored(gradients), 0, "dx");
        dx = Put(shape.Input, before);
        kernels.DataGradient(shape, dy, w, dx, GradientMode.Accumulate, default);
        AssertClose(Get(shape.Input, dx), Stored(Combined(GradientMode.Accumulate, before, gradients)), 0, "dx added to what was there");

        int channels = shape.InputChannels;
        int[] map = [.. Enumerable.Range(0, channels).Select(c => c % 3 == 1 ? -1 : channels - 1 - c)];
        dx = PoisonedOf(shape.Input);
        kernels.DataGradient(shape, dy, w, dx, GradientMode.Overwrite, new ShortcutGradient(Put(shape.Input, before), channels, UploadPacked<int>(map)));
        AssertClose(
            Get(shape.Input, dx), Stored([.. gradients.Select((value, i) => value + (map[i % channels] < 0 ? 0 : before[i / channels * channels + map[i % channels]]))]), 0, "dx and a mapped shortcut");
    }

    [TestCase(1, 1)]
    [TestCase(7, 1)]
    [TestCase(37, 1)]
    [TestCase(75, 1)]
    [TestCase(24, 3)]
    public void Statistics_are_those_of_what_is_stored(int channels, int groups)
    {
        ConvolutionShape shape = new(3, 9, 11, 8 * groups, channels, 3, 3, 1, 1, 1, 1, 1, 1, groups);
        int rows = shape.Output.Rows;
        int pitch = shape.Output.Pitch;
        float[] bias = [.. Enumerable.Range(0, channels).Select(c => c % 3 == 2 ? 100f : c % 5)];
        float[] gamma = [.. RandomValues(channels, 5).Select((value, c) => c % 4 == 3 ? 0 : value)];
        float[] beta = [.. RandomValues(channels, 6).Select((value, c) => c % 3 == 1 ? -3 * Math.Abs(gamma[c]) - 0.25f : value)];
        float[] runningMean = RandomValues(channels, 7);
        float[] runningVariance = [.. RandomValues(channels, 8).Select(value => value + 2)];
        DeviceBuffer x = Put(shape.Input, Rounded(RandomValues(shape.Input.ElementCount, 1)));
        DeviceBuffer w = Put(shape.Weight, Rounded(RandomValues(shape.Weight.ElementCount, 2)));
        DeviceBuffer output = PoisonedOf(shape.Output);
        BatchStatistics form = Device.Convolution.Statistics(shape);
        Assert.That(form.AreMoments, Is.False);
        int floats = (int)form.ByteLength(channels) / 4;
        DeviceBuffer statistics = default;
        float[] tiles = Twice(() =>
        {
            statistics = PoisonedBytes(4L * floats);
            Device.Convolution.Forward(shape, x, w, Upload(new Shape(channels), bias), output, statistics);
            return DownloadPacked<float>(statistics, floats);
        });
        float[] y = Get(shape.Output, output);
        AssertStatistics(form, rows, channels, y, tiles);

        BatchNormShape norm = new(rows, channels, 1e-5f, 0.1f);
        DeviceBuffer mean = Upload(new Shape(channels), runningMean);
        DeviceBuffer variance = Upload(new Shape(channels), runningVariance);
        DeviceBuffer saved = Poisoned(new Shape(4, pitch));
        Assert.That(Prepare(new Shape(channels), mean, variance, saved, Activation.Relu, ActivityReport.None), Is.False, "nobody asks for activity");
        double[] expectedSaved = new double[4 * pitch], expectedMean = new double[channels], expectedVariance = new double[channels];
        for (int c = 0; c < channels; c++)
        {
            double[] column = [.. Enumerable.Range(0, rows).Select(row => (double)y[row * channels + c])];
            double average = column.Average();
            double squares = column.Sum(value => (value - average) * (value - average));
            expectedMean[c] = 0.9 * runningMean[c] + 0.1 * average;
            expectedVariance[c] = 0.9 * runningVariance[c] + 0.1 * squares / (rows - 1);
            expectedSaved[c] = average;
            expectedSaved[pitch + c] = 1 / Math.Sqrt(squares / rows + 1e-5);
            expectedSaved[2 * pitch + c] = gamma[c] * expectedSaved[pitch + c];
            expectedSaved[3 * pitch + c] = beta[c] - average * expectedSaved[2 * pitch + c];
        }

        float[] actualSaved = DownloadPacked<float>(saved, 4 * pitch);
        AssertElements(actualSaved[..(3 * pitch)], expectedSaved[..(3 * pitch)], 5e-6, "saved statistics", 1e-3);
        for (int c = 0; c < pitch; c++)
        {
            // β and mean·scale may cancel.
            double scale = c < channels ? Math.Abs(beta[c]) + Math.Abs(expectedSaved[c] * expectedSaved[2 * pitch + c]) : 0;
            Assert.That(actualSaved[3 * pitch + c], Is.EqualTo(expectedSaved[3 * pitch + c]).Within(1e-6 * scale), $"shift of channel {c}");
        }

        AssertElements(Download(new Shape(channels), mean), expectedMean, 1e-6, "running mean", 1e-2);
        AssertElements(Download(new Shape(channels), variance), expectedVariance, 2e-6, "running variance", 1e-2);

        // The apply pass over what is stored, in float32, says what is active; thresholds that channels just reach show every bit of rounding.
        DeviceBuffer single = Upload(shape.Output, y);
        int words = ActivityReport.WordCount(channels);
        bool[] seen = new bool[2];
        foreach (Activation activation in (Activation[])[Activation.Relu, Activation.LeakyRelu(0.1f), Activation.Identity])
        {
            DeviceBuffer normalized = Poisoned(shape.Output);
            Device.Normalization.Apply(norm, new NormalizationEpilogue(activation), single, saved, normalized, ActivityReport.None);
            float[] values = Download(shape.Output, normalized);
            foreach (int c in (int[])[-1, 0, channels / 2, channels - 1])
            {
                float threshold = c < 0 ? 0 : Enumerable.Range(0, rows).Max(row => values[row * channels + c]);
                foreach (bool combine in (bool[])[false, true])
                {
                    DeviceBuffer expected = UploadPacked<uint>(Enumerable.Repeat(4u, words).ToArray());
                    DeviceBuffer flags = UploadPacked<uint>(Enumerable.Repeat(4u, words).ToArray());
                    Device.Normalization.Apply(
                        norm, new NormalizationEpilogue(activation), single, saved, normalized, new ActivityReport(expected, ActivityCriterion.AboveThreshold, threshold, combine));
                    Assert.That(
                        Prepare(new Shape(channels), mean, variance, Poisoned(new Shape(4, pitch)), activation, new ActivityReport(flags, ActivityCriterion.AboveThreshold, threshold, combine)), Is.True);
                    uint[] bits = DownloadPacked<uint>(flags, words);
                    Assert.That(bits, Is.EqualTo(DownloadPacked<uint>(expected, words)), $"{activation}, threshold {threshold}, combine {combine}");
                    for (int i = 0; i < channels; i++)
                    {
                        seen[bits[i / 32] >> (i % 32) & 1] = true;
                    }
                }
            }
        }

        Assert.That(seen, Is.All.True, "there were live channels and dead ones");
        Assert.That(
            Prepare(new Shape(channels), mean, variance, saved, Activation.Relu, new ActivityReport(Allocate(4 * words), ActivityCriterion.MagnitudeAtLeastThreshold, 1, false)), Is.False,
            "extrema do not tell magnitudes");

        bool Prepare(Shape vector, DeviceBuffer mean, DeviceBuffer variance, DeviceBuffer saved, Activation activation, in ActivityReport activity) =>
            Device.Normalization.PrepareTraining(norm, form, statistics, Upload(vector, gamma), Upload(vector, beta), mean, variance, saved, activation, activity);
    }

    // Rounding to TF32 is arithmetic on the bits: neither it nor a multiplication by the zeros of a padding may lose what is not finite.
    [Test]
    public void What_is_not_finite_stays_so_and_halves_are_rounded_away_from_zero()
    {
        float[] values =
        [
            float.PositiveInfinity, float.NegativeInfinity, float.NaN, BitConverter.UInt32BitsToSingle(0x7FFFFFFF), 1, 2, -3, 1 + 1f / 2048, -1 - 1f / 2048, 1 + 3f / 4096, 1 + 1f / 4096, 2e38f, float.Epsilon,
        ];
        float[] expected =
        [
            float.PositiveInfinity, float.NegativeInfinity, float.NaN, float.NaN, 1, 2, -3, 1 + 1f / 1024, -1 - 1f / 1024, 1 + 1f / 1024, 1, ToTf32(2e38f), 0,
        ];
        ConvolutionShape shape = new(values.Length, 1, 1, 1, 1, 1, 1);
        int compared = Device.Precision == Precision.Bf16 ? 7 : values.Length;
        AssertNumbers(Forward(shape, Put(shape.Input, values), Put(shape.Weight, [1]), default));
        DeviceBuffer dx = PoisonedOf(shape.Input);
        Device.Convolution.DataGradient(shape, Put(shape.Output, values), Put(shape.Weight, [1]), dx, GradientMode.Overwrite);
        AssertNumbers(Get(shape.Input, dx));

        void AssertNumbers(float[] actual)
        {
            for (int i = 0; i < compared; i++)
            {
                Assert.That(actual[i], Is.EqualTo(expected[i]), $"of {values[i]:R} ({BitConverter.SingleToUInt32Bits(values[i]):X8})");
            }
        }
    }

    [Test]
    public void A_channel_that_is_not_a_number_counts_as_active()
    {
        ConvolutionShape shape = new(50, 1, 1, 8, 3, 1, 1);
        float[] input = new float[shape.Input.ElementCount];
        float[] weight = new float[shape.Weight.ElementCount];
        weight[8] = float.NaN;
        BatchStatistics form = Device.Convolution.Statistics(shape);
        DeviceBuffer statistics = PoisonedBytes(form.ByteLength(3));
        DeviceBuffer flags = PoisonedBytes(4);
        Device.Convolution.Forward(shape, Put(shape.Input, input), Put(shape.Weight, weight), default, PoisonedOf(shape.Output), statistics);
        Device.Normalization.PrepareTraining(
            new BatchNormShape(50, 3, 1e-5f, 0.1f), form, statistics, default, default, default, default, Poisoned(new Shape(4, 8)), Activation.Relu,
            new ActivityReport(flags, ActivityCriterion.AboveThreshold, 0, false));
        Assert.That(DownloadPacked<uint>(flags, 1)[0], Is.EqualTo(2u));
    }

    [Test]
    public void A_folded_normalization_is_the_formula([Values(7, 37, 75)] int channels, [Values("plain", "residual", "mapped")] string sum, [Values] bool leaky)
    {
        ConvolutionShape shape = new(2, 9, 9, 24, channels, 3, 3, 1, 1, 1, 1);
        Assert.That(Device.Convolution.FoldsNormalization(shape), Is.True);
        int pitch = shape.Output.Pitch;
        int shortcutChannels = sum == "mapped" ? channels + 2 : channels;
        Shape shortcutShape = shape.Output.With(-1, shortcutChannels);
        float[] input = Rounded(RandomValues(shape.Input.ElementCount, 1));
        float[] weight = Rounded(RandomValues(shape.Weight.ElementCount, 2));
        float[] bias = RandomValues(channels, 3);
        float[] shortcut = Rounded(RandomValues(shortcutShape.ElementCount, 4));
        float[] scale = RandomValues(channels, 5);
        float[] shift = [.. RandomValues(channels, 6).Select((value, c) => c % 3 == 1 ? -30 : value)];
        int[] map = [.. Enumerable.Range(0, channels).Select(c => sum != "mapped" ? c : c % 3 == 1 ? -1 : c + 2)];
        float[] saved = new float[4 * pitch];
        scale.CopyTo(saved, 2 * pitch);
        shift.CopyTo(saved, 3 * pitch);
        NormalizationEpilogue epilogue = new(
            leaky ? Activation.LeakyRelu(0.1f) : Activation.Relu, sum == "plain" ? default : Put(shortcutShape, shortcut), sum == "plain" ? 0 : shortcutChannels,
            sum == "mapped" ? UploadPacked<int>(map) : default);
        DeviceBuffer output = PoisonedOf(shape.Output);
        int words = ActivityReport.WordCount(channels);
        DeviceBuffer flags = PoisonedBytes(4 * words);
        Device.Convolution.ForwardNormalized(
            shape, Put(shape.Input, input), Put(shape.Weight, weight), Upload(new Shape(channels), bias), UploadPacked<float>(saved), epilogue, output,
            new ActivityReport(flags, ActivityCriterion.AboveThreshold, 0, false));
        float[] y = Get(shape.Output, output);
        double[] expected = ConvolutionReference.Forward(shape, input, weight, bias);
        for (int i = 0; i < expected.Length; i++)
        {
            int c = i % channels;
            double z = scale[c] * expected[i] + shift[c] + (sum == "plain" || map[c] < 0 ? 0 : shortcut[i / channels * shortcutChannels + map[c]]);
            expected[i] = z > 0 ? z : leaky ? 0.1f * z : 0;
        }

        AssertClose(y, Stored(expected), Tolerance, "y");
        uint[] bits = DownloadPacked<uint>(flags, words);
        for (int bit = 0; bit < words * 32; bit++)
        {
            bool active = bit < channels && Enumerable.Range(0, shape.Output.Rows).Any(row => y[row * channels + bit] > 0);
            Assert.That((bits[bit / 32] >> (bit % 32) & 1) != 0, Is.EqualTo(active), $"activity bit {bit}");
        }
    }

    [Test]
    public void Narrow_groups_in_bfloat16_are_refused_by_name()
    {
        ConvolutionShape shape = new(1, 4, 4, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 4);
        Assert.That(Device.Convolution.FoldsNormalization(shape), Is.False);
        Assert.That(Device.Convolution.Statistics(shape).AreMoments, Is.True);
        if (Device.Precision == Precision.Bf16)
        {
            Assert.That(
                () => Device.Convolution.Forward(shape, PoisonedOf(shape.Input), PoisonedOf(shape.Weight), default, PoisonedOf(shape.Output), default),
                Throws.TypeOf<NotSupportedException>().With.Message.Contains("4 group(s)").And.Message.Contains("cast"));
        }
    }

    private static void AssertStatistics(BatchStatistics form, int rows, int channels, float[] values, float[] tiles)
    {
        int pitch = Shape.PitchOf(channels);
        Assert.That(form.Tiles, Is.EqualTo((rows + form.RowsOfTile - 1) / form.RowsOfTile));
        double[] expected = new double[tiles.Length];
        for (int tile = 0; tile < form.Tiles; tile++)
        {
            int first = tile * form.RowsOfTile;
            int last = Math.Min(first + form.RowsOfTile, rows);
            for (int c = 0; c < channels; c++)
            {
                double sum = 0, squares = 0, maximum = double.NegativeInfinity, minimum = double.PositiveInfinity;
                for (int row = first; row < last; row++)
                {
                    double value = values[row * channels + c];
                    sum += value;
                    maximum = Math.Max(maximum, value);
                    minimum = Math.Min(minimum, value);
                }

                double mean = sum / (last - first);
                for (int row = first; row < last; row++)
                {
                    squares += (values[row * channels + c] - mean) * (values[row * channels + c] - mean);
                }

                int at = tile * 4 * pitch + c;
                (expected[at], expected[at + pitch], expected[at + 2 * pitch], expected[at + 3 * pitch]) = (mean, squares, maximum, minimum);
            }
        }

        AssertElements(tiles, expected, 5e-6, "statistics of tiles", 0.1);
    }

    private double Tolerance => Device.Precision == Precision.Bf16 ? 3e-4 : TensorCoreTolerance(2e-6);

    private float[] Forward(ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias)
    {
        DeviceBuffer output = PoisonedOf(shape.Output);
        Device.Convolution.Forward(shape, input, weight, bias, output, default);
        return Get(shape.Output, output);
    }

    /// <summary>Values that the tensor cores take as they are.</summary>
    private float[] Rounded(float[] values) => [.. values.Select(value => Device.Precision == Precision.Bf16 ? ToBf16(value) : ToTf32(value))];

    /// <summary>What memory makes of exact values.</summary>
    private double[] Stored(double[] values) => Device.Precision == Precision.Bf16 ? [.. values.Select(value => (double)ToBf16((float)value))] : values;

    private static float ToBf16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return BitConverter.UInt32BitsToSingle(bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000);
    }

    private static float ToTf32(float value) => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) + 0x1000 & 0xFFFFE000);

    /// <summary>Uploads a pitched array of images or filters in the device's type.</summary>
    private DeviceBuffer Put(Shape shape, float[] values)
    {
        if (Device.Precision != Precision.Bf16)
        {
            return Upload(shape, values);
        }

        ushort[] stored = new ushort[shape.StorageCount];
        for (int i = 0; i < values.Length; i++)
        {
            stored[i / shape.Channels * shape.Pitch + i % shape.Channels] = (ushort)(BitConverter.SingleToUInt32Bits(values[i]) >> 16);
        }

        return UploadPacked<ushort>(stored) with { Type = ElementType.BFloat16 };
    }

    private DeviceBuffer PoisonedOf(Shape shape) =>
        Device.Precision == Precision.Bf16 ? PoisonedBytes(2 * shape.StorageCount) with { Type = ElementType.BFloat16 } : Poisoned(shape);

    private float[] Get(Shape shape, DeviceBuffer buffer)
    {
        if (Device.Precision != Precision.Bf16)
        {
            return Download(shape, buffer);
        }

        ushort[] stored = DownloadPacked<ushort>(buffer, checked((int)shape.StorageCount));
        float[] values = new float[shape.ElementCount];
        for (int i = 0; i < stored.Length; i++)
        {
            float value = BitConverter.UInt32BitsToSingle((uint)stored[i] << 16);
            if (i % shape.Pitch < shape.Channels)
            {
                values[i / shape.Pitch * shape.Channels + i % shape.Pitch] = value;
            }
            else
            {
                Assert.That(value, Is.Zero, $"padding at row {i / shape.Pitch}");
            }
        }

        return values;
    }
}
