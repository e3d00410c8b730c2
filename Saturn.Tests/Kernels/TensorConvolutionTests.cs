using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Convolutions on tensor cores against the definition in double precision. Operands are rounded beforehand, so that products are exact and only float32 sums and the stored type round.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.TensorNames))]
public sealed class TensorConvolutionTests(string device) : KernelTest(device)
{
    private static readonly ConvolutionShape[] Shapes =
    [
        new(1, 5, 5, 1, 1, 3, 3, 1, 1, 1, 1),
        new(2, 6, 7, 3, 7, 3, 3, 1, 1, 1, 1),
        new(3, 8, 8, 37, 37, 3, 3, 1, 1, 1, 1),
        new(2, 9, 8, 7, 64, 5, 5, 1, 1, 2, 2),
        new(2, 9, 9, 75, 37, 3, 3, 2, 2, 1, 1),
        new(2, 8, 8, 24, 75, 1, 1, 2, 2),
        new(5, 1, 1, 37, 10, 1, 1),
        new(1, 12, 11, 3, 20, 7, 7, 2, 2, 3, 3),
        new(2, 9, 9, 8, 40, 3, 3, 1, 1, 2, 2, 2, 2),
        new(1, 8, 10, 8, 8, 3, 2, 2, 1, 1, 0, 1, 3),
        new(2, 6, 6, 48, 16, 3, 3, 1, 1, 1, 1, 1, 1, 2),
        new(1, 6, 6, 24, 72, 3, 3, 2, 2, 1, 1, 1, 1, 3),
        new(2, 6, 6, 8, 8, 5, 5, 3, 3, 1, 1),
        new(1, 3, 3, 8, 8, 1, 1, 4, 4),
        new(1, 20, 20, 72, 130, 1, 1),
    ];

    [TestCaseSource(nameof(Shapes))]
    public void Both_passes_are_the_definition(ConvolutionShape shape)
    {
        float[] input = Rounded(RandomValues(shape.Input.ElementCount, 1));
        float[] weight = Rounded(RandomValues(shape.Weight.ElementCount, 2));
        float[] bias = RandomValues(shape.OutputChannels, 3);
        float[] gradient = Rounded(RandomValues(shape.Output.ElementCount, 4));
        DeviceBuffer w = Put(shape.Weight, weight);
        float[] y = Twice(() => Forward(shape, Put(shape.Input, input), w, Upload(new Shape(bias.Length), bias)));
        AssertClose(y, Stored(ConvolutionReference.Forward(shape, input, weight, bias)), Tolerance, "y");
        float[] dx = Twice(() =>
        {
            DeviceBuffer target = PoisonedOf(shape.Input);
            Device.Convolution.DataGradient(shape, Put(shape.Output, gradient), w, target, GradientMode.Overwrite);
            return Get(shape.Input, target);
        });
        AssertClose(dx, Stored(ConvolutionReference.DataGradient(shape, gradient, weight)), Tolerance, "dx");
    }

    [TestCaseSource(nameof(Shapes))]
    public void Integers_come_out_exactly_and_gradients_add_up(ConvolutionShape shape)
    {
        float[] input = RandomIntegers(shape.Input.ElementCount, 1);
        float[] weight = RandomIntegers(shape.Weight.ElementCount, 2);
        float[] gradient = RandomIntegers(shape.Output.ElementCount, 3);
        float[] before = RandomIntegers(shape.Input.ElementCount, 4);
        DeviceBuffer w = Put(shape.Weight, weight);
        AssertClose(Forward(shape, Put(shape.Input, input), w, default), Stored(ConvolutionReference.Forward(shape, input, weight, null)), 0, "y");
        DeviceBuffer dx = Put(shape.Input, before);
        Device.Convolution.DataGradient(shape, Put(shape.Output, gradient), w, dx, GradientMode.Accumulate);
        AssertClose(Get(shape.Input, dx), Stored(Combined(GradientMode.Accumulate, before, ConvolutionReference.DataGradient(shape, gradient, weight))), 0, "dx added to what was there");
    }

    private double Tolerance => Device.Precision == Precision.Bf16 ? 3e-4 : 2e-6;

    private float[] Forward(ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias)
    {
        DeviceBuffer output = PoisonedOf(shape.Output);
        Device.Convolution.Forward(shape, input, weight, bias, output, default);
        return Get(shape.Output, output);
    }

    /// <summary>Values that the tensor cores take as they are.</summary>
    private float[] Rounded(float[] values) => [.. values.Select(value => Device.Precision == Precision.Bf16 ? ToBf16(value) : ToTf32(value))];

    /// <summary>What memory makes of exact values.</summary>
    private double[] Stored(double[] values) => Device.Precision == Precision.Bf16 ? [.. values.Select(value => (double)ToBf16((float)value))] : values;

    private static float ToBf16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return BitConverter.UInt32BitsToSingle(bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000);
    }

    private static float ToTf32(float value) => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) + 0x1000 & 0xFFFFE000);

    /// <summary>Uploads a pitched array of images or filters in the device's type.</summary>
    private DeviceBuffer Put(Shape shape, float[] values)
    {
        if (Device.Precision != Precision.Bf16)
        {
            return Upload(shape, values);
        }

        ushort[] stored = new ushort[shape.StorageCount];
        for (int i = 0; i < values.Length; i++)
        {
            stored[i / shape.Channels * shape.Pitch + i % shape.Channels] = (ushort)(BitConverter.SingleToUInt32Bits(values[i]) >> 16);
        }

        return UploadPacked<ushort>(stored) with { Type = ElementType.BFloat16 };
    }

    private DeviceBuffer PoisonedOf(Shape shape) =>
        Device.Precision == Precision.Bf16 ? PoisonedBytes(2 * shape.StorageCount) with { Type = ElementType.BFloat16 } : Poisoned(shape);

    private float[] Get(Shape shape, DeviceBuffer buffer)
    {
        if (Device.Precision != Precision.Bf16)
        {
            return Download(shape, buffer);
        }

        ushort[] stored = DownloadPacked<ushort>(buffer, checked((int)shape.StorageCount));
        float[] values = new float[shape.ElementCount];
        for (int i = 0; i < stored.Length; i++)
        {
            float value = BitConverter.UInt32BitsToSingle((uint)stored[i] << 16);
            if (i % shape.Pitch < shape.Channels)
            {
                values[i / shape.Pitch * shape.Channels + i % shape.Pitch] = value;
            }
            else
            {
                Assert.That(value, Is.Zero, $"padding at row {i / shape.Pitch}");
            }
        }

        return values;
    }
}
