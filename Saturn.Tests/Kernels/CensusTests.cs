using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Activity bits and per-channel statistics.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.ObservedNames))]
public sealed class CensusTests(string device) : KernelTest(device)
{
    [Test]
    public void Bits_are_set_for_channels_with_one_active_value(
        [Values(1, 3, 7, 31, 32, 33, 37, 64, 100)] int channels, [Values(1, 7, 1000)] int rows, [Values] ActivityCriterion criterion, [Values(0, 0.25f)] float threshold,
        [Values] bool combine)
    {
        // Sparse: most channels have a single value that could make them active, in any row.
        float[] x = new float[rows * channels];
        Random random = new(channels + rows);
        float[] candidates = [0, -0f, 0.25f, -0.25f, MathF.BitIncrement(0.25f), MathF.BitDecrement(0.25f), -0.5f, 0.5f, -1e-30f, 1e-30f, float.NegativeInfinity, float.PositiveInfinity];
        for (int c = 0; c < channels; c++)
        {
            x[random.Next(rows) * channels + c] = candidates[random.Next(candidates.Length)];
        }

        const uint Before = 0x80000005;
        uint[] expected = ActivationReference.ActivityBits(channels, x, criterion, threshold);
        uint[] words = Flag(new Shape(rows, channels), x, new ActivityReport(default, criterion, threshold, combine), combine ? Before : uint.MaxValue);
        Assert.That(words, Is.EqualTo(expected.Select(word => combine ? word | Before : word)), "bits of padding channels included");
    }

    [Test]
    public void A_channel_that_is_not_a_number_is_not_dead(
        [Values(0, 1, 350, 699)] int row, [Values] ActivityCriterion criterion, [Values("census", "activation", "normalization")] string reporter)
    {
        Shape shape = new(700, 37);
        float[] x = [.. Enumerable.Repeat(criterion == ActivityCriterion.AboveThreshold ? -1f : 0f, 700 * 37)];
        x[row * 37 + 20] = float.NaN;
        DeviceBuffer input = Upload(shape, x);
        DeviceBuffer flags = PoisonedBytes(8);
        ActivityReport report = new(flags, criterion, 0.5f, false);
        switch (reporter)
        {
            case "census":
                Device.Census.Flag(700, 37, input, report);
                break;
            case "activation":
                Device.Activation.Forward(Activation.Relu, shape, input, Poisoned(shape), report);
                break;
            default:
                // Scale 1, shift 0.
                DeviceBuffer saved = Upload(new Shape(4, 40), [.. Enumerable.Range(0, 160).Select(i => i / 40 is 1 or 2 && i % 40 < 37 ? 1f : 0)]);
                Device.Normalization.Apply(new BatchNormShape(700, 37, 0, 0), new NormalizationEpilogue(Activation.Relu), input, saved, Poisoned(shape), report);
                break;
        }

        Assert.That(DownloadPacked<uint>(flags, 2), Is.EqualTo(new uint[] { 1u << 20, 0 }));
    }

    [Test]
    public void Statistics_are_those_of_all_batches([Values(1, 3, 7, 8, 37, 64, 200)] int channels, [Values(1, 7, 400)] int rows)
    {
        Shape shape = new(rows, channels);
        float[][] batches = [.. Enumerable.Range(0, 3).Select(seed => RandomIntegers(shape.ElementCount, seed, 1000))];
        DeviceBuffer[] inputs = [.. batches.Select(batch => Upload(shape, batch))];
        float[] largest = [], smallest = [];
        double[] total = Twice(() =>
        {
            (DeviceBuffer maximum, DeviceBuffer minimum, DeviceBuffer sum) = Start(shape.Pitch);
            foreach (DeviceBuffer input in inputs)
            {
                Device.Census.Accumulate(rows, channels, input, maximum, minimum, sum);
            }

            largest = DownloadPacked<float>(maximum, channels);
            smallest = DownloadPacked<float>(minimum, channels);
            return DownloadPacked<double>(sum, channels);
        });
        for (int c = 0; c < channels; c++)
        {
            float[] values = [.. batches.SelectMany(batch => Enumerable.Range(0, rows).Select(row => batch[row * channels + c]))];
            Assert.That(largest[c], Is.EqualTo(values.Max()), $"maximum of channel {c}");
            Assert.That(smallest[c], Is.EqualTo(values.Min()), $"minimum of channel {c}");
            Assert.That(total[c], Is.EqualTo(values.Sum(value => (double)value)), $"sum of channel {c}");
        }
    }

