using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Families;
using Saturn.Tests.Kernels;
using Saturn.Tests.References;

namespace Saturn.Tests.Cuda.Cublas;

/// <summary>Which products of linear layers go to the matrix kernels, and with which sizes: Saturn's own matrix kernels stand in for the library.</summary>
[TestFixtureSource(nameof(DeviceNames))]
public sealed class CudaLinearTests(string device) : KernelTest(device)
{
    private static readonly string[] DeviceNames = ["emulated", "emulated tf32"];
    private static readonly ConvolutionShape Large = new(2048, 1, 1, 64, 128, 1, 1);

    [Test]
    public void Large_products_of_linear_layers_in_float32_are_taken_and_no_others()
    {
        Assert.That(Takes(Large), Is.EqualTo((true, true, true)));
        Assert.That(Takes(Large with { Batch = 2047 }), Is.EqualTo((false, false, false)), "small");
        Assert.That(Takes(Large with { OutputChannels = 129 }), Is.EqualTo((false, true, true)), "zeros behind the rows of y");
        Assert.That(Takes(Large with { InputChannels = 65 }), Is.EqualTo((true, false, false)), "zeros behind the rows of ∂x and ∂w");
        Assert.That(Takes(Large with { Groups = 2 }), Is.EqualTo((false, false, false)), "groups");
        Assert.That(Takes(Large with { InputHeight = 2 }), Is.EqualTo((false, false, false)), "more pixels");
        Assert.That(Takes(Large with { KernelWidth = 3, PaddingWidth = 1 }), Is.EqualTo((false, false, false)), "a filter of more taps");
        Assert.That(Takes(Large, ElementType.BFloat16), Is.EqualTo((false, false, false)));

        static (bool, bool, bool) Takes(ConvolutionShape shape, ElementType type = ElementType.Float32) =>
            (CudaLinear.Takes(shape, CudaLinear.ForwardProduct(shape), type), CudaLinear.Takes(shape, CudaLinear.DataGradientProduct(shape), type),
                CudaLinear.Takes(shape, CudaLinear.FilterGradientProduct(shape), type));
    }

    // Every extent another number, so that none can stand in another's place; the second leaves y, the third ∂x and ∂w to the convolution's kernels.
    [TestCase(2048, 64, 136, 3)]
    [TestCase(2048, 64, 133, 2)]
    [TestCase(2051, 61, 136, 1)]
    public void They_give_what_the_layer_is(int rows, int inputs, int outputs, int taken)
    {
        ConvolutionShape shape = new(rows, 1, 1, inputs, outputs, 1, 1);
        Recorder recorder = new(Device.Matrix);
        CudaConvolution convolution = new(((CudaDevice)Device).Context, Device.Normalization, Device.Precision, warpgroups: false, new CudaLinear(recorder, Device.Elementwise));
        float[] input = RandomIntegers(shape.Input.ElementCount, 1);
        float[] weight = RandomIntegers(shape.Weight.ElementCount, 2);
        float[] bias = RandomIntegers(outputs, 3);
        float[] gradient = RandomIntegers(shape.Output.ElementCount, 4);
        float[] before = RandomIntegers(shape.Input.ElementCount, 5);
        DeviceBuffer x = Upload(shape.Input, input);
        DeviceBuffer w = Upload(shape.Weight, weight);
        DeviceBuffer dy = Upload(shape.Output, gradient);

        DeviceBuffer y = Poisoned(shape.Output);
        convolution.Forward(shape, x, w, Upload(new Shape(outputs), bias), y, default);
        AssertClose(Download(shape.Output, y), ConvolutionReference.Forward(shape, input, weight, bias), 0, "y");

        DeviceBuffer dx = Upload(shape.Input, before);
        convolution.DataGradient(shape, dy, w, dx, GradientMode.Accumulate);
        AssertClose(Download(shape.Input, dx), Combined(GradientMode.Accumulate, before, ConvolutionReference.DataGradient(shape, gradient, weight)), 0, "dx");

        DeviceBuffer dw = Poisoned(shape.Weight);
        DeviceBuffer db = Poisoned(new Shape(outputs));
        convolution.FilterGradient(shape, x, dy, dw, db, GradientMode.Overwrite);
        AssertClose(Download(shape.Weight, dw), ConvolutionReference.FilterGradient(shape, input, gradient), 0, "dw");
        AssertClose(Download(new Shape(outputs), db), [.. Enumerable.Range(0, outputs).Select(o => (double)Enumerable.Range(0, rows).Sum(row => gradient[row * outputs + o]))], 0, "db");
        Assert.That(recorder.Products, Is.EqualTo(taken));
        if (inputs % 8 == 0)
        {
            Assert.That(convolution.FilterGradientParts(shape, ElementType.Float32), Is.EqualTo(1), "a finished gradient, so that the product is asked for");
        }
    }

    [Test]
    public void Statistics_keep_the_form_that_was_promised()
    {
        Recorder recorder = new(Device.Matrix);
        CudaConvolution convolution = new(((CudaDevice)Device).Context, Device.Normalization, Device.Precision, warpgroups: false, new CudaLinear(recorder, Device.Elementwise));
        DeviceBuffer statistics = PoisonedBytes(convolution.Statistics(Large).ByteLength(Large.OutputChannels));
        convolution.Forward(
            Large, Upload(Large.Input, new float[Large.Input.ElementCount]), Upload(Large.Weight, new float[Large.Weight.ElementCount]), default, Poisoned(Large.Output), statistics);
        Assert.That(recorder.Products, Is.Zero);
        Assert.That(DownloadPacked<float>(statistics, 4), Has.All.Zero);
    }

    private sealed class Recorder(IMatrixKernels kernels) : IMatrixKernels
    {
        public int Products { get; private set; }

        public void Multiply(in MatrixShape shape, DeviceBuffer left, DeviceBuffer right, DeviceBuffer output, float alpha, float beta)
        {
            Products++;
            kernels.Multiply(shape, left, right, output, alpha, beta);
        }
    }
}
