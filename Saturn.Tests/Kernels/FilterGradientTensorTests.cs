using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>
/// Filter gradients on tensor cores against the definition in double precision, with operands rounded before: odd channels, strides, dilations, groups, one and many parts,
/// every tile.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.TensorNames))]
public sealed class FilterGradientTensorTests(string device) : KernelTest(device)
{
    private static readonly ConvolutionShape[] Shapes =
    [
        new(1, 5, 5, 1, 1, 3, 3, 1, 1, 1, 1),
        new(2, 6, 7, 3, 7, 3, 3, 1, 1, 1, 1),
        new(3, 8, 8, 37, 37, 3, 3, 1, 1, 1, 1),
        new(2, 9, 8, 7, 64, 3, 3, 1, 1, 1, 1),
        new(1, 6, 6, 75, 64, 3, 3, 1, 1, 1, 1),
        new(1, 6, 5, 64, 75, 1, 1),
        new(2, 9, 9, 8, 37, 5, 5, 2, 2, 2, 2),
        new(2, 8, 8, 24, 33, 3, 3, 2, 2, 1, 1),
        new(2, 8, 8, 24, 33, 1, 1, 2, 2),
        new(70, 1, 1, 37, 150, 1, 1),
        new(5, 1, 1, 64, 10, 1, 1),
        new(1, 12, 11, 3, 20, 7, 7, 2, 2, 3, 3),
        new(2, 9, 9, 5, 6, 3, 3, 1, 1, 2, 2, 2, 2),
        new(1, 8, 10, 8, 8, 3, 2, 2, 1, 1, 0, 1, 3),
        new(2, 6, 6, 32, 16, 3, 3, 1, 1, 1, 1, 1, 1, 2),
        new(1, 5, 5, 72, 144, 3, 3, 1, 1, 1, 1, 1, 1, 3),
        new(1, 4, 4, 130, 140, 3, 3, 1, 1, 1, 1),
        new(40, 16, 16, 8, 8, 1, 1),
        new(1, 18, 17, 3, 5, 16, 16, 1, 1, 8, 8),
        new(1, 24, 5, 9, 8, 19, 2, 1, 1, 9, 1),
        new(1, 3, 41, 8, 7, 1, 20, 1, 3, 0, 7, 1, 2),
        new(3, 21, 20, 16, 8, 3, 3, 1, 2, 3, 3, 3, 3),
    ];

    private ElementType Type => Device.Precision == Precision.Bf16 ? ElementType.BFloat16 : ElementType.Float32;

    [TestCaseSource(nameof(Shapes))]
    public void Integers_come_out_exactly_and_gradients_add_up(ConvolutionShape shape)
    {
        float[] input = RandomIntegers(shape.Input.ElementCount, 1);
        float[] gradient = RandomIntegers(shape.Output.ElementCount, 3);
        double[] expected = ConvolutionReference.FilterGradient(shape, input, gradient);
        double[] expectedBias = [.. Enumerable.Range(0, shape.OutputChannels).Select(o => gradient.Where((_, i) => i % shape.OutputChannels == o).Sum(value => (double)value))];
        DeviceBuffer x = UploadOperand(shape.Input, input);
        DeviceBuffer dy = UploadOperand(shape.Output, gradient);
        DeviceBuffer dw = Poisoned(shape.Weight);
        DeviceBuffer db = Poisoned(new Shape(shape.OutputChannels));
        Device.Convolution.FilterGradient(shape, x, dy, dw, db, GradientMode.Overwrite);
        AssertClose(Download(shape.Weight, dw), expected, 0, "dw");
        AssertClose(Download(new Shape(shape.OutputChannels), db), expectedBias, 0, "db");
        Device.Convolution.FilterGradient(shape, x, dy, dw, db, GradientMode.Accumulate);
        AssertClose(Download(shape.Weight, dw), [.. expected.Select(value => 2 * value)], 0, "dw added twice");
        AssertClose(Download(new Shape(shape.OutputChannels), db), [.. expectedBias.Select(value => 2 * value)], 0, "db added twice");
    }

