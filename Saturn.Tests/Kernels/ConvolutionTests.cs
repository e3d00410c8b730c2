using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Convolutions against the definition in double precision: odd channels, strides, paddings, dilations, groups, tails of every tile.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.TileNames))]
public sealed class ConvolutionTests(string device) : KernelTest(device)
{
    private static readonly ConvolutionShape[] Shapes =
    [
        new(1, 5, 5, 1, 1, 3, 3, 1, 1, 1, 1),
        new(2, 6, 7, 3, 7, 3, 3, 1, 1, 1, 1),
        new(3, 8, 8, 37, 37, 3, 3, 1, 1, 1, 1),
        new(2, 9, 8, 7, 64, 3, 3, 1, 1, 1, 1),
        new(2, 8, 8, 16, 16, 3, 3, 1, 1, 1, 1),
        new(9, 4, 4, 40, 80, 3, 3, 1, 1, 1, 1),
        new(2, 9, 9, 7, 5, 3, 3, 2, 2, 1, 1),
        new(2, 8, 8, 24, 33, 3, 3, 2, 2, 1, 1),
        new(2, 8, 8, 24, 33, 1, 1, 2, 2),
        new(2, 7, 7, 37, 3, 1, 1),
        new(5, 1, 1, 37, 10, 1, 1),
        new(70, 1, 1, 16, 100, 1, 1),
        new(1, 12, 11, 3, 20, 7, 7, 2, 2, 3, 3),
        new(2, 9, 9, 5, 6, 3, 3, 1, 1, 2, 2, 2, 2),
        new(1, 8, 10, 8, 8, 3, 2, 2, 1, 1, 0, 1, 3),
        new(2, 6, 6, 6, 9, 3, 3, 1, 1, 1, 1, 1, 1, 3),
        new(2, 6, 6, 32, 16, 3, 3, 1, 1, 1, 1, 1, 1, 2),
        new(2, 6, 6, 7, 7, 3, 3, 1, 1, 1, 1, 1, 1, 7),
        new(2, 6, 6, 8, 8, 5, 5, 3, 3, 1, 1),
        new(1, 4, 4, 300, 70, 3, 3, 1, 1, 1, 1),
        new(2, 5, 5, 8, 8, 3, 3),
        new(2, 5, 5, 12, 8, 3, 3),
    ];

    [TestCaseSource(nameof(Shapes))]
    public void Forward_is_the_definition(ConvolutionShape shape)
    {
        float[] input = RandomValues(shape.Input.ElementCount, 1);
        float[] weight = RandomValues(shape.Weight.ElementCount, 2);
        float[] bias = RandomValues(shape.OutputChannels, 3);
        DeviceBuffer output = Poisoned(shape.Output);
        DeviceBuffer moments = PoisonedBytes(2 * Shape.PitchOf(shape.OutputChannels) * sizeof(double));
        Device.Convolution.Forward(shape, Upload(shape.Input, input), Upload(shape.Weight, weight), Upload(new Shape(bias.Length), bias), output, moments);
        float[] values = Download(shape.Output, output);
        AssertClose(values, ConvolutionReference.Forward(shape, input, weight, bias), 1e-6, "y");
        AssertMoments(shape, values, moments);
    }

    [TestCaseSource(nameof(Shapes))]
    public void Integers_come_out_exactly_and_gradients_add_up(ConvolutionShape shape)
    {
        float[] input = RandomIntegers(shape.Input.ElementCount, 1);
        float[] weight = RandomIntegers(shape.Weight.ElementCount, 2);
        float[] gradient = RandomIntegers(shape.Output.ElementCount, 3);
        DeviceBuffer x = Upload(shape.Input, input);
        DeviceBuffer w = Upload(shape.Weight, weight);
        DeviceBuffer dy = Upload(shape.Output, gradient);
        DeviceBuffer y = Poisoned(shape.Output);
        Device.Convolution.Forward(shape, x, w, default, y, default);
        AssertClose(Download(shape.Output, y), ConvolutionReference.Forward(shape, input, weight, null), 0, "y");

        double[] expectedData = ConvolutionReference.DataGradient(shape, gradient, weight);
        DeviceBuffer dx = Poisoned(shape.Input);
        Device.Convolution.DataGradient(shape, dy, w, dx, GradientMode.Overwrite);
        AssertClose(Download(shape.Input, dx), expectedData, 0, "dx");
        Device.Convolution.DataGradient(shape, dy, w, dx, GradientMode.Accumulate);
        AssertClose(Download(shape.Input, dx), [.. expectedData.Select(value => 2 * value)], 0, "dx added twice");

        double[] expectedFilter = ConvolutionReference.FilterGradient(shape, input, gradient);
        double[] expectedBias = [.. Enumerable.Range(0, shape.OutputChannels).Select(o => gradient.Where((_, i) => i % shape.OutputChannels == o).Sum(value => (double)value))];
        DeviceBuffer dw = Poisoned(shape.Weight);
        DeviceBuffer db = Poisoned(new Shape(shape.OutputChannels));
        Device.Convolution.FilterGradient(shape, x, dy, dw, db, GradientMode.Overwrite);
        AssertClose(Download(shape.Weight, dw), expectedFilter, 0, "dw");
        AssertClose(Download(new Shape(shape.OutputChannels), db), expectedBias, 0, "db");
        Device.Convolution.FilterGradient(shape, x, dy, dw, db, GradientMode.Accumulate);
        AssertClose(Download(shape.Weight, dw), [.. expectedFilter.Select(value => 2 * value)], 0, "dw added twice");
        AssertClose(Download(new Shape(shape.OutputChannels), db), [.. expectedBias.Select(value => 2 * value)], 0, "db added twice");
    }

