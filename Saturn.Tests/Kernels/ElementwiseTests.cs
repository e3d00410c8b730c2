using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Unary and binary arithmetic with broadcasting, accumulation and filling, against double precision.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class ElementwiseTests(string device) : KernelTest(device)
{
    private static readonly int[][] Extents = [[], [1], [3], [37], [64], [5, 7], [1, 1, 1, 8], [2, 3, 3, 37], [700, 33], [1025, 16], [2, 40_001]];

    // Where the functions are defined. Sine and cosine: beyond some turns, float32 itself no longer tells angles apart.
    private static readonly Dictionary<UnaryOperation, (float Low, float High)> Domains = new()
    {
        [UnaryOperation.SquareRoot] = (0, 100),
        [UnaryOperation.Logarithm] = (1e-6f, 1e6f),
        [UnaryOperation.Reciprocal] = (0.01f, 10),
        [UnaryOperation.Exponential] = (-80, 80),
        [UnaryOperation.Sine] = (-50, 50),
        [UnaryOperation.Cosine] = (-50, 50),
        [UnaryOperation.HyperbolicTangent] = (-10, 10),
        [UnaryOperation.Sigmoid] = (-30, 30),
        [UnaryOperation.Power] = (0.01f, 10),
    };

    private static readonly (int[] Left, int[] Right)[] Broadcasts =
    [
        ([], []), ([37], [37]), ([5, 7], [5, 7]), ([5, 7], [7]), ([7], [5, 7]), ([5, 7], [5, 1]), ([5, 1], [1, 7]), ([5, 1], [7]), ([5, 7], []), ([], [3, 37]), ([1], [1, 1]),
        ([2, 3, 4, 37], [3, 1, 37]), ([2, 1, 4, 1], [3, 1, 9]), ([2, 1, 3, 1, 2, 5], [4, 1, 2, 1, 5]), ([3, 1], [1]), ([1, 1, 64], [4, 5, 64]), ([900, 37], [37]), ([900, 37], [900, 1]),
        ([900, 37], [900, 37]), ([1200, 16], [1, 16]), ([3, 20_011], [20_011]),
    ];

    [Test]
    public void Unary_functions_are_those_of_the_reference([Values] UnaryOperation operation, [ValueSource(nameof(Extents))] int[] extents)
    {
        Shape shape = new(extents);
        (float low, float high) = Domains.GetValueOrDefault(operation, (-2, 2));
        float[] x = [.. RandomValues(shape.ElementCount).Select(value => low + (high - low) * (value + 1) / 2)];
        if (x.Length > 2 && low <= 0 && high >= 1)
        {
            (x[0], x[1]) = (0, 1);
        }

        // Exact as float32, so that the reference sees the same numbers.
        (float a, float b) = operation switch { UnaryOperation.Clamp or UnaryOperation.InsideRange => (-0.5f, 1f), _ => (1.75f, -0.375f) };
        double[] expected = [.. x.Select(value => ElementwiseReference.Unary(operation, value, a, b))];
        bool exact = operation is UnaryOperation.Copy or UnaryOperation.Negate or UnaryOperation.Absolute or UnaryOperation.Sign or UnaryOperation.Clamp or UnaryOperation.InsideRange;
        DeviceBuffer input = Upload(shape, x);
        float[] actual = Twice(() =>
        {
            DeviceBuffer output = Poisoned(shape);
            Device.Elementwise.Unary(operation, shape, input, output, a, b);
            return Download(shape, output);
        });
        AssertElements(actual, expected, exact ? 0 : 2e-6, $"{operation} of {shape}", 0.3);
        Device.Elementwise.Unary(operation, shape, input, input, a, b);
        Assert.That(Download(shape, input), Is.EqualTo(actual), "in place");
    }

    [TestCase(UnaryOperation.Square, 0, 0)]
    [TestCase(UnaryOperation.Affine, 3, -2)]
    [TestCase(UnaryOperation.Clamp, -2, 4)]
    [TestCase(UnaryOperation.InsideRange, -2, 4)]
    [TestCase(UnaryOperation.Sign, 0, 0)]
    public void Unary_functions_of_integers_are_exact(UnaryOperation operation, float a, float b)
    {
        Shape shape = new(50, 37);
        float[] x = RandomIntegers(shape.ElementCount, range: 9);
        DeviceBuffer output = Poisoned(shape);
        Device.Elementwise.Unary(operation, shape, Upload(shape, x), output, a, b);
        AssertElements(Download(shape, output), [.. x.Select(value => ElementwiseReference.Unary(operation, value, a, b))], 0, $"{operation}");
    }

    [TestCase(UnaryOperation.Sign, -0f, 0)]
    [TestCase(UnaryOperation.Sign, 1e-30f, 1)]
    [TestCase(UnaryOperation.Sign, float.NegativeInfinity, -1)]
    [TestCase(UnaryOperation.Clamp, float.NegativeInfinity, -1)]
    [TestCase(UnaryOperation.Clamp, float.PositiveInfinity, 2)]
    [TestCase(UnaryOperation.InsideRange, float.NaN, 0)]
    [TestCase(UnaryOperation.InsideRange, -1, 1)]
    [TestCase(UnaryOperation.InsideRange, 2, 1)]
    [TestCase(UnaryOperation.Exponential, 89, float.PositiveInfinity)]
    [TestCase(UnaryOperation.Exponential, float.NegativeInfinity, 0)]
    [TestCase(UnaryOperation.Logarithm, 0, float.NegativeInfinity)]
    [TestCase(UnaryOperation.Reciprocal, 0, float.PositiveInfinity)]
    [TestCase(UnaryOperation.Reciprocal, float.NegativeInfinity, 0)]
    [TestCase(UnaryOperation.Sigmoid, -1000, 0)]
    [TestCase(UnaryOperation.Sigmoid, 1000, 1)]
    [TestCase(UnaryOperation.HyperbolicTangent, -1000, -1)]
    [TestCase(UnaryOperation.HyperbolicTangent, 1000, 1)]
    [TestCase(UnaryOperation.SquareRoot, 1e-30f, 1e-15f)]
    public void Unary_functions_at_their_limits(UnaryOperation operation, float x, float expected)
    {
        Shape shape = new(19);
        DeviceBuffer output = Poisoned(shape);
        Device.Elementwise.Unary(operation, shape, Upload(shape, [.. Enumerable.Repeat(x, 19)]), output, -1, 2);
        AssertElements(Download(shape, output), [.. Enumerable.Repeat((double)expected, 19)], 2e-6, $"{operation} of {x}");
    }

    [Test]
    public void Powers_with_special_exponents([Values(-1, 0, 0.5f, 1, 2, 3)] float exponent)
    {
        // Where the power is defined: roots of positive numbers, inverses of all but zero.
        Shape shape = new(3, 37);
        float[] x = [.. RandomIntegers(shape.ElementCount, range: 9).Select(value => exponent == 0.5f || (exponent <= 0 && value == 0) ? Math.Abs(value) + 1 : value)];
        DeviceBuffer output = Poisoned(shape);
        Device.Elementwise.Unary(UnaryOperation.Power, shape, Upload(shape, x), output, exponent);
        AssertElements(Download(shape, output), [.. x.Select(value => Math.Pow(value, exponent))], 2e-6, $"powers of {exponent}");
    }

    [Test]
    public void Binary_functions_broadcast([Values] BinaryOperation operation, [ValueSource(nameof(Broadcasts))] (int[] Left, int[] Right) extents, [Values] bool integers)
    {
        Shape left = new(extents.Left);
        Shape right = new(extents.Right);
        Shape shape = Shape.Broadcast(left, right);

        // Small integers tie often and divide by zero now and then.
        float[] x = integers ? RandomIntegers(left.ElementCount, 1) : RandomValues(left.ElementCount, 1);
        float[] y = integers ? RandomIntegers(right.ElementCount, 2) : RandomValues(right.ElementCount, 2);
        double[] expected = ElementwiseReference.Binary(operation, left, x, right, y, shape);

        // One operation rounds once; a quotient may be off by the last bit.
        expected = [.. expected.Select(value => (double)(float)value)];
        DeviceBuffer leftBuffer = Upload(left, x);
        DeviceBuffer rightBuffer = Upload(right, y);
        float[] actual = Twice(() =>
        {
            DeviceBuffer output = Poisoned(shape);
            Device.Elementwise.Binary(operation, left, leftBuffer, right, rightBuffer, shape, output);
            return Download(shape, output);
        });
        AssertElements(actual, expected, operation == BinaryOperation.Divide ? 2e-7 : 0, $"{operation} of {left} and {right}");
        if (left == shape)
        {
            Device.Elementwise.Binary(operation, left, leftBuffer, right, rightBuffer, shape, leftBuffer);
            Assert.That(Download(shape, leftBuffer), Is.EqualTo(actual), "in the left operand's place");
        }
        else if (right == shape)
        {
            Device.Elementwise.Binary(operation, left, leftBuffer, right, rightBuffer, shape, rightBuffer);
            Assert.That(Download(shape, rightBuffer), Is.EqualTo(actual), "in the right operand's place");
        }
    }

    [Test]
    public void Comparisons_with_what_is_not_a_number_are_false([Values(BinaryOperation.GreaterOrEqual, BinaryOperation.Less, BinaryOperation.Equal)] BinaryOperation operation)
    {
        Shape shape = new(4);
        DeviceBuffer output = Poisoned(shape);
        Device.Elementwise.Binary(operation, shape, Upload(shape, [float.NaN, 1, float.NaN, 1]), shape, Upload(shape, [1, float.NaN, float.NaN, 1]), shape, output);
        Assert.That(Download(shape, output), Is.EqualTo(new[] { 0, 0, 0, (float)ElementwiseReference.Binary(operation, 1, 1) }));
    }

    [Test]
    public void The_operands_and_the_output_may_be_one_buffer([ValueSource(nameof(Extents))] int[] extents)
    {
        Shape shape = new(extents);
        float[] x = RandomIntegers(shape.ElementCount);
        DeviceBuffer buffer = Upload(shape, x);
        Device.Elementwise.Binary(BinaryOperation.Multiply, shape, buffer, shape, buffer, shape, buffer);
        AssertElements(Download(shape, buffer), [.. x.Select(value => (double)value * value)], 0, "squares");
        Device.Elementwise.Accumulate(shape, buffer, buffer, 2);
        AssertElements(Download(shape, buffer), [.. x.Select(value => 3.0 * value * value)], 0, "three squares");
    }

    [Test]
    public void Accumulation_adds_what_is_scaled([ValueSource(nameof(Extents))] int[] extents, [Values(1, -0.5f, 0)] float scale)
    {
        Shape shape = new(extents);
        float[] x = RandomIntegers(shape.ElementCount, 1);
        float[] y = RandomIntegers(shape.ElementCount, 2);
        DeviceBuffer input = Upload(shape, x);
        float[] actual = Twice(() =>
        {
            DeviceBuffer output = Upload(shape, y);
            Device.Elementwise.Accumulate(shape, input, output, scale);
            return Download(shape, output);
        });
        AssertElements(actual, [.. x.Zip(y, (a, b) => b + (double)scale * a)], 0, $"y + {scale}·x");
    }

    [Test]
    public void Accumulation_rounds_like_float32([Values(1, 0.3f)] float scale)
    {
        Shape shape = new(40, 37);
        float[] x = RandomValues(shape.ElementCount, 1);
        float[] y = RandomValues(shape.ElementCount, 2);
        DeviceBuffer output = Upload(shape, y);
        Device.Elementwise.Accumulate(shape, Upload(shape, x), output, scale);
        AssertElements(Download(shape, output), [.. x.Zip(y, (a, b) => b + (double)scale * a)], 2e-7, $"y + {scale}·x", 1);
    }

    [Test]
    public void Filling_leaves_padding_zero([ValueSource(nameof(Extents))] int[] extents)
    {
        Shape shape = new(extents);
        DeviceBuffer output = Poisoned(shape);
        Device.Elementwise.Fill(shape, output, -2.5f);
        Assert.That(Download(shape, output), Is.All.EqualTo(-2.5f));
    }

    [Test]
    public void Sizes_beyond_one_grid_stride([Values(37, 64)] int channels)
    {
        Shape shape = new(BeyondOneStride / channels + 1, channels);
        Shape row = new(channels);
        float[] x = RandomIntegers(shape.ElementCount, 1);
        float[] y = RandomIntegers(channels, 2);
        DeviceBuffer input = Upload(shape, x);
        DeviceBuffer output = Poisoned(shape);
        Device.Elementwise.Unary(UnaryOperation.Affine, shape, input, output, 3, 2);
        AssertElements(Download(shape, output), [.. x.Select(value => 3.0 * value + 2)], 0, "3·x + 2");
        Device.Elementwise.Accumulate(shape, input, output, -2);
        AssertElements(Download(shape, output), [.. x.Select(value => value + 2.0)], 0, "x + 2");
        Device.Elementwise.Binary(BinaryOperation.Subtract, shape, output, row, Upload(row, y), shape, output);
        AssertElements(Download(shape, output), [.. x.Select((value, i) => value + 2.0 - y[i % channels])], 0, "x + 2 − y");
        Device.Elementwise.Fill(shape, output, 7);
        AssertElements(Download(shape, output), [.. Enumerable.Repeat(7.0, x.Length)], 0, "7");
    }
}
