using MathNet.Numerics.Distributions;
using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Uniforms, normals and dropout against scalar Philox blocks, element by element, and against the distributions they stand for.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class RandomTests(string device) : KernelTest(device)
{
    private static readonly int[][] Extents = [[], [1], [3], [7], [37], [64], [1, 1, 1, 8], [5, 1], [2, 3, 3, 37], [700, 33], [1025, 16], [2, 20_001]];

    // Seeds and steps beyond 32 bits, and zeros.
    private static readonly RandomKey[] Keys = [new(0, 0, 0), new(42, 7, 3), new(0xFEDCBA9876543210, 0xFFFFFFFF, 0x123456789ABCDEF)];

    [Test]
    public void Uniforms_are_exactly_those_of_the_counters([ValueSource(nameof(Extents))] int[] extents, [ValueSource(nameof(Keys))] RandomKey key)
    {
        // Powers of two scale without rounding.
        Shape shape = new(extents);
        AssertElements(Twice(() => Uniform(shape, key, 0, 1)), RandomReference.Uniform(shape, key), 0, "uniforms in [0, 1)");
        AssertElements(Uniform(shape, key, -0.5f, 0.5f), [.. RandomReference.Uniform(shape, key).Select(value => value - 0.5)], 0, "uniforms in [−½, ½)");
        AssertElements(Uniform(shape, key, -3, 1.7f), [.. RandomReference.Uniform(shape, key).Select(value => value * (1.7f + 3.0) - 3)], 3e-7, "uniforms in [−3, 1.7)", 3);
    }

    [Test]
    public void Uniforms_never_reach_their_upper_bound([Values(1, 1000, 1e6f)] float low, [Values(2, 9)] int steps)
    {
        // An interval of a few float32 numbers: most products round to one of its ends.
        float high = low;
        for (int i = 0; i < steps; i++)
        {
            high = MathF.BitIncrement(high);
        }

        float[] values = Uniform(new Shape(50, 37), Keys[1], low, high);
        Assert.That(values.Min(), Is.EqualTo(low));
        Assert.That(values.Max(), Is.EqualTo(MathF.BitDecrement(high)));
    }

    [Test]
    public void Normals_are_those_of_the_counters([ValueSource(nameof(Extents))] int[] extents, [ValueSource(nameof(Keys))] RandomKey key)
    {
        Shape shape = new(extents);
        double[] expected = RandomReference.Normal(shape, key);
        float[] actual = Twice(() => Normal(shape, key, 0, 1));
        AssertElements(actual, expected, 2e-6, "standard normals", 1);
        (uint key0, uint key1) = Philox.DeriveKey(key.Seed, key.Step);
        Assert.That(
            actual, Is.EqualTo(Enumerable.Range(0, actual.Length).Select(i => Philox.Normal((uint)(i % shape.Channels), (uint)(i / shape.Channels), 0, key.Stream, key0, key1))),
            "bit for bit those of the host");
        AssertElements(Normal(shape, key, 3, 0.25f), [.. expected.Select(value => 3 + 0.25 * value)], 1e-6, "normals around 3", 1);
        AssertElements(Normal(shape, key, -2, 0), [.. expected.Select(_ => -2.0)], 0, "normals without deviation");
    }

    [Test]
    public void Keys_tell_sequences_apart()
    {
        Shape shape = new(10, 37);
        RandomKey[] keys = [new(1, 1, 1), new(2, 1, 1), new(1, 2, 1), new(1, 1, 2), new(1UL << 32 | 1, 1, 1), new(1, 1, 1UL << 32 | 1)];
        float[][] sequences = [.. keys.Select(key => Uniform(shape, key, 0, 1))];
        for (int i = 0; i < keys.Length; i++)
        {
            for (int j = 0; j < i; j++)
            {
                // 370 pairs of 24-bit numbers: a chance of one in 45,000 that any two are equal.
                Assert.That(sequences[i].Zip(sequences[j]).Count(pair => pair.First == pair.Second), Is.LessThan(2), $"{keys[i]} and {keys[j]}");
            }
        }
    }

    [Test]
    public void Uniforms_are_uniform()
    {
        float[] values = Uniform(new Shape(300, 333), Keys[1], -2, 6);
        double distance = values.Order().Select((value, i) => Math.Abs(ContinuousUniform.CDF(-2, 6, value) - (i + 0.5) / values.Length)).Max();

        // Kolmogorov and Smirnov: 1.63/√n is exceeded by one sample in a hundred.
        Assert.That(distance, Is.LessThan(1.63 / Math.Sqrt(values.Length)));
    }

    [Test]
    public void Dropout_zeroes_and_scales(
        [ValueSource(nameof(Extents))] int[] extents, [ValueSource(nameof(Keys))] RandomKey key, [Values(0, 0.1f, 0.5f, 0.875f)] float probability, [Values] GradientMode mode)
    {
        // 1/(1 − p) is a power of two but for 0.1, so that integers come out exactly. What is dropped may be anything, even what is not finite.
        Shape shape = new(extents);
        float[] x = RandomIntegers(shape.ElementCount, 1);
        float[] before = RandomIntegers(shape.ElementCount, 2);
        double[] uniform = RandomReference.Uniform(shape, key);
        double[] expected = [.. x.Select((value, i) => uniform[i] >= probability ? value / (1 - (double)probability) : 0)];
        for (int i = 0; i < x.Length; i += 3)
        {
            x[i] = uniform[i] >= probability ? x[i] : float.PositiveInfinity;
        }

        DeviceBuffer input = Upload(shape, x);
        float[] actual = Twice(() =>
        {
            DeviceBuffer output = Destination(shape, mode, before);
            Device.Random.Dropout(shape, key, probability, input, output, mode);
            return Download(shape, output);
        });
        AssertElements(actual, Combined(mode, before, expected), probability == 0.1f ? 3e-7 : 0, "y", 1);
    }

    [Test]
    public void Dropout_keeps_an_element_whose_uniform_is_the_probability()
    {
        Shape shape = new(3, 7);
        double[] uniform = RandomReference.Uniform(shape, Keys[1]);
        DeviceBuffer input = Upload(shape, [.. Enumerable.Repeat(1f, 21)]);
        for (int i = 0; i < 21; i++)
        {
            DeviceBuffer output = Poisoned(shape);
            Device.Random.Dropout(shape, Keys[1], (float)uniform[i], input, output, GradientMode.Overwrite);
            Assert.That(Download(shape, output).Select(value => value != 0), Is.EqualTo(uniform.Select(value => value >= uniform[i])), $"the probability of element {i}");
        }
    }

    [Test]
    public void Sizes_beyond_one_grid_stride([Values(7, 64)] int channels)
    {
        Shape shape = new(BeyondOneStride / channels, channels);
        double[] uniform = RandomReference.Uniform(shape, Keys[1]);
        AssertElements(Uniform(shape, Keys[1], 0, 1), uniform, 0, "uniforms");
        AssertElements(Normal(shape, Keys[1], 0, 1), RandomReference.Normal(shape, Keys[1]), 2e-6, "normals", 1);
        DeviceBuffer output = Poisoned(shape);
        Device.Random.Dropout(shape, Keys[1], 0.5f, Upload(shape, [.. Enumerable.Repeat(1f, uniform.Length)]), output, GradientMode.Overwrite);
        AssertElements(Download(shape, output), [.. uniform.Select(value => value >= 0.5 ? 2.0 : 0)], 0, "dropout");
    }

    private float[] Uniform(Shape shape, RandomKey key, float low, float high)
    {
        DeviceBuffer output = Poisoned(shape);
        Device.Random.Uniform(shape, key, low, high, output);
        return Download(shape, output);
    }

    private float[] Normal(Shape shape, RandomKey key, float mean, float standardDeviation)
    {
        DeviceBuffer output = Poisoned(shape);
        Device.Random.Normal(shape, key, mean, standardDeviation, output);
        return Download(shape, output);
    }
}
