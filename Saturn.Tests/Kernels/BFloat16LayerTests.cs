using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Normalization, activation and pooling over bfloat16 against the double-precision references on inputs that are rounded beforehand: each result is off by one rounding of its own at most.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.DriverNames))]
public sealed class BFloat16LayerTests(string device) : BFloat16Test(device)
{
    private const double Epsilon = 1e-5;

    // Near cancellation float32 arithmetic adds a little to the rounding.
    private const double Tolerance = 1.01 * OneRounding;
    private const double Floor = 1e-3;

    private static readonly Activation[] Activations = [Activation.Identity, Activation.Relu, Activation.LeakyRelu(0.25f), Activation.Gelu, Activation.Silu(1.75f)];

    private static readonly PoolingShape[] Shapes =
    [
        new(1, 1, 1, 1, 1, 1, 1, 1), new(2, 6, 7, 7, 3, 3, 2, 2, 1, 1), new(3, 8, 8, 37, 2, 2, 2, 2), new(2, 9, 8, 8, 3, 3, 1, 1, 1, 1), new(1, 7, 5, 37, 3, 2, 1, 2, 1, 0),
        new(2, 10, 10, 3, 2, 2, 3, 4), new(17, 16, 16, 20, 3, 3, 2, 2, 1, 1),
    ];

    [Test]
    public void Normalization_is_the_formula(
        [Values("1100 1", "1100 3", "2 7", "1100 37", "1100 70", "150 520")] string sizes, [Values("plain", "residual", "mapped")] string sum, [Values] bool leaky, [Values] GradientMode mode)
    {
        int[] n = [.. sizes.Split(' ').Select(int.Parse)];
        (int rows, int channels) = (n[0], n[1]);
        Shape shape = new(rows, channels);
        Shape vector = new(channels);
        int shortcutChannels = sum == "mapped" ? channels + 2 : channels;
        Shape shortcutShape = new(rows, shortcutChannels);
        float[] x = [.. RandomValues(shape.ElementCount, 1).Select(value => Round(value + 0.5f))];
        float[] shortcut = RoundValues(shortcutShape.ElementCount, 2);
        float[] dy = RoundValues(shape.ElementCount, 3);
        float[] gamma = RandomValues(channels, 4);
        float[] beta = RandomValues(channels, 5);
        float[] before = RoundValues(shortcutShape.ElementCount, 6);
        int[] map = [.. Enumerable.Range(0, channels).Select(c => sum != "mapped" ? c : c % 3 == 1 ? -1 : c + 2)];
        int[] inverse = [.. Enumerable.Range(0, shortcutChannels).Select(s => Array.IndexOf(map, s))];
        NormalizationReference expected = new(x, gamma, beta, sum == "plain" ? null : shortcut, map, leaky ? 0.1f : 0, dy, Epsilon);
        BatchNormShape norm = new(rows, channels, (float)Epsilon, 0.1f);
        NormalizationEpilogue epilogue = new(
            leaky ? Activation.LeakyRelu(0.1f) : Activation.Relu, sum == "plain" ? default : UploadReduced(shortcutShape, shortcut), sum == "plain" ? 0 : shortcutChannels,
            sum == "mapped" ? UploadPacked<int>(map) : default, sum == "mapped" ? UploadPacked<int>(inverse) : default);

        int pitch = shape.Pitch;
        DeviceBuffer input = UploadReduced(shape, x);
        DeviceBuffer moments = PoisonedBytes(2 * pitch * sizeof(double));
        DeviceBuffer saved = Poisoned(new Shape(4, pitch));
        DeviceBuffer output = PoisonedReduced(shape);
        DeviceBuffer flags = PoisonedBytes(4 * ActivityReport.WordCount(channels));
        Device.Normalization.BatchMoments(rows, channels, input, moments);
        Device.Normalization.PrepareTraining(
            norm, BatchStatistics.Moments, moments, Upload(vector, gamma), Upload(vector, beta), default, default, saved, epilogue.Activation, ActivityReport.None);
        Device.Normalization.Apply(norm, epilogue, input, saved, output, new ActivityReport(flags, ActivityCriterion.AboveThreshold, 0, false));
        float[] y = DownloadReduced(shape, output);
        AssertElements(y, expected.Output, Tolerance, "y", Floor);
        Assert.That(
            DownloadPacked<uint>(flags, ActivityReport.WordCount(channels)), Is.EqualTo(ActivationReference.ActivityBits(channels, y, ActivityCriterion.AboveThreshold, 0)), "activity");

        DeviceBuffer gammaGradient = Poisoned(vector);
        DeviceBuffer betaGradient = Poisoned(vector);
        float[] shortcutGradient = [];
        float[] dx = Twice(() =>
        {
            DeviceBuffer gradient = UploadReduced(shape, dy);
            DeviceBuffer residual = sum == "plain" ? default : DestinationReduced(shortcutShape, mode, before);
            Device.Normalization.BatchBackward(
                norm, epilogue, true, input, saved, output, gradient, gammaGradient, betaGradient, GradientMode.Overwrite, gradient, residual, mode);
            shortcutGradient = sum == "plain" ? [] : DownloadReduced(shortcutShape, residual);
            return DownloadReduced(shape, gradient);
        });
        AssertClose(Download(vector, gammaGradient), expected.GammaGradient, 1e-5, "dγ");
        AssertClose(Download(vector, betaGradient), expected.BetaGradient, 1e-5, "dβ");
        AssertElements(dx, expected.InputGradient, Tolerance, "dx, in the output gradient's place", rows == 2 ? 1 : 1e-2);
        if (sum != "plain")
        {
            AssertElements(shortcutGradient, Combined(mode, before, expected.ShortcutGradient), Tolerance, "the shortcut's gradient", Floor);
        }
    }

