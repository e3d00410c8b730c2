using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Kernels;

/// <summary>Batch normalization, residual sum and activation against their formulas in double precision, with the activity bits.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class NormalizationTests(string device) : KernelTest(device)
{
    private const int Rows = 1100;
    private const double Epsilon = 1e-5;

    [Test]
    public void Forward_and_backward_are_the_formula([Values(1, 3, 7, 16, 37, 70)] int channels, [Values("plain", "residual", "mapped")] string sum, [Values] bool leaky)
    {
        Shape shape = new(Rows, channels);
        int shortcutChannels = sum == "mapped" ? channels + 2 : channels;
        Shape shortcutShape = new(Rows, shortcutChannels);
        // Away from zero, so that the mean's relative error says something.
        float[] x = [.. RandomValues(shape.ElementCount, 1).Select(value => value + 0.5f)];
        float[] shortcut = RandomValues(shortcutShape.ElementCount, 2);
        float[] dy = RandomValues(shape.ElementCount, 3);
        float[] gamma = RandomValues(channels, 4);
        float[] beta = RandomValues(channels, 5);
        int[] map = [.. Enumerable.Range(0, channels).Select(c => sum != "mapped" ? c : c % 3 == 1 ? -1 : c + 2)];
        int[] inverse = [.. Enumerable.Range(0, shortcutChannels).Select(s => Array.IndexOf(map, s))];
        Activation activation = leaky ? Activation.LeakyRelu(0.1f) : Activation.Relu;
        BatchNormShape norm = new(Rows, channels, (float)Epsilon, 0.1f);
        NormalizationEpilogue epilogue = new(
            activation, sum == "plain" ? default : Upload(shortcutShape, shortcut), sum == "plain" ? 0 : shortcutChannels,
            sum == "mapped" ? UploadPacked<int>(map) : default, sum == "mapped" ? UploadPacked<int>(inverse) : default);

        int pitch = shape.Pitch;
        DeviceBuffer input = Upload(shape, x);
        DeviceBuffer moments = PoisonedBytes(2 * pitch * sizeof(double));
        DeviceBuffer saved = Poisoned(new Shape(4, pitch));
        DeviceBuffer runningMean = Upload(new Shape(channels), new float[channels]);
        DeviceBuffer runningVariance = Upload(new Shape(channels), Enumerable.Repeat(1f, channels).ToArray());
        DeviceBuffer output = Poisoned(shape);
        DeviceBuffer flags = PoisonedBytes(4 * ActivityReport.WordCount(channels));
        Device.Normalization.BatchMoments(Rows, channels, input, moments);
        bool reported = Device.Normalization.PrepareTraining(
            norm, BatchStatistics.Moments, moments, Upload(new Shape(channels), gamma), Upload(new Shape(channels), beta), runningMean, runningVariance, saved, activation,
            new ActivityReport(flags, ActivityCriterion.AboveThreshold, 0, false));
        Assert.That(reported, Is.False, "moments say nothing about activity");
        Device.Normalization.Apply(norm, epilogue, input, saved, output, new ActivityReport(flags, ActivityCriterion.AboveThreshold, 0, false));

        // The reference.
        double[] mean = new double[channels], variance = new double[channels], dgamma = new double[channels], dbeta = new double[channels];
        for (int c = 0; c < channels; c++)
        {
            double[] column = [.. Enumerable.Range(0, Rows).Select(row => (double)x[row * channels + c])];
            mean[c] = column.Average();
            variance[c] = column.Average(value => (value - mean[c]) * (value - mean[c]));
        }

        double[] y = new double[x.Length], dz = new double[x.Length], dx = new double[x.Length], dShortcut = new double[shortcut.Length];
        for (int i = 0; i < x.Length; i++)
        {
            int c = i % channels;
            double normal = (x[i] - mean[c]) / Math.Sqrt(variance[c] + Epsilon);
            double z = gamma[c] * normal + beta[c] + (sum == "plain" || map[c] < 0 ? 0 : shortcut[i / channels * shortcutChannels + map[c]]);
            y[i] = z > 0 ? z : leaky ? 0.1f * z : 0;
            dz[i] = z > 0 ? dy[i] : leaky ? 0.1f * dy[i] : 0;
            dgamma[c] += dz[i] * normal;
            dbeta[c] += dz[i];
            if (sum != "plain" && map[c] >= 0)
            {
                dShortcut[i / channels * shortcutChannels + map[c]] = dz[i];
            }
        }

        for (int i = 0; i < x.Length; i++)
        {
            int c = i % channels;
            double inverseStd = 1 / Math.Sqrt(variance[c] + Epsilon);
            dx[i] = gamma[c] * inverseStd * (dz[i] - dbeta[c] / Rows - (x[i] - mean[c]) * inverseStd * dgamma[c] / Rows);
        }

        AssertClose(Download(shape, output), y, 2e-6, "y");
        AssertClose(Download(new Shape(channels), runningMean), [.. mean.Select(value => 0.1 * value)], 1e-5, "running mean");
        AssertClose(Download(new Shape(channels), runningVariance), [.. variance.Select(value => 0.9 + 0.1 * value * Rows / (Rows - 1))], 1e-6, "running variance");
        uint[] words = DownloadPacked<uint>(flags, ActivityReport.WordCount(channels));
        for (int bit = 0; bit < words.Length * 32; bit++)
        {
            bool active = bit < channels && Enumerable.Range(0, Rows).Any(row => y[row * channels + bit] > 0);
            Assert.That((words[bit / 32] >> (bit % 32) & 1) != 0, Is.EqualTo(active), $"activity bit {bit}");
        }

        DeviceBuffer gradient = Upload(shape, dy);
        DeviceBuffer gammaGradient = Poisoned(new Shape(channels));
        DeviceBuffer betaGradient = Poisoned(new Shape(channels));
        DeviceBuffer shortcutGradient = sum == "plain" ? default : Poisoned(shortcutShape);
        Device.Normalization.BatchBackward(
            norm, epilogue, true, input, saved, output, gradient, gammaGradient, betaGradient, GradientMode.Overwrite, gradient, shortcutGradient, GradientMode.Overwrite);
        AssertClose(Download(new Shape(channels), gammaGradient), dgamma, 1e-5, "dγ");
        AssertClose(Download(new Shape(channels), betaGradient), dbeta, 1e-5, "dβ");
        AssertClose(Download(shape, gradient), dx, 2e-5, "dx, in the output gradient's place");
        if (sum != "plain")
        {
            AssertClose(Download(shortcutShape, shortcutGradient), dShortcut, 1e-6, "the shortcut's gradient");
        }
    }

    [Test]
    public void Moments_far_from_zero_stay_accurate()
    {
        Shape shape = new(5000, 5);
        float[] x = [.. RandomValues(shape.ElementCount).Select(value => 1000 + value)];
        DeviceBuffer moments = PoisonedBytes(2 * shape.Pitch * sizeof(double));
        Device.Normalization.BatchMoments(5000, 5, Upload(shape, x), moments);
        double[] values = DownloadPacked<double>(moments, 2 * shape.Pitch);
        for (int c = 0; c < 5; c++)
        {
            double[] column = [.. Enumerable.Range(0, 5000).Select(row => (double)x[row * 5 + c])];
            double mean = column.Average();
            Assert.That(values[c], Is.EqualTo(mean).Within(1e-6 * mean));
            Assert.That(values[shape.Pitch + c], Is.EqualTo(column.Sum(value => (value - mean) * (value - mean))).Within(0.01).Percent);
        }
    }

    [Test]
    public void Activity_combines_over_batches_and_nan_counts_as_active()
    {
        Shape shape = new(2, 3);
        DeviceBuffer flags = PoisonedBytes(4);
        Device.Census.Flag(2, 3, Upload(shape, [-1, 0, 2, -1, 0, -3]), new ActivityReport(flags, ActivityCriterion.AboveThreshold, 0, false));
        Assert.That(DownloadPacked<uint>(flags, 1)[0], Is.EqualTo(0b100u));
        Device.Census.Flag(2, 3, Upload(shape, [5, 0, 0, 0, float.NaN, 0]), new ActivityReport(flags, ActivityCriterion.AboveThreshold, 0, true));
        Assert.That(DownloadPacked<uint>(flags, 1)[0], Is.EqualTo(0b111u));
    }
}