    [TestCaseSource(nameof(Shapes))]
    public void Gradients_are_the_definition_on_rounded_operands(ConvolutionShape shape)
    {
        float[] input = RandomValues(shape.Input.ElementCount, 1);
        float[] gradient = RandomValues(shape.Output.ElementCount, 3);
        DeviceBuffer x = UploadOperand(shape.Input, input);
        DeviceBuffer dy = UploadOperand(shape.Output, gradient);
        float[] actual = Twice(() =>
        {
            DeviceBuffer dw = Poisoned(shape.Weight);
            Device.Convolution.FilterGradient(shape, x, dy, dw, default, GradientMode.Overwrite);
            return Download(shape.Weight, dw);
        });
        AssertClose(actual, ConvolutionReference.FilterGradient(shape, Array.ConvertAll(input, Rounded), Array.ConvertAll(gradient, Rounded)), TensorCoreTolerance(1e-6), "dw");
    }

    [TestCaseSource(nameof(Shapes))]
    public void Parts_added_in_order_are_the_gradient_bit_for_bit(ConvolutionShape shape)
    {
        int count = Device.Convolution.FilterGradientParts(shape, Type);
        if (count == 1)
        {
            Assert.Pass("this gradient is made in one piece");
        }

        DeviceBuffer x = UploadOperand(shape.Input, RandomValues(shape.Input.ElementCount, 1));
        DeviceBuffer dy = UploadOperand(shape.Output, RandomValues(shape.Output.ElementCount, 3));
        DeviceBuffer finished = Poisoned(shape.Weight);
        DeviceBuffer finishedBias = Poisoned(new Shape(shape.OutputChannels));
        Device.Convolution.FilterGradient(shape, x, dy, finished, finishedBias, GradientMode.Overwrite);
        int floats = checked((int)shape.Weight.StorageCount);
        DeviceBuffer parts = PoisonedBytes((long)count * floats * sizeof(float));
        DeviceBuffer bias = Poisoned(new Shape(shape.OutputChannels));
        Device.Convolution.FilterGradientInParts(shape, x, dy, parts, bias, GradientMode.Overwrite);

        float[] sum = new float[shape.Weight.ElementCount];
        for (int part = 0; part < count; part++)
        {
            // This asserts as well that the padding of each part is zero.
            float[] values = Download(shape.Weight, parts.Slice((long)part * floats * sizeof(float), floats * sizeof(float)));
            for (int i = 0; i < sum.Length; i++)
            {
                sum[i] += values[i];
            }
        }

        Assert.That(sum, Is.EqualTo(Download(shape.Weight, finished)));
        Assert.That(Download(new Shape(shape.OutputChannels), bias), Is.EqualTo(Download(new Shape(shape.OutputChannels), finishedBias)));
        DeviceBuffer combined = Poisoned(shape.Weight);
        Device.Convolution.CombineFilterGradient(shape.Weight, count, parts, combined);
        Assert.That(Download(shape.Weight, combined), Is.EqualTo(sum));
    }

    [Test]
    public void Every_tile_gives_the_same_bits([Values(1, 3)] int splits)
    {
        ConvolutionShape shape = new(5, 6, 6, 40, 150, 3, 3, 1, 1, 1, 1);
        SameBits(shape, splits, splits == 1 ? 192 : 64);
    }

    // 715 pixels: a block finds 128 at a time.
    [Test]
    public void Every_tile_gives_the_same_bits_where_a_split_has_many_pixels([Values(1, 2)] int splits) =>
        SameBits(new ConvolutionShape(5, 13, 11, 24, 33, 3, 3, 1, 1, 1, 1), splits, splits == 1 ? 736 : 416);

    private void SameBits(ConvolutionShape shape, int splits, int pixelsPerSplit)
    {
        DeviceBuffer x = UploadOperand(shape.Input, RandomValues(shape.Input.ElementCount, 1));
        DeviceBuffer dy = UploadOperand(shape.Output, RandomValues(shape.Output.ElementCount, 3));
        CudaTensorFilterGradient kernels = new(((CudaDevice)Device).Context);
        float[]? first = null;
        for (int tile = 0; tile < FilterGradientPlan.Tiles.Count; tile++)
        {
            DeviceBuffer parts = PoisonedBytes(splits * shape.Weight.StorageCount * sizeof(float));
            kernels.Launch(new FilterGradientPlan(tile, splits, pixelsPerSplit), CudaFilterGradient.Arguments(shape, x, dy), shape, Type, parts);
            DeviceBuffer dw = Poisoned(shape.Weight);
            Device.Convolution.CombineFilterGradient(shape.Weight, splits, parts, dw);
            float[] values = Download(shape.Weight, dw);
            first ??= values;
            Assert.That(values, Is.EqualTo(first), $"tile {FilterGradientPlan.Tiles[tile]}");
        }

        double[] expected = ConvolutionReference.FilterGradient(
            shape, Array.ConvertAll(RandomValues(shape.Input.ElementCount, 1), Rounded), Array.ConvertAll(RandomValues(shape.Output.ElementCount, 3), Rounded));
        AssertClose(first, expected, TensorCoreTolerance(1e-6), "dw");
    }