    [TestCaseSource(nameof(Shapes))]
    public void Gradients_are_the_definition(ConvolutionShape shape)
    {
        float[] input = RandomValues(shape.Input.ElementCount, 1);
        float[] weight = RandomValues(shape.Weight.ElementCount, 2);
        float[] gradient = RandomValues(shape.Output.ElementCount, 3);
        DeviceBuffer dx = Poisoned(shape.Input);
        DeviceBuffer dw = Poisoned(shape.Weight);
        DeviceBuffer dy = Upload(shape.Output, gradient);
        Device.Convolution.DataGradient(shape, dy, Upload(shape.Weight, weight), dx, GradientMode.Overwrite);
        Device.Convolution.FilterGradient(shape, Upload(shape.Input, input), dy, dw, default, GradientMode.Overwrite);
        AssertClose(Download(shape.Input, dx), ConvolutionReference.DataGradient(shape, gradient, weight), 1e-6, "dx");
        AssertClose(Download(shape.Weight, dw), ConvolutionReference.FilterGradient(shape, input, gradient), 1e-6, "dw");
    }

    [Test]
    public void The_number_of_workers_does_not_change_a_bit([Values(1, 2, 5)] int workers, [Values] bool wide)
    {
        ConvolutionShape shape = new(17, 8, 8, 37, 70, 3, 3, 1, 1, 1, 1);
        using CpuDevice three = new(3, wide);
        float[] expected = AllResults(three, shape);
        using CpuDevice other = new(workers, wide);
        Assert.That(AllResults(other, shape), Is.EqualTo(expected));
    }

    private static float[] AllResults(Device device, ConvolutionShape shape)
    {
        DeviceBuffer x = Put(shape.Input, 1);
        DeviceBuffer w = Put(shape.Weight, 2);
        DeviceBuffer y = device.Memory.Allocate(shape.Output.StorageCount * 4);
        DeviceBuffer dx = device.Memory.Allocate(shape.Input.StorageCount * 4);
        DeviceBuffer dw = device.Memory.Allocate(shape.Weight.StorageCount * 4);
        device.Convolution.Forward(shape, x, w, default, y, default);
        device.Convolution.DataGradient(shape, y, w, dx, GradientMode.Overwrite);
        device.Convolution.FilterGradient(shape, x, y, dw, default, GradientMode.Overwrite);
        float[] results = [.. Get(shape.Output, y), .. Get(shape.Input, dx), .. Get(shape.Weight, dw)];
        foreach (DeviceBuffer buffer in (DeviceBuffer[])[x, w, y, dx, dw])
        {
            device.Memory.Free(buffer);
        }

        return results;

        DeviceBuffer Put(Shape s, int seed)
        {
            float[] stored = new float[s.StorageCount];
            float[] values = RandomValues(s.ElementCount, seed);
            for (int row = 0; row < s.Rows; row++)
            {
                values.AsSpan(row * s.Channels, s.Channels).CopyTo(stored.AsSpan(row * s.Pitch));
            }

            DeviceBuffer buffer = device.Memory.Allocate(s.StorageCount * 4);
            device.Upload(System.Runtime.InteropServices.MemoryMarshal.AsBytes(stored.AsSpan()), buffer);
            return buffer;
        }

        float[] Get(Shape s, DeviceBuffer buffer)
        {
            float[] stored = new float[s.StorageCount];
            device.Download(buffer, System.Runtime.InteropServices.MemoryMarshal.AsBytes(stored.AsSpan()));
            return stored;
        }
    }

    private void AssertMoments(ConvolutionShape shape, float[] values, DeviceBuffer buffer)
    {
        int pitch = Shape.PitchOf(shape.OutputChannels);
        double[] moments = DownloadPacked<double>(buffer, 2 * pitch);
        double[] expected = new double[2 * pitch];
        for (int c = 0; c < shape.OutputChannels; c++)
        {
            double[] channel = [.. values.Where((_, i) => i % shape.OutputChannels == c).Select(value => (double)value)];
            expected[c] = channel.Average();
            expected[pitch + c] = channel.Sum(value => (value - expected[c]) * (value - expected[c]));
        }

        for (int i = 0; i < moments.Length; i++)
        {
            Assert.That(moments[i], Is.EqualTo(expected[i]).Within(1e-5 * Math.Max(1, Math.Abs(expected[i]))), $"moment {i}");
        }
    }
}
