using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Activation functions and their derivatives against MathNet's special functions, with every way of reporting activity.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class ActivationTests(string device) : KernelTest(device)
{
    private static readonly Activation[] Activations =
    [
        Activation.Identity, Activation.Relu, Activation.LeakyRelu(0.25f), Activation.LeakyRelu(), Activation.LeakyRelu(0), Activation.Gelu, Activation.Silu(), Activation.Silu(1.75f),
    ];

    private static readonly int[][] Extents = [[], [1], [3], [7], [37], [64], [1, 1, 1, 8], [2, 3, 3, 37], [700, 33], [1025, 16], [2, 20_001]];

    [Test]
    public void Forward_is_the_function([ValueSource(nameof(Activations))] Activation activation, [ValueSource(nameof(Extents))] int[] extents)
    {
        Shape shape = new(extents);
        float[] x = Inputs(shape.ElementCount, 1);
        DeviceBuffer input = Upload(shape, x);
        float[] actual = Twice(() =>
        {
            DeviceBuffer output = Poisoned(shape);
            Device.Activation.Forward(activation, shape, input, output, ActivityReport.None);
            return Download(shape, output);
        });
        AssertElements(actual, [.. x.Select(value => ActivationReference.Value(activation, value))], Tolerance(activation), $"{activation}", 1);
    }

    [Test]
    public void Backward_is_the_derivative([ValueSource(nameof(Activations))] Activation activation, [ValueSource(nameof(Extents))] int[] extents, [Values] GradientMode mode)
    {
        Shape shape = new(extents);
        float[] x = Inputs(shape.ElementCount, 1);
        float[] dy = RandomIntegers(shape.ElementCount, 2);
        float[] before = RandomIntegers(shape.ElementCount, 3);
        double[] gradient = [.. x.Zip(dy, (value, g) => g * ActivationReference.Derivative(activation, value))];
        DeviceBuffer input = Upload(shape, x);
        DeviceBuffer outputGradient = Upload(shape, dy);
        float[] actual = Twice(() =>
        {
            DeviceBuffer inputGradient = Destination(shape, mode, before);
            Device.Activation.Backward(activation, shape, input, outputGradient, inputGradient, mode);
            return Download(shape, inputGradient);
        });
        AssertElements(actual, Combined(mode, before, gradient), Tolerance(activation), $"{activation}", 3);
        if (mode == GradientMode.Overwrite)
        {
            Device.Activation.Backward(activation, shape, input, outputGradient, outputGradient, mode);
            Assert.That(Download(shape, outputGradient), Is.EqualTo(actual), "in the output gradient's place");
        }
    }

    [Test]
    public void Integers_come_out_exactly([Values(ActivationKind.Identity, ActivationKind.Relu, ActivationKind.LeakyRelu)] ActivationKind kind)
    {
        Activation activation = new(kind, 0.25f);
        Shape shape = new(30, 37);
        float[] x = RandomIntegers(shape.ElementCount, 1);
        float[] dy = RandomIntegers(shape.ElementCount, 2);
        DeviceBuffer input = Upload(shape, x);
        DeviceBuffer output = Poisoned(shape);
        Device.Activation.Forward(activation, shape, input, output, ActivityReport.None);
        AssertElements(Download(shape, output), [.. x.Select(value => ActivationReference.Value(activation, value))], 0, "y");
        Device.Activation.Backward(activation, shape, input, Upload(shape, dy), output, GradientMode.Overwrite);
        AssertElements(Download(shape, output), [.. x.Zip(dy, (value, g) => g * ActivationReference.Derivative(activation, value))], 0, "dx, with x = 0 among the inputs");
    }

    [Test]
    public void Saturation_is_reached_without_overflow([ValueSource(nameof(Activations))] Activation activation, [Values(50, 1000, 1e6f)] float x)
    {
        Shape shape = new(5);
        DeviceBuffer input = Upload(shape, [x, -x, x / 2, -x / 2, 0]);
        double[] values = [x, -x, x / 2, -x / 2, 0];
        DeviceBuffer output = Poisoned(shape);
        Device.Activation.Forward(activation, shape, input, output, ActivityReport.None);
        AssertElements(Download(shape, output), [.. values.Select(value => ActivationReference.Value(activation, value))], 1e-6, $"{activation}", 1e-3);
        Device.Activation.Backward(activation, shape, input, Upload(shape, [1, 1, 1, 1, 1]), output, GradientMode.Overwrite);
        AssertElements(Download(shape, output), [.. values.Select(value => ActivationReference.Derivative(activation, value))], 1e-6, $"the derivative of {activation}", 1e-3);
    }

    [Test]
    public void Activity_is_that_of_the_output(
        [ValueSource(nameof(Activations))] Activation activation, [Values(1, 3, 31, 32, 33, 37, 64, 100)] int channels, [Values(1, 700)] int rows, [Values] ActivityCriterion criterion,
        [Values(0, 0.25f)] float threshold, [Values] bool combine)
    {
        // One value in a random row is all that could make a channel active; the others are far below, for functions that tend to zero there.
        Shape shape = new(rows, channels);
        float[] x = [.. Enumerable.Repeat(activation.Kind is ActivationKind.Gelu or ActivationKind.Silu ? -30f : -0.25f, rows * channels)];
        Random random = new(channels + rows);
        float[] candidates = [0, -0f, 0.25f, -0.5f, MathF.BitIncrement(0.25f), MathF.BitDecrement(0.25f), 0.5f, 1e-30f, -1];
        for (int c = 0; c < channels; c++)
        {
            x[random.Next(rows) * channels + c] = candidates[random.Next(candidates.Length)];
        }

        const uint Before = 0x80000005;
        int words = ActivityReport.WordCount(channels);
        DeviceBuffer input = Upload(shape, x);
        float[] y = [];
        uint[] bits = Twice(() =>
        {
            DeviceBuffer output = Poisoned(shape);
            DeviceBuffer flags = UploadPacked<uint>([.. Enumerable.Repeat(combine ? Before : uint.MaxValue, words)]);
            Device.Activation.Forward(activation, shape, input, output, new ActivityReport(flags, criterion, threshold, combine));
            y = Download(shape, output);
            return DownloadPacked<uint>(flags, words);
        });
        AssertElements(y, [.. x.Select(value => ActivationReference.Value(activation, value))], Tolerance(activation), "y", 1);
        uint[] expected = ActivationReference.ActivityBits(channels, y, criterion, threshold);
        Assert.That(bits, Is.EqualTo(expected.Select(word => combine ? word | Before : word)), "bits of padding channels included");
    }

    [Test]
    public void Sizes_beyond_one_grid_stride()
    {
        Shape shape = new(BeyondOneStride / 37, 37);
        float[] x = [.. RandomIntegers(shape.ElementCount, 1).Select((value, i) => i % 37 == 30 ? -2 : value)];
        DeviceBuffer input = Upload(shape, x);
        DeviceBuffer output = Poisoned(shape);
        DeviceBuffer flags = PoisonedBytes(8);
        Device.Activation.Forward(Activation.Relu, shape, input, output, new ActivityReport(flags, ActivityCriterion.AboveThreshold, 0, false));
        AssertElements(Download(shape, output), [.. x.Select(value => (double)Math.Max(value, 0))], 0, "y");
        Assert.That(DownloadPacked<uint>(flags, 2), Is.EqualTo(new[] { ~(1u << 30), 0b11111u }));
        Device.Activation.Backward(Activation.Relu, shape, input, output, output, GradientMode.Overwrite);
        AssertElements(Download(shape, output), [.. x.Select(value => (double)Math.Max(value, 0))], 0, "dx");
    }

    // Rectifiers round once.
    private static double Tolerance(Activation activation) => activation.Kind is ActivationKind.Gelu or ActivationKind.Silu ? 1e-6 : 1e-7;

    /// <summary>Values in [−6, 6), zeros of both signs among them.</summary>
    private static float[] Inputs(long count, int seed)
    {
        float[] x = [.. RandomValues(count, seed).Select(value => 6 * value)];
        if (x.Length > 4)
        {
            (x[2], x[4]) = (0, -0f);
        }

        return x;
    }
}
