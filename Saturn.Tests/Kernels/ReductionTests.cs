using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Reductions over any set of dimensions, their accuracy over many elements, and the index of the largest.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class ReductionTests(string device) : KernelTest(device)
{
    private static readonly (int[] Input, int[] Output)[] Reductions =
    [
        ([], []), ([1], []), ([37], []), ([37], [1]), ([37], [37]), ([5, 7], [7]), ([5, 7], [5, 1]), ([5, 7], [1, 7]), ([5, 7], [1]), ([5, 7], []), ([1, 64], [64]), ([1, 1, 1, 8], [1]),
        ([4, 3, 3, 37], [37]), ([4, 3, 3, 37], [4, 1, 1, 37]), ([4, 3, 2, 37], [1, 3, 1, 37]), ([4, 3, 2, 37], [3, 1, 1]), ([4, 3, 2, 37], [4, 1, 2, 1]), ([2, 3, 1, 4, 1, 9], [3, 1, 1, 1, 9]),
        ([2, 3, 2, 4, 3, 9], [2, 1, 2, 1, 3, 1]), ([5, 1], [1]), ([5, 1], [5, 1]), ([2500, 37], [37]), ([2500, 37], [2500, 1]), ([2500, 37], []), ([3, 30_001], [3, 1]), ([3, 30_001], [30_001]),
        ([16, 20, 20, 16], [16, 1, 1, 16]), ([2, 5000, 8], [2, 1, 8]), ([3000, 3], [3]), ([500, 200], [200]),
    ];

    [Test]
    public void Reductions_are_those_of_the_definition(
        [Values] ReductionOperation operation, [ValueSource(nameof(Reductions))] (int[] Input, int[] Output) extents, [Values] GradientMode mode)
    {
        Shape input = new(extents.Input);
        Shape output = new(extents.Output);

        // Partial sums stay below 2²⁴, so every order of addition gives the same integer; only a mean that is none is rounded.
        float[] x = RandomIntegers(input.ElementCount, 1, 40);
        float[] before = RandomIntegers(output.ElementCount, 2);
        double[] expected = Combined(mode, before, ReductionReference.Reduce(operation, input, x, output));
        DeviceBuffer data = Upload(input, x);
        float[] actual = Twice(() =>
        {
            DeviceBuffer result = Destination(output, mode, before);
            Device.Reduction.Reduce(operation, input, data, output, result, mode);
            return Download(output, result);
        });
        AssertElements(actual, expected, operation == ReductionOperation.Mean ? 3e-7 : 0, $"{operation} of {input} to {output}", 1);
    }

    [Test]
    public void Sums_of_many_values_are_as_accurate_as_float32_allows([Values(1, 8, 37, BeyondOneStride)] int channels, [Values] bool byRow)
    {
        // 0.1 as float32 and as long a sum as possible: added one after the other in float32, it would be off by per cents.
        Shape input = new(BeyondOneStride / channels, channels);
        DeviceBuffer data = Allocate(input.StorageCount * sizeof(float));
        Device.Elementwise.Fill(input, data, 0.1f);
        Shape output = byRow ? new Shape(input.Rows, 1) : new Shape(channels);
        DeviceBuffer result = Poisoned(output);
        double count = byRow ? channels : input.Rows;
        Device.Reduction.Reduce(ReductionOperation.Sum, input, data, output, result);
        AssertElements(Download(output, result), [.. Enumerable.Repeat(0.1f * count, (int)output.ElementCount)], 1e-5, "the sum");
        Device.Reduction.Reduce(ReductionOperation.Mean, input, data, output, result);
        AssertElements(Download(output, result), [.. Enumerable.Repeat((double)0.1f, (int)output.ElementCount)], 1e-5, "the mean");
        Device.Reduction.Reduce(ReductionOperation.Sum, input, data, new Shape(), result);
        AssertElements(Download(new Shape(), result), [0.1f * (double)input.ElementCount], 1e-5, "the whole sum");
    }

    [Test]
    public void Sums_of_random_values_are_close([Values(1, 3, 7, 37, 64)] int channels)
    {
        Shape input = new(1500, channels);
        float[] x = RandomValues(input.ElementCount);
        DeviceBuffer data = Upload(input, x);
        foreach (Shape output in (Shape[])[new(channels), new(1500, 1), new()])
        {
            DeviceBuffer result = Poisoned(output);
            Device.Reduction.Reduce(ReductionOperation.Sum, input, data, output, result);

            // A sum of n such values is of the order of √n/2.
            AssertElements(Download(output, result), ReductionReference.Reduce(ReductionOperation.Sum, input, x, output), 5e-6, $"the sum to {output}", Math.Sqrt(input.ElementCount / output.ElementCount));
        }
    }

    [Test]
    public void Extrema_do_not_see_the_padding([Values(1, 3, 5, 7, 37)] int channels)
    {
        Shape input = new(3, channels);
        float[] x = [.. Enumerable.Range(1, 3 * channels).Select(i => (float)i)];
        DeviceBuffer negative = Upload(input, [.. x.Select(value => -value)]);
        DeviceBuffer positive = Upload(input, x);
        DeviceBuffer result = Poisoned(new Shape(3, 1));
        Device.Reduction.Reduce(ReductionOperation.Maximum, input, negative, new Shape(3, 1), result);
        Assert.That(Download(new Shape(3, 1), result), Is.EqualTo(new[] { -1f, -1 - channels, -1 - 2 * channels }));
        Device.Reduction.Reduce(ReductionOperation.Minimum, input, positive, new Shape(3, 1), result);
        Assert.That(Download(new Shape(3, 1), result), Is.EqualTo(new[] { 1f, 1 + channels, 1 + 2 * channels }));
        Device.Reduction.Reduce(ReductionOperation.Maximum, input, negative, new Shape(), result);
        Assert.That(Download(new Shape(), result), Is.EqualTo(new[] { -1f }));
    }

    [Test]
    public void Extrema_of_extremes_are_exact()
    {
        Shape input = new(4, 3);
        DeviceBuffer data = Upload(
            input, [float.MaxValue, float.MinValue, 1, -1, float.MinValue, 1, 0, float.MinValue, float.PositiveInfinity, 5, float.MinValue, float.NegativeInfinity]);
        DeviceBuffer result = Poisoned(new Shape(3));
        Device.Reduction.Reduce(ReductionOperation.Maximum, input, data, new Shape(3), result);
        Assert.That(Download(new Shape(3), result), Is.EqualTo(new[] { float.MaxValue, float.MinValue, float.PositiveInfinity }));
        Device.Reduction.Reduce(ReductionOperation.Minimum, input, data, new Shape(3), result);
        Assert.That(Download(new Shape(3), result), Is.EqualTo(new[] { -1, float.MinValue, float.NegativeInfinity }));
    }

    [Test]
    public void The_largest_is_the_first_of_equals([Values(1, 3, 7, 8, 10, 37, 64, 100, 3000)] int channels, [Values(1, 30, 700)] int rows)
    {
        rows = Math.Min(rows, 100_000 / channels);
        Shape input = new(rows, channels);
        float[] x = RandomIntegers(input.ElementCount);
        int[] expected = [.. x.Chunk(channels).Select(row => Array.IndexOf(row, row.Max()))];
        foreach (float offset in (float[])[0, -100])
        {
            DeviceBuffer data = Upload(input, [.. x.Select(value => value + offset)]);
            int[] actual = Twice(() =>
            {
                DeviceBuffer indices = PoisonedBytes(rows * sizeof(int));
                Device.Reduction.ArgumentMaximum(input, data, indices);
                return DownloadPacked<int>(indices, rows);
            });
            Assert.That(actual, Is.EqualTo(expected), $"with {offset} added: below zero, the padding would win");
        }
    }

    [Test]
    public void Every_place_can_hold_the_largest()
    {
        const int Channels = 133;
        Shape input = new(Channels, Channels);
        float[] x = [.. Enumerable.Range(0, Channels * Channels).Select(i => i / Channels == i % Channels ? -1f : -2f)];
        DeviceBuffer indices = PoisonedBytes(Channels * sizeof(int));
        Device.Reduction.ArgumentMaximum(input, Upload(input, x), indices);
        Assert.That(DownloadPacked<int>(indices, Channels), Is.EqualTo(Enumerable.Range(0, Channels)));
    }
}