    [Test]
    public void Padding_that_meets_something_infinite_stays_zero()
    {
        ConvolutionShape shape = new(2, 8, 8, 3, 5, 3, 3, 1, 1, 1, 1);
        float[] gradient = new float[shape.Output.ElementCount];
        gradient[7] = float.PositiveInfinity;
        DeviceBuffer dw = Poisoned(shape.Weight);
        Device.Convolution.FilterGradient(
            shape, UploadOperand(shape.Input, RandomValues(shape.Input.ElementCount)), UploadOperand(shape.Output, gradient), dw, default, GradientMode.Overwrite);
        Assert.That(Download(shape.Weight, dw), Has.Some.Not.Matches<float>(float.IsFinite));
    }

    [Test]
    public void Linear_layers_are_float32_under_either_precision()
    {
        ConvolutionShape shape = new(50, 1, 1, 37, 20, 1, 1);
        float[] input = RandomValues(shape.Input.ElementCount, 1);
        float[] gradient = RandomValues(shape.Output.ElementCount, 3);
        DeviceBuffer dw = Poisoned(shape.Weight);
        Device.Convolution.FilterGradient(shape, Upload(shape.Input, input), Upload(shape.Output, gradient), dw, default, GradientMode.Overwrite);
        double[] expected = ConvolutionReference.FilterGradient(shape, Array.ConvertAll(input, RoundingReference.ToTf32), Array.ConvertAll(gradient, RoundingReference.ToTf32));
        AssertClose(Download(shape.Weight, dw), expected, TensorCoreTolerance(1e-6), "dw");
    }

    [Test]
    public void Narrow_groups_of_float32_take_their_own_kernels_and_come_in_one_part()
    {
        ConvolutionShape shape = new(2, 6, 6, 12, 8, 3, 3, 1, 1, 1, 1, 1, 1, 2);
        float[] input = RandomIntegers(shape.Input.ElementCount, 1);
        float[] gradient = RandomIntegers(shape.Output.ElementCount, 3);
        DeviceBuffer dw = Poisoned(shape.Weight);
        Device.Convolution.FilterGradient(shape, Upload(shape.Input, input), Upload(shape.Output, gradient), dw, default, GradientMode.Overwrite);
        AssertClose(Download(shape.Weight, dw), ConvolutionReference.FilterGradient(shape, input, gradient), 0, "dw");
        Assert.That(Device.Convolution.FilterGradientParts(shape, ElementType.Float32), Is.EqualTo(1));
        Assert.That(
            () => Device.Convolution.FilterGradientInParts(shape, Upload(shape.Input, input), Upload(shape.Output, gradient), dw, default, GradientMode.Overwrite),
            Throws.InvalidOperationException.With.Message.Contains("one piece"));
    }

    [Test]
    public void Operands_of_different_types_are_refused()
    {
        ConvolutionShape shape = new(1, 4, 4, 8, 8, 1, 1);
        DeviceBuffer x = Upload(shape.Input, RandomValues(shape.Input.ElementCount));
        DeviceBuffer dy = Upload(shape.Output, RandomValues(shape.Output.ElementCount)) with { Type = ElementType.BFloat16 };
        DeviceBuffer dw = Poisoned(shape.Weight);
        Assert.That(
            () => Device.Convolution.FilterGradient(shape, x, dy, dw, default, GradientMode.Overwrite),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains("Float32").And.Message.Contains("BFloat16"));
    }

    private float Rounded(float value) =>
        Type == ElementType.BFloat16 ? RoundingReference.FromBFloat16(RoundingReference.ToBFloat16(value)) : RoundingReference.ToTf32(value);

    // As float32, which the kernel rounds, or rounded to bfloat16 here.
    private DeviceBuffer UploadOperand(in Shape shape, float[] values)
    {
        if (Type == ElementType.Float32)
        {
            return Upload(shape, values);
        }

        ushort[] stored = new ushort[shape.StorageCount];
        for (int row = 0; row < shape.Rows; row++)
        {
            for (int channel = 0; channel < shape.Channels; channel++)
            {
                stored[row * shape.Pitch + channel] = RoundingReference.ToBFloat16(values[row * shape.Channels + channel]);
            }
        }

        return UploadPacked<ushort>(stored) with { Type = ElementType.BFloat16 };
    }
}