    [Test]
    public void Sums_have_the_precision_of_float64()
    {
        // 2²⁴ + 1 is no float32, and 0.1 differs from its float32 in the ninth place only.
        Shape shape = new(1001, 3);
        float[] x = [.. Enumerable.Range(0, 3003).Select(i => i < 3 ? 16777216f : i % 3 == 0 ? 1 : i % 3 == 1 ? 0.1f : -16777216f / 1000)];
        (DeviceBuffer maximum, DeviceBuffer minimum, DeviceBuffer sum) = Start(8);
        Device.Census.Accumulate(1001, 3, Upload(shape, x), maximum, minimum, sum);
        double[] total = DownloadPacked<double>(sum, 3);
        Assert.That(total[0], Is.EqualTo(16778216.0));
        Assert.That(total[1], Is.EqualTo(16777216 + 1000 * (double)0.1f).Within(1e-6));
        Assert.That(total[2], Is.EqualTo(16777216 + 1000 * (double)(-16777216f / 1000)).Within(1e-6));
    }

    [Test]
    public void A_union_has_the_bits_of_both_and_no_word_more([Values(1, 2, 31, 128, 129, 1000)] int words)
    {
        Random random = new(words);
        uint[] a = [.. Enumerable.Range(0, words + 1).Select(_ => (uint)random.NextInt64(1L << 32))];
        uint[] b = [.. Enumerable.Range(0, words + 1).Select(_ => (uint)random.NextInt64(1L << 32))];
        uint[] union = [.. a.Zip(b, (x, y) => x | y).Take(words)];
        DeviceBuffer first = UploadPacked<uint>(a);
        DeviceBuffer second = UploadPacked<uint>(b);
        DeviceBuffer target = PoisonedBytes((words + 1) * 4);
        Device.Clear(target);
        Device.Census.Union(words, first, second, target);
        Assert.That(DownloadPacked<uint>(target, words + 1), Is.EqualTo(union.Append(0u)));
        Device.Census.Union(words, first, second, second);
        Assert.That(DownloadPacked<uint>(second, words + 1), Is.EqualTo(union.Append(b[words])), "into the second");
        Device.Census.Union(words, first, second, first);
        Assert.That(DownloadPacked<uint>(first, words + 1), Is.EqualTo(union.Append(a[words])), "into the first");
    }

    [Test]
    public void Sizes_beyond_one_grid_stride()
    {
        Shape shape = new(BeyondOneStride / 37, 37);
        float[] x = [.. RandomIntegers(shape.ElementCount).Select((value, i) => i % 37 == 30 ? -Math.Abs(value) : value)];
        uint[] words = Flag(shape, x, new ActivityReport(default, ActivityCriterion.AboveThreshold, 0, false), uint.MaxValue);
        Assert.That(words, Is.EqualTo(new[] { ~(1u << 30), 0b11111u }));
        (DeviceBuffer maximum, DeviceBuffer minimum, DeviceBuffer sum) = Start(40);
        Device.Census.Accumulate(shape.Rows, 37, Upload(shape, x), maximum, minimum, sum);
        Assert.That(DownloadPacked<float>(maximum, 37), Is.EqualTo(Enumerable.Range(0, 37).Select(c => c == 30 ? 0f : 3)));
        Assert.That(DownloadPacked<float>(minimum, 37), Is.All.EqualTo(-3));
        Assert.That(DownloadPacked<double>(sum, 37), Is.EqualTo(ReductionReference.Reduce(ReductionOperation.Sum, shape, x, new Shape(37))));
    }

    /// <summary>Statistics of nothing: −∞, +∞ and 0.</summary>
    private (DeviceBuffer Maximum, DeviceBuffer Minimum, DeviceBuffer Sum) Start(int pitch) => (
        UploadPacked<float>([.. Enumerable.Repeat(float.NegativeInfinity, pitch)]), UploadPacked<float>([.. Enumerable.Repeat(float.PositiveInfinity, pitch)]),
        UploadPacked<double>(new double[pitch]));

    private uint[] Flag(Shape shape, float[] x, ActivityReport report, uint before)
    {
        int count = ActivityReport.WordCount(shape.Channels);
        DeviceBuffer input = Upload(shape, x);
        return Twice(() =>
        {
            DeviceBuffer flags = UploadPacked<uint>([.. Enumerable.Repeat(before, count)]);
            Device.Census.Flag(shape.Rows, shape.Channels, input, report with { Flags = flags });
            return DownloadPacked<uint>(flags, count);
        });
    }
}
