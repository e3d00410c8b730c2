using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Softmax and softmax cross entropy against their formulas in double precision: label smoothing, ties, logits far from zero, both gradient modes.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class LossTests(string device) : KernelTest(device)
{
    private static readonly (int Rows, int Classes)[] Sizes =
        [(1, 1), (1, 3), (1, 10), (3, 7), (5, 8), (130, 10), (128, 37), (3000, 10), (700, 64), (33, 100), (2, 1000), (3, 20_000), (7000, 3)];

    [Test]
    public void Cross_entropy_is_the_formula([ValueSource(nameof(Sizes))] (int Rows, int Classes) size, [Values(0, 0.125f)] float smoothing, [Values] bool integers)
    {
        // Integers tie often: then the first of the largest counts.
        Shape shape = new(size.Rows, size.Classes);
        float[] logits = integers ? RandomIntegers(shape.ElementCount) : [.. RandomValues(shape.ElementCount).Select(value => 6 * value)];
        CheckForward(shape, logits, Labels(size.Rows, size.Classes, logits), smoothing);
    }

    [Test]
    public void Logits_may_be_large([Values(100, 10_000, 1e6f)] float scale, [Values(0, 0.125f)] float smoothing)
    {
        // All that matters is a row's differences; here they reach from small to large while the values are far from zero.
        Shape shape = new(24, 10);
        float[] steps = RandomIntegers(shape.ElementCount, range: 4);
        int[] labels = Labels(24, 10, steps);
        CheckForward(shape, [.. steps.Select(value => scale + value)], labels, smoothing);
        CheckForward(shape, [.. steps.Select(value => value - scale)], labels, smoothing);
        CheckForward(shape, [.. steps.Select(value => scale * value)], labels, smoothing);
    }

    [Test]
    public void Cross_entropy_gradients_are_the_formula(
        [ValueSource(nameof(Sizes))] (int Rows, int Classes) size, [Values(0, 0.125f)] float smoothing, [Values(1, -0.75f)] float lossGradient, [Values] GradientMode mode)
    {
        Shape shape = new(size.Rows, size.Classes);
        float[] logits = [.. RandomValues(shape.ElementCount).Select(value => 6 * value)];
        float[] probabilities = [.. LossReference.Softmax(size.Classes, logits).Select(value => (float)value)];
        int[] labels = Labels(size.Rows, size.Classes, logits);
        float[] before = RandomValues(shape.ElementCount, 3);
        float[] actual = Backward(shape, smoothing, probabilities, labels, lossGradient, mode, before);
        double[] gradient = LossReference.CrossEntropyGradient(size.Classes, smoothing, probabilities, labels, lossGradient);

        // p − 1 is exact to a last bit of 1; what is added to is rounded once more.
        AssertElements(actual, Combined(mode, before, gradient), 3e-7, "dx", mode == GradientMode.Accumulate ? 1 : Math.Abs(lossGradient) / size.Rows);
    }

    [Test]
    public void Cross_entropy_gradients_of_binary_fractions_are_exact([Values] GradientMode mode)
    {
        Shape shape = new(64, 8);
        float[] probabilities = [.. RandomIntegers(shape.ElementCount, 1, 4).Select(value => (value + 4) / 8)];
        int[] labels = [.. Enumerable.Range(0, 64).Select(row => row * 5 % 8)];
        float[] before = RandomIntegers(shape.ElementCount, 3);
        float[] actual = Backward(shape, 0, probabilities, labels, 2, mode, before);
        AssertElements(actual, Combined(mode, before, LossReference.CrossEntropyGradient(8, 0, probabilities, labels, 2)), 0, "dx");
    }

    [Test]
    public void Labels_out_of_range_are_found([Values(-1, 10, int.MaxValue)] int label)
    {
        Shape shape = new(3, 10);
        DeviceBuffer logits = Upload(shape, RandomValues(30));
        DeviceBuffer labels = UploadPacked<int>([0, label, 9]);
        DeviceBuffer loss = UploadPacked<float>([0]);
        DeviceBuffer probabilities = Poisoned(shape);
        if (Device.Kind == DeviceKind.Cpu)
        {
            Assert.That(
                () => Device.Loss.SoftmaxCrossEntropyForward(3, 10, 0, logits, labels, loss, probabilities, DeviceBuffer.None),
                Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains($"{label}"));
        }
        else
        {
            Device.Loss.SoftmaxCrossEntropyForward(3, 10, 0, logits, labels, loss, probabilities, DeviceBuffer.None);
            Assert.That(DownloadPacked<float>(loss, 1)[0], Is.NaN);
        }
    }

    [Test]
    public void Softmax_is_the_formula([ValueSource(nameof(Sizes))] (int Rows, int Classes) size, [Values(6, 1000)] float scale)
    {
        Shape shape = new(size.Rows, size.Classes);
        float[] x = [.. RandomValues(shape.ElementCount).Select(value => scale * value)];
        DeviceBuffer input = Upload(shape, x);
        float[] actual = Twice(() =>
        {
            DeviceBuffer output = Poisoned(shape);
            Device.Loss.SoftmaxForward(size.Rows, size.Classes, input, output);
            return Download(shape, output);
        });
        AssertElements(actual, LossReference.Softmax(size.Classes, x), 2e-6, "y", 1e-4);
        Assert.That(actual.Chunk(size.Classes).Select(row => row.Sum(value => (double)value)), Is.All.EqualTo(1).Within(1e-5));
    }

    [Test]
    public void Softmax_gradients_are_the_formula([ValueSource(nameof(Sizes))] (int Rows, int Classes) size, [Values] GradientMode mode)
    {
        Shape shape = new(size.Rows, size.Classes);
        float[] y = [.. LossReference.Softmax(size.Classes, [.. RandomValues(shape.ElementCount).Select(value => 6 * value)]).Select(value => (float)value)];
        float[] dy = RandomValues(shape.ElementCount, 2);
        float[] before = RandomValues(shape.ElementCount, 3);
        AssertElements(SoftmaxBackward(shape, y, dy, mode, before), Combined(mode, before, Gradient(size.Classes, y, dy)), 5e-7, "dx", 1);
        if (mode == GradientMode.Overwrite)
        {
            AssertClose(SoftmaxBackward(shape, y, dy, mode, before), Gradient(size.Classes, y, dy), size.Classes == 1 ? 1 : 2e-6, "dx");
        }
    }

    [Test]
    public void Softmax_gradients_of_binary_fractions_are_exact([Values(1, 3, 7, 37, 64)] int classes, [Values] GradientMode mode)
    {
        Shape shape = new(50, classes);
        float[] y = [.. RandomIntegers(shape.ElementCount, 1, 4).Select(value => (value + 4) / 8)];
        float[] dy = RandomIntegers(shape.ElementCount, 2);
        float[] before = RandomIntegers(shape.ElementCount, 3);
        AssertElements(SoftmaxBackward(shape, y, dy, mode, before), Combined(mode, before, Gradient(classes, y, dy)), 0, "dx");
    }

    [Test]
    public void Sizes_beyond_one_grid_stride()
    {
        // A row may be as little as a thread's or a warp's work.
        int rows = BeyondOneStride / 8;
        Shape shape = new(rows, 3);
        float[] logits = RandomIntegers(shape.ElementCount);
        int[] labels = Labels(rows, 3, logits);
        CheckForward(shape, logits, labels, 0);
        float[] probabilities = [.. LossReference.Softmax(3, logits).Select(value => (float)value)];
        float[] dx = Backward(shape, 0, probabilities, labels, rows, GradientMode.Overwrite, []);
        AssertElements(dx, LossReference.CrossEntropyGradient(3, 0, probabilities, labels, rows), 3e-7, "dx", 1);
    }

    /// <summary>Labels that are the largest logit's in every other row, so that some are right whatever the classes.</summary>
    private static int[] Labels(int rows, int classes, float[] logits) => [.. Enumerable.Range(0, rows).Select(row =>
    {
        float[] x = logits[(row * classes)..((row + 1) * classes)];
        return row % 2 == 0 ? Array.IndexOf(x, x.Max()) : row * 7 % classes;
    })];

    private static double[] Gradient(int classes, float[] y, float[] dy) => LossReference.SoftmaxBackward(classes, y, dy);

    private void CheckForward(Shape shape, float[] logits, int[] labels, float smoothing)
    {
        (int rows, int classes) = (shape.Rows, shape.Channels);
        DeviceBuffer x = Upload(shape, logits);
        DeviceBuffer labelBuffer = UploadPacked<int>(labels);
        int right = -1;
        float[] values = Twice(() =>
        {
            DeviceBuffer loss = PoisonedBytes(sizeof(float));
            DeviceBuffer probabilities = Poisoned(shape);
            DeviceBuffer correct = PoisonedBytes(sizeof(int));
            Device.Loss.SoftmaxCrossEntropyForward(rows, classes, smoothing, x, labelBuffer, loss, probabilities, correct);
            right = DownloadPacked<int>(correct, 1)[0];
            return (float[])[.. DownloadPacked<float>(loss, 1), .. Download(shape, probabilities)];
        });
        AssertElements(values.AsSpan(0, 1), [LossReference.CrossEntropy(classes, smoothing, logits, labels)], 2e-6, "the loss", 0.5);
        AssertElements(values.AsSpan(1), LossReference.Softmax(classes, logits), 2e-6, "the probabilities", 1e-4);
        Assert.That(right, Is.EqualTo(LossReference.Correct(classes, logits, labels)), "rows that are right");

        DeviceBuffer again = PoisonedBytes(sizeof(float));
        Device.Loss.SoftmaxCrossEntropyForward(rows, classes, smoothing, x, labelBuffer, again, Poisoned(shape), DeviceBuffer.None);
        Assert.That(DownloadPacked<float>(again, 1)[0], Is.EqualTo(values[0]), "the loss when nobody asks for the count");
    }

    private float[] Backward(Shape shape, float smoothing, float[] probabilities, int[] labels, float lossGradient, GradientMode mode, float[] before)
    {
        DeviceBuffer p = Upload(shape, probabilities);
        DeviceBuffer labelBuffer = UploadPacked<int>(labels);
        DeviceBuffer scale = UploadPacked<float>([lossGradient]);
        return Twice(() =>
        {
            DeviceBuffer gradient = Destination(shape, mode, before);
            Device.Loss.SoftmaxCrossEntropyBackward(shape.Rows, shape.Channels, smoothing, p, labelBuffer, scale, gradient, mode);
            return Download(shape, gradient);
        });
    }

    private float[] SoftmaxBackward(Shape shape, float[] y, float[] dy, GradientMode mode, float[] before)
    {
        DeviceBuffer output = Upload(shape, y);
        DeviceBuffer outputGradient = Upload(shape, dy);
        return Twice(() =>
        {
            DeviceBuffer gradient = Destination(shape, mode, before);
            Device.Loss.SoftmaxBackward(shape.Rows, shape.Channels, output, outputGradient, gradient, mode);
            return Download(shape, gradient);
        });
    }
}
