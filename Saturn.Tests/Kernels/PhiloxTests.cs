using MathNet.Numerics.Distributions;
using MathNet.Numerics.Statistics;
using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Kernels;

/// <summary>Philox against the published known answers of Random123, and the distributions made from it against MathNet.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class PhiloxTests(string device) : KernelTest(device)
{
    [TestCase(0u, 0u, 0u, 0u, 0u, 0u, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [TestCase(
        0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [TestCase(
        0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0xa4093822u, 0x299f31d0u, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void Blocks_are_the_published_ones(uint c0, uint c1, uint c2, uint c3, uint k0, uint k1, uint w0, uint w1, uint w2, uint w3) =>
        Assert.That(Philox.Block(c0, c1, c2, c3, k0, k1), Is.EqualTo((w0, w1, w2, w3)));

    [Test]
    public void Device_uniforms_are_the_scalar_blocks([Values(1, 3, 7, 37)] int channels)
    {
        Shape shape = new(5, channels);
        RandomKey key = new(42, 7, 3);
        DeviceBuffer output = Poisoned(shape);
        Device.Random.Uniform(shape, key, 0, 1, output);
        float[] values = Download(shape, output);
        (uint key0, uint key1) = Philox.DeriveKey(key.Seed, key.Step);
        for (int row = 0; row < 5; row++)
        {
            for (int c = 0; c < channels; c++)
            {
                var block = Philox.Block((uint)c / 4, (uint)row, 0, key.Stream, key0, key1);
                uint word = (c % 4) switch { 0 => block.Word0, 1 => block.Word1, 2 => block.Word2, _ => block.Word3 };
                Assert.That(values[row * channels + c], Is.EqualTo(Philox.ToUniform(word)));
            }
        }
    }

    [Test]
    public void Normals_are_normal()
    {
        Shape shape = new(400, 500);
        DeviceBuffer output = Poisoned(shape);
        Device.Random.Normal(shape, new RandomKey(1, 2, 3), 0, 1, output);
        double[] values = [.. Download(shape, output).Select(value => (double)value)];
        Assert.That(values.Mean(), Is.EqualTo(0).Within(0.01));
        Assert.That(values.StandardDeviation(), Is.EqualTo(1).Within(0.01));
        Assert.That(Correlation.Pearson(values[..^1], values[1..]), Is.EqualTo(0).Within(0.01));
        double[] sorted = [.. values.Order()];
        double distance = sorted.Select((value, i) => Math.Abs(Normal.CDF(0, 1, value) - (i + 0.5) / sorted.Length)).Max();

        // Kolmogorov and Smirnov: 1.63/√n is exceeded by one sample in a hundred.
        Assert.That(distance, Is.LessThan(1.63 / Math.Sqrt(sorted.Length)));
        Assert.That(sorted[^1], Is.InRange(3.8, 6));
    }

    [Test]
    public void The_normal_transform_is_box_and_muller_s()
    {
        (uint key0, uint key1) = Philox.DeriveKey(9, 4);
        for (uint index = 0; index < 4000; index++)
        {
            var block = Philox.Block(index / 4, 5, 6, 7, key0, key1);
            (uint radiusWord, uint angleWord) = index % 4 < 2 ? (block.Word0, block.Word1) : (block.Word2, block.Word3);
            double radius = Math.Sqrt(-2 * Math.Log(((radiusWord >> 8) + 1) / 16777216.0));
            double angle = 2 * Math.PI * (angleWord >> 8) / 16777216.0;
            double expected = radius * (index % 2 == 0 ? Math.Cos(angle) : Math.Sin(angle));
            Assert.That(Philox.Normal(index, 5, 6, 7, key0, key1), Is.EqualTo(expected).Within(2e-6), $"index {index}");
        }
    }

    [Test]
    public void Bounded_integers_are_even_and_in_range()
    {
        PhiloxSequence random = new(new RandomKey(3, 1, 4));
        int[] counts = new int[7];
        for (int i = 0; i < 70_000; i++)
        {
            counts[random.NextInteger(7)]++;
        }

        Assert.That(counts, Is.All.InRange(9_600, 10_400));
    }

    [Test]
    public void Dropout_keeps_what_it_should_and_scales_it()
    {
        Shape shape = new(100, 37);
        DeviceBuffer input = Upload(shape, Enumerable.Repeat(1f, 3700).ToArray());
        DeviceBuffer output = Poisoned(shape);
        Device.Random.Dropout(shape, new RandomKey(1, 0, 0), 0.3f, input, output, GradientMode.Overwrite);
        float[] values = Download(shape, output);
        Assert.That(values.Where(value => value != 0), Is.All.EqualTo(1 / 0.7f).Within(1e-6));
        Assert.That(values.Count(value => value == 0) / 3700.0, Is.EqualTo(0.3).Within(0.03));
    }
}
