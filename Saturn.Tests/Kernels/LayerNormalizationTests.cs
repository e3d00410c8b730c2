using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Layer normalization against its formulas in double precision, with and without each of its parameters and gradients.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class LayerNormalizationTests(string device) : KernelTest(device)
{
    private const float Epsilon = 1e-5f;

    [Test]
    public void Forward_is_the_formula([Values(1, 5, 700)] int rows, [Values(1, 3, 7, 8, 37, 64, 1000)] int channels, [Values] bool withGamma, [Values] bool withBeta)
    {
        rows = Math.Min(rows, 100_000 / channels);

        // Away from zero, so that the mean matters.
        float[] x = [.. RandomValues((long)rows * channels).Select(value => value + 0.5f)];
        CheckForward(rows, channels, x, withGamma ? RandomValues(channels, 4) : null, withBeta ? RandomValues(channels, 5) : null, 3e-6);
    }

    [Test]
    public void Rows_far_from_zero_stay_accurate([Values(3, 37, 1000)] int channels)
    {
        // The mean itself is rounded to 3e−5 as float32; a variance from Σx² − n·mean² would be noise.
        float[] x = [.. RandomValues(40L * channels).Select((value, i) => 1000 + (i % channels == 0 ? 1 : value))];
        CheckForward(40, channels, x, null, null, 2e-4);
    }

    [Test]
    public void Constant_rows_become_beta([Values(1, 3, 7, 37, 64)] int channels)
    {
        Shape shape = new(9, channels);
        float[] beta = RandomValues(channels, 5);
        DeviceBuffer output = Poisoned(shape);
        Device.Normalization.LayerForward(
            9, channels, Epsilon, Upload(shape, [.. Enumerable.Range(0, 9 * channels).Select(i => (float)(i / channels - 4))]), Upload(new Shape(channels), RandomValues(channels, 4)),
            Upload(new Shape(channels), beta), output, PoisonedBytes(9 * 2 * sizeof(float)));
        AssertElements(Download(shape, output), [.. Enumerable.Range(0, 9 * channels).Select(i => (double)beta[i % channels])], 0, "y");
    }

    [Test]
    public void Backward_is_the_formula(
        [Values(1, 5, 700)] int rows, [Values(1, 3, 7, 8, 37, 64, 1000)] int channels, [Values] bool withGamma, [Values] GradientMode inputMode, [Values] GradientMode parameterMode)
    {
        rows = Math.Min(rows, 100_000 / channels);
        Case data = new(this, rows, channels, withGamma, 3);
        float[] dx = [], dGamma = [], dBeta = [];
        _ = Twice(() =>
        {
            DeviceBuffer inputGradient = Destination(data.Shape, inputMode, data.Before);
            DeviceBuffer gammaGradient = Destination(data.Parameter, parameterMode, data.Before.AsSpan(0, channels));
            DeviceBuffer betaGradient = Destination(data.Parameter, parameterMode, data.Before.AsSpan(0, channels));
            Device.Normalization.LayerBackward(
                rows, channels, data.Input, data.Gamma, data.Saved, data.OutputGradient, inputGradient, inputMode, gammaGradient, betaGradient, parameterMode);
            dx = Download(data.Shape, inputGradient);
            dGamma = Download(data.Parameter, gammaGradient);
            dBeta = Download(data.Parameter, betaGradient);
            return (float[])[.. dx, .. dGamma, .. dBeta];
        });

        float[] parameterBefore = data.Before[..channels];
        AssertClose(dx, Combined(inputMode, data.Before, data.Expected.Input), channels == 1 ? 1e-30 : 5e-6, "dx");
        AssertElements(dGamma, Combined(parameterMode, parameterBefore, data.Expected.Gamma), 5e-6, "dγ", Math.Sqrt(rows));
        AssertElements(dBeta, Combined(parameterMode, parameterBefore, data.Expected.Beta), 0, "dβ of integers");
    }

    [Test]
    public void Gradients_that_nobody_wants_are_left_out([Values("input", "gamma", "beta")] string wanted, [Values] GradientMode mode)
    {
        Case data = new(this, 50, 37, true, 6);
        Shape shape = wanted == "input" ? data.Shape : data.Parameter;
        float[] before = data.Before[..(int)shape.ElementCount];
        DeviceBuffer gradient = Destination(shape, mode, before);
        Device.Normalization.LayerBackward(
            50, 37, data.Input, data.Gamma, data.Saved, data.OutputGradient, wanted == "input" ? gradient : DeviceBuffer.None, mode, wanted == "gamma" ? gradient : DeviceBuffer.None,
            wanted == "beta" ? gradient : DeviceBuffer.None, mode);
        double[] expected = wanted == "input" ? data.Expected.Input : wanted == "gamma" ? data.Expected.Gamma : data.Expected.Beta;
        AssertClose(Download(shape, gradient), Combined(mode, before, expected), 5e-6, wanted);
    }

    [Test]
    public void Sizes_beyond_one_grid_stride()
    {
        // A row is at least a warp's work.
        const int Channels = 3;
        int rows = BeyondOneStride / 32;
        CheckForward(rows, Channels, [.. RandomValues((long)rows * Channels).Select((value, i) => value + 2 * (i % Channels))], RandomValues(Channels, 4), RandomValues(Channels, 5), 1e-5);
        Case data = new(this, rows, Channels, true, 9);
        DeviceBuffer inputGradient = Poisoned(data.Shape);
        DeviceBuffer betaGradient = Poisoned(data.Parameter);
        Device.Normalization.LayerBackward(
            rows, Channels, data.Input, data.Gamma, data.Saved, data.OutputGradient, inputGradient, GradientMode.Overwrite, DeviceBuffer.None, betaGradient, GradientMode.Overwrite);
        AssertClose(Download(data.Shape, inputGradient), data.Expected.Input, 5e-6, "dx");
        AssertElements(Download(data.Parameter, betaGradient), data.Expected.Beta, 0, "dβ");
    }

    private void CheckForward(int rows, int channels, float[] x, float[]? gamma, float[]? beta, double tolerance)
    {
        Shape shape = new(rows, channels);
        Shape parameter = new(channels);
        DeviceBuffer input = Upload(shape, x);
        DeviceBuffer gammaBuffer = gamma is null ? DeviceBuffer.None : Upload(parameter, gamma);
        DeviceBuffer betaBuffer = beta is null ? DeviceBuffer.None : Upload(parameter, beta);
        float[] saved = [], y = [];
        _ = Twice(() =>
        {
            DeviceBuffer output = Poisoned(shape);
            DeviceBuffer statistics = PoisonedBytes(rows * 2L * sizeof(float));
            Device.Normalization.LayerForward(rows, channels, Epsilon, input, gammaBuffer, betaBuffer, output, statistics);
            saved = DownloadPacked<float>(statistics, rows * 2);
            y = Download(shape, output);
            return (float[])[.. y, .. saved];
        });
        AssertElements(y, LayerNormalizationReference.Forward(channels, Epsilon, x, gamma, beta), tolerance, "y", 1);
        var expected = LayerNormalizationReference.Statistics(channels, Epsilon, x);
        AssertElements([.. saved.Where((_, i) => i % 2 == 0)], [.. expected.Select(value => value.Mean)], 2e-7, "mean", 1);
        AssertElements([.. saved.Where((_, i) => i % 2 == 1)], [.. expected.Select(value => value.InverseStd)], 1e-5, "1/√(variance + ε)");
    }

    /// <summary>Inputs of a backward pass with the statistics that a forward pass would have saved, as float32, and what is to come out.</summary>
    private sealed class Case
    {
        public Case(LayerNormalizationTests test, int rows, int channels, bool withGamma, int seed)
        {
            Shape = new(rows, channels);
            Parameter = new(channels);
            float[] x = [.. RandomValues(Shape.ElementCount, seed).Select((value, i) => value + i % channels % 3)];
            float[] dy = RandomIntegers(Shape.ElementCount, seed + 1);
            float[]? gamma = withGamma ? RandomValues(channels, seed + 2) : null;
            Before = RandomIntegers(Math.Max(Shape.ElementCount, channels), seed + 3);
            float[] saved = [.. LayerNormalizationReference.Statistics(channels, Epsilon, x).SelectMany(value => new[] { (float)value.Mean, (float)value.InverseStd })];
            Expected = LayerNormalizationReference.Backward(channels, [.. saved.Chunk(2).Select(pair => ((double)pair[0], (double)pair[1]))], x, gamma, dy);
            Input = test.Upload(Shape, x);
            OutputGradient = test.Upload(Shape, dy);
            Gamma = gamma is null ? DeviceBuffer.None : test.Upload(Parameter, gamma);
            Saved = test.UploadPacked<float>(saved);
        }

        public Shape Shape { get; }

        public Shape Parameter { get; }

        public DeviceBuffer Input { get; }

        public DeviceBuffer OutputGradient { get; }

        public DeviceBuffer Gamma { get; }

        public DeviceBuffer Saved { get; }

        /// <summary>What the destinations hold in <see cref="GradientMode.Accumulate"/>.</summary>
        public float[] Before { get; }

        public (double[] Input, double[] Gamma, double[] Beta) Expected { get; }
    }
}