    [Test]
    public void Activations_are_their_functions([ValueSource(nameof(Activations))] Activation activation, [Values(1, 3, 7, 37, 64, 520)] int channels, [Values(1, 700)] int rows, [Values] GradientMode mode)
    {
        Shape shape = new(channels > 100 ? 3 : rows, channels);
        float[] x = [.. RandomValues(shape.ElementCount, 1).Select(value => Round(6 * value))];
        float[] dy = RoundValues(shape.ElementCount, 2);
        float[] before = RoundValues(shape.ElementCount, 3);
        DeviceBuffer input = UploadReduced(shape, x);
        DeviceBuffer outputGradient = UploadReduced(shape, dy);
        int words = ActivityReport.WordCount(channels);
        DeviceBuffer flags = PoisonedBytes(4 * words);
        float[] y = Twice(() =>
        {
            DeviceBuffer output = PoisonedReduced(shape);
            Device.Activation.Forward(activation, shape, input, output, new ActivityReport(flags, ActivityCriterion.MagnitudeAtLeastThreshold, 0.01f, false));
            return DownloadReduced(shape, output);
        });
        AssertElements(y, [.. x.Select(value => ActivationReference.Value(activation, value))], Tolerance, $"{activation}", Floor);
        Assert.That(DownloadPacked<uint>(flags, words), Is.EqualTo(ActivationReference.ActivityBits(channels, y, ActivityCriterion.MagnitudeAtLeastThreshold, 0.01f)), "activity of what is stored");
        float[] dx = Twice(() =>
        {
            DeviceBuffer inputGradient = DestinationReduced(shape, mode, before);
            Device.Activation.Backward(activation, shape, input, outputGradient, inputGradient, mode);
            return DownloadReduced(shape, inputGradient);
        });
        AssertElements(dx, Combined(mode, before, [.. x.Zip(dy, (value, g) => g * ActivationReference.Derivative(activation, value))]), Tolerance, "dx", Floor);
    }

    [Test]
    public void Pooling_is_the_definition([ValueSource(nameof(Shapes))] PoolingShape shape, [Values] bool countPadding, [Values] GradientMode mode)
    {
        float[] x = RoundValues(shape.Input.ElementCount, 1);
        float[] dy = RoundValues(shape.Output.ElementCount, 2);
        float[] before = RoundValues(shape.Input.ElementCount, 3);
        DeviceBuffer input = UploadReduced(shape.Input, x);
        DeviceBuffer outputGradient = UploadReduced(shape.Output, dy);
        (double[] largest, int[] places) = PoolingReference.MaximumForward(shape, x);
        DeviceBuffer winners = PoisonedBytes(4 * shape.Output.StorageCount);
        AssertElements(Run(shape.Output, output => Device.Pooling.MaximumForward(shape, input, output, winners)), largest, 0, "maxima");
        AssertElements(
            Run(shape.Input, gradient => Device.Pooling.MaximumBackward(shape, winners, outputGradient, gradient, mode), mode, before),
            Combined(mode, before, PoolingReference.MaximumBackward(shape, places, dy)), Tolerance, "gradients of maxima", Floor);
        AssertElements(
            Run(shape.Output, output => Device.Pooling.AverageForward(shape, countPadding, input, output)), PoolingReference.AverageForward(shape, countPadding, x), Tolerance, "averages", Floor);
        AssertElements(
            Run(shape.Input, gradient => Device.Pooling.AverageBackward(shape, countPadding, outputGradient, gradient, mode), mode, before),
            Combined(mode, before, PoolingReference.AverageBackward(shape, countPadding, dy)), Tolerance, "gradients of averages", Floor);
    }

    [Test]
    public void Global_averages_are_float32([Values("1 1", "3 64", "70 16")] string sizes, [Values(1, 3, 7, 37, 64)] int channels, [Values] GradientMode mode)
    {
        int[] n = [.. sizes.Split(' ').Select(int.Parse)];
        Shape images = new(n[0], n[1], channels);
        Shape means = new(n[0], channels);
        float[] x = RoundValues(images.ElementCount, 1);
        float[] dy = RandomValues(means.ElementCount, 2);
        float[] before = RoundValues(images.ElementCount, 3);
        DeviceBuffer output = Poisoned(means);
        Device.Pooling.GlobalAverageForward(n[0], n[1], channels, UploadReduced(images, x), output);
        double[] mean = new double[means.ElementCount];
        for (int i = 0; i < x.Length; i++)
        {
            mean[i / channels / n[1] * channels + i % channels] += (double)x[i] / n[1];
        }

        AssertElements(Download(means, output), mean, 1e-5, "means", 0.1);
        double[] gradient = [.. Enumerable.Range(0, x.Length).Select(i => (double)dy[i / channels / n[1] * channels + i % channels] / n[1])];
        AssertElements(
            Run(images, destination => Device.Pooling.GlobalAverageBackward(n[0], n[1], channels, Upload(means, dy), destination, mode), mode, before), Combined(mode, before, gradient),
            Tolerance, "gradient", Floor);
        Assert.That(
            () => Device.Pooling.GlobalAverageForward(n[0], n[1], channels, UploadReduced(images, x), PoisonedReduced(means)), Throws.ArgumentException.With.Message.Contains("float32 only"));
    }

    private float[] Run(Shape shape, Action<DeviceBuffer> call, GradientMode mode = GradientMode.Overwrite, float[]? before = null) => Twice(() =>
    {
        DeviceBuffer output = DestinationReduced(shape, mode, before ?? []);
        call(output);
        return DownloadReduced(shape, output);
    });
}
