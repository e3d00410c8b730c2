using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Engine;

/// <summary>
/// Every operation on tensors of bfloat16, whether it has kernels for them or converts them first: values and gradients are those of the same operation in float32 on the same, rounded, inputs, but for the
/// roundings on the way.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.TensorNames))]
public sealed class ReducedOperationTests(string device) : EngineTest(device)
{
    private static IEnumerable<TestCaseData> Cases =>
        OperationGradientTests.Rows.Select((row, index) => new TestCaseData(index).SetArgDisplayNames(row.Name));

    [TestCaseSource(nameof(Cases))]
    public void Values_and_gradients_are_those_of_float32(int index)
    {
        var row = OperationGradientTests.Rows[index];
        using TensorScope scope = new();
        Tensor[] inputs =
        [
            .. row.Shapes.Select((shape, i) => Operation.Convert(
                Operation.Convert(Tensor.Uniform(Device, new Shape(shape), new RandomKey(7, (uint)i, 0), row.Low, row.High), ElementType.BFloat16), ElementType.Float32)),
        ];
        float[][] expected = Run(ElementType.Float32);
        float[][] actual = Run(ElementType.BFloat16);
        for (int i = 0; i < expected.Length; i++)
        {
            string what = i == 0 ? "the output" : $"the gradient of input {i - 1}";
            Assert.That(actual[i], Has.Length.EqualTo(expected[i].Length), what);
            double norm = Math.Sqrt(expected[i].Sum(value => (double)value * value));
            double difference = Math.Sqrt(actual[i].Zip(expected[i], (a, e) => ((double)a - e) * ((double)a - e)).Sum());
            Assert.That(difference, Is.LessThanOrEqualTo(0.03 * norm + 1e-3), $"{what}, whose norm is {norm}");
        }

        float[][] Run(ElementType type)
        {
            using TensorScope inner = new();
            Tensor[] leaves = [.. inputs.Select(input => Operation.Convert(input, type).Clone().RequireGradient())];
            Assert.That(leaves.Select(leaf => leaf.Type), Is.All.EqualTo(type));
            Tensor output = row.Function(leaves);
            float[] values = output.ToArray();
            Tensor weights = Tensor.Uniform(Device, output.Shape, new RandomKey(11, 0, 0), -1, 1);
            Operation.Sum(Operation.Multiply(output, weights)).Backward();
            return [values, .. leaves.Select(leaf => leaf.CopyGradient()).Select(gradient =>
            {
                Assert.That(gradient.Type, Is.EqualTo(type), "a gradient has its tensor's type");
                return gradient.ToArray();
            })];
        }
    }

    [Test]
    public void Convolutions_and_what_follows_them_keep_the_type_of_the_policy_and_classifiers_get_float32()
    {
        using TensorScope scope = new();
        ElementType activations = Device.Precision == Precision.Bf16 ? ElementType.BFloat16 : ElementType.Float32;
        Tensor image = Tensor.Uniform(Device, new Shape(2, 8, 8, 3), new RandomKey(1, 0, 0), -1, 1);
        Tensor weight = Tensor.Uniform(Device, new Shape(16, 3, 3, 3), new RandomKey(1, 1, 0), -1, 1);
        Tensor x = Operation.Convolution(image, weight, default, ConvolutionSettings.Square(1, 1));
        Assert.That(x.Type, Is.EqualTo(activations), "convolution");
        Tensor depthwise = Tensor.Uniform(Device, new Shape(16, 3, 3, 1), new RandomKey(1, 2, 0), -1, 1);
        Assert.That(Operation.Convolution(x, depthwise, default, ConvolutionSettings.Square(1, 1, 1, 16)).Type, Is.EqualTo(activations), "in narrow groups, which run in float32");
        Assert.That(Operation.BatchNorm(x, new BatchNormArguments(default, default, default, default, true), new NormalizationTail(Activation.Relu)).Type, Is.EqualTo(activations), "normalization");
        Assert.That(Operation.Relu(x).Type, Is.EqualTo(activations), "activation");
        Assert.That(Operation.MaximumPool(x, PoolingSettings.Square(2)).Type, Is.EqualTo(activations), "pooling");
        Assert.That(Operation.ResidualAdd(x, x).Type, Is.EqualTo(activations), "residual sum");
        Assert.That(Operation.ResidualAdd(Tensor.Full(Device, x.Shape, 1), x).Type, Is.EqualTo(activations), "residual sum with a constant");
        Assert.That(Operation.GlobalAveragePool(x).Type, Is.EqualTo(ElementType.Float32), "global average");
        Assert.That(Operation.Flatten(x).Type, Is.EqualTo(ElementType.Float32), "flatten");
        Assert.That(Operation.Linear(Operation.Flatten(x), Tensor.Full(Device, new Shape(2, 1024), 1), default).Type, Is.EqualTo(ElementType.Float32), "linear layer");
    }

    [Test]
    public void The_copy_of_a_filter_follows_whatever_writes_to_it()
    {
        using Parameter parameter = new("weight", ParameterRole.Weight, Tensor.AllocateUnscoped(Device, new Shape(2, 1, 1, 3)));
        parameter.Value.CopyFrom([1, 2, 3, 4, 5, 6]);
        DeviceBuffer first = parameter.ReducedValue.Buffer;
        Assert.That(parameter.ReducedValue.ToArray(), Is.EqualTo(new float[] { 1, 2, 3, 4, 5, 6 }));
        parameter.Value.CopyFrom([7, 2, 3, 4, 5, 6]);
        Assert.That(parameter.ReducedValue.ToArray()[0], Is.EqualTo(7), "after a copy from the host");
        Device.Elementwise.Fill(parameter.Shape, parameter.Value.Buffer, 9);
        Assert.That(parameter.ReducedValue.ToArray()[0], Is.EqualTo(7), "a kernel's work must be told");
        parameter.ValueChanged();
        Assert.That(parameter.ReducedValue.ToArray(), Is.All.EqualTo(9));
        Assert.That(parameter.ReducedValue.Buffer, Is.EqualTo(first), "in the same memory");
        Tensor smaller = Tensor.AllocateUnscoped(Device, new Shape(1, 1, 1, 2));
        smaller.CopyFrom([5, 6]);
        parameter.Replace(smaller);
        Assert.That(parameter.ReducedValue.ToArray(), Is.EqualTo(new float[] { 5, 6 }), "after surgery");
    }
}
