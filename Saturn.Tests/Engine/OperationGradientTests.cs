using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Autograd;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Engine;

/// <summary>Every differentiable operation against central differences of itself, at odd channel counts, batch 1 included.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.ObservedNames))]
public sealed class OperationGradientTests(string device) : EngineTest(device)
{
    private const double Tolerance = 4e-3;

    /// <summary>One row of the matrix: name, input shapes, the range their values are drawn from, and the function.</summary>
    internal static readonly (string Name, int[][] Shapes, float Low, float High, Func<Tensor[], Tensor> Function)[] Rows =
    [
        ("Add", [[2, 3, 7], [2, 3, 7]], -1, 1, x => x[0] + x[1]),
        ("Add, broadcast vector", [[2, 3, 7], [7]], -1, 1, x => x[0] + x[1]),
        ("Subtract, broadcast both", [[2, 1, 3], [4, 1]], -1, 1, x => x[0] - x[1]),
        ("Multiply", [[3, 37], [3, 37]], -1, 1, x => x[0] * x[1]),
        ("Multiply, broadcast column", [[3, 7], [3, 1]], -1, 1, x => x[0] * x[1]),
        ("Divide", [[3, 7], [3, 7]], 0.5f, 2, x => x[0] / x[1]),
        ("Divide, broadcast", [[3, 7], [7]], 0.5f, 2, x => x[0] / x[1]),
        ("the same tensor twice", [[3, 7]], -1, 1, x => x[0] * x[0] + x[0]),
        ("Maximum", [[4, 7], [4, 7]], -1, 1, x => Operation.Maximum(x[0], x[1] * 0.01f)),
        ("Minimum", [[4, 7], [4, 7]], -1, 1, x => Operation.Minimum(x[0], x[1] * 0.01f)),
        ("Affine", [[5]], -1, 1, x => Operation.Affine(x[0], 2.5f, -1)),
        ("Negate", [[5]], -1, 1, x => -x[0]),
        ("Absolute", [[9]], 0.1f, 1, x => Operation.Absolute(-x[0])),
        ("Square", [[9]], -1, 1, x => Operation.Square(x[0])),
        ("SquareRoot", [[9]], 0.5f, 2, x => Operation.SquareRoot(x[0])),
        ("Reciprocal", [[9]], 0.5f, 2, x => Operation.Reciprocal(x[0])),
        ("Exponential", [[9]], -1, 1, x => Operation.Exponential(x[0])),
        ("Logarithm", [[9]], 0.5f, 2, x => Operation.Logarithm(x[0])),
        ("Sine", [[9]], -2, 2, x => Operation.Sine(x[0])),
        ("Cosine", [[9]], -2, 2, x => Operation.Cosine(x[0])),
        ("HyperbolicTangent", [[9]], -1, 1, x => Operation.HyperbolicTangent(x[0])),
        ("Sigmoid", [[9]], -2, 2, x => Operation.Sigmoid(x[0])),
        ("Power", [[9]], 0.5f, 2, x => Operation.Power(x[0], 2.5f)),
        ("Clamp", [[9]], 0.2f, 0.8f, x => Operation.Clamp(x[0], 0, 1) + Operation.Clamp(x[0], 2, 3)),
        ("Sum", [[2, 3, 7]], -1, 1, x => Operation.Sum(x[0])),
        ("Mean", [[2, 3, 7]], -1, 1, x => Operation.Mean(x[0])),
        ("Reduce to channels", [[2, 3, 7]], -1, 1, x => Operation.Reduce(ReductionOperation.Mean, x[0], new Shape(7))),
        ("Reduce to rows", [[2, 3, 7]], -1, 1, x => Operation.Reduce(ReductionOperation.Sum, x[0], new Shape(2, 3, 1))),
        ("Reduce, maximum", [[3, 7]], -1, 1, x => Operation.Reduce(ReductionOperation.Maximum, x[0], new Shape(3, 1))),
        ("Reduce, minimum", [[3, 7]], -1, 1, x => Operation.Reduce(ReductionOperation.Minimum, x[0], new Shape(7))),
        ("MatrixMultiply", [[3, 7], [7, 5]], -1, 1, x => Operation.MatrixMultiply(x[0], x[1])),
        ("Linear", [[4, 7], [3, 7], [3]], -1, 1, x => Operation.Linear(x[0], x[1], x[2])),
        ("Linear, batch 1", [[1, 37], [1, 37], [1]], -1, 1, x => Operation.Linear(x[0], x[1], x[2])),
        ("Convolution 3×3", [[2, 5, 5, 3], [7, 3, 3, 3], [7]], -1, 1, x => Operation.Convolution(x[0], x[1], x[2], ConvolutionSettings.Square(padding: 1))),
        ("Convolution 3×3, stride 2", [[1, 6, 5, 3], [5, 3, 3, 3]], -1, 1, x => Operation.Convolution(x[0], x[1], default, ConvolutionSettings.Square(2, 1))),
        ("Convolution 1×1, stride 2", [[2, 4, 4, 7], [3, 1, 1, 7]], -1, 1, x => Operation.Convolution(x[0], x[1], default, ConvolutionSettings.Square(2))),
        ("Convolution 2×3, stride 1×2, padding 1×0, dilation 2×1", [[2, 5, 6, 3], [4, 2, 3, 3], [4]], -1, 1, x => Operation.Convolution(x[0], x[1], x[2], new ConvolutionSettings(1, 2, 1, 0, 2, 1))),
        ("Convolution, dilation 2", [[1, 7, 7, 1], [3, 3, 3, 1]], -1, 1, x => Operation.Convolution(x[0], x[1], default, ConvolutionSettings.Square(1, 2, 2))),
        ("Convolution, 3 groups", [[2, 4, 4, 6], [9, 3, 3, 2]], -1, 1, x => Operation.Convolution(x[0], x[1], default, ConvolutionSettings.Square(1, 1, 1, 3))),
        ("Convolution, depthwise", [[2, 4, 4, 7], [7, 3, 3, 1]], -1, 1, x => Operation.Convolution(x[0], x[1], default, ConvolutionSettings.Square(1, 1, 1, 7))),
        ("Activate, ReLU", [[3, 7]], 0.1f, 1, x => Operation.Relu(x[0]) + Operation.Relu(-x[0])),
        ("Activate, leaky ReLU", [[3, 7]], 0.1f, 1, x => Operation.Activate(-x[0], Activation.LeakyRelu(0.05f))),
        ("Activate, GELU", [[3, 7]], -2, 2, x => Operation.Activate(x[0], Activation.Gelu)),
        ("Activate, SiLU", [[3, 7]], -2, 2, x => Operation.Activate(x[0], Activation.Silu(1.5f))),
        ("BatchNorm", [[4, 3, 7], [7], [7]], -1, 1, x => Operation.BatchNorm(x[0], new BatchNormArguments(x[1], x[2], default, default, true), new NormalizationTail(Activation.Identity))),
        ("BatchNorm with residual", [[6, 3], [3], [3], [6, 3]], -1, 1, x => Operation.BatchNorm(x[0], new BatchNormArguments(x[1], x[2], default, default, true), new NormalizationTail(Activation.Identity, x[3]))),
        ("BatchNorm, then GELU", [[6, 3], [3], [3]], -1, 1, x => Operation.BatchNorm(x[0], new BatchNormArguments(x[1], x[2], default, default, true), new NormalizationTail(Activation.Gelu))),
        ("ConvBatchNormRelu", [[2, 4, 4, 3], [7, 3, 3, 3], [7], [7]], 0.2f, 1, x => Operation.ConvBatchNormRelu(x[0], x[1], ConvolutionSettings.Square(padding: 1), new BatchNormArguments(x[2], x[3] + 5, default, default, true), new NormalizationTail(Activation.Relu))),
        ("LayerNorm", [[3, 7], [7], [7]], -1, 1, x => Operation.LayerNorm(x[0], x[1], x[2])),
        ("LayerNorm without scale", [[3, 37]], -1, 1, x => Operation.LayerNorm(x[0], default, default)),
        ("Attention", [[2, 3, 12]], -1, 1, x => Operation.Attention(x[0] * 2, 2)),
        ("Linear on tokens", [[2, 3, 5], [4, 5], [4]], -1, 1, x => Operation.Linear(x[0], x[1], x[2])),
        ("MaximumPool", [[2, 4, 4, 3]], -1, 1, x => Operation.MaximumPool(x[0] * 4, PoolingSettings.Square(2))),
        ("MaximumPool 3×3, stride 2, padding 1", [[1, 5, 5, 3]], -1, 1, x => Operation.MaximumPool(x[0] * 4, PoolingSettings.Square(3, 2, 1))),
        ("AveragePool", [[2, 4, 4, 3]], -1, 1, x => Operation.AveragePool(x[0], PoolingSettings.Square(2))),
        ("AveragePool, padding not counted", [[1, 5, 5, 3]], -1, 1, x => Operation.AveragePool(x[0], PoolingSettings.Square(3, 2, 1), false)),
        ("GlobalAveragePool", [[2, 3, 3, 7]], -1, 1, x => Operation.GlobalAveragePool(x[0])),
        ("Softmax", [[3, 7]], -1, 1, x => Operation.Softmax(x[0])),
        ("Dropout", [[3, 37]], -1, 1, x => Operation.Dropout(x[0], 0.3f, new RandomKey(1, 2, 3))),
        ("Reshape", [[2, 3, 7]], -1, 1, x => Operation.Reshape(x[0], new Shape(3, 14))),
        ("Flatten", [[2, 2, 2, 3]], -1, 1, x => Operation.Flatten(x[0])),
        ("Permute", [[2, 3, 7]], -1, 1, x => Operation.Permute(x[0], 2, 0, 1)),
        ("Concatenate", [[2, 3], [2, 7], [2, 1]], -1, 1, x => Operation.Concatenate(x[0], x[1], x[2])),
        ("ResidualAdd", [[3, 7], [3, 7]], -1, 1, x => Operation.ResidualAdd(x[0], x[1])),
        ("a value read twice", [[3, 7]], -1, 1, x => { Tensor y = Operation.Square(x[0]); return Operation.Concatenate(y, Operation.Relu(y)) * 2 + 1; }),
    ];

    private static IEnumerable<TestCaseData> Cases =>
        Rows.Select((row, index) => new TestCaseData(index).SetArgDisplayNames(row.Name));

    [TestCaseSource(nameof(Cases))]
    public void Backward_agrees_with_central_differences(int index)
    {
        var row = Rows[index];
        using TensorScope scope = new();
        Tensor[] inputs = Inputs(row.Shapes, row.Low, row.High);
        // Where an extremum decides, a short step keeps the decision; selections are exact in float32, so nothing is lost.
        double step = row.Name.Contains("aximum") || row.Name.Contains("inimum") ? 1e-3 : 1e-2;
        GradientCheck.Require(GradientCheck.Compare(row.Function, inputs, step), Tolerance);
    }

    [TestCaseSource(nameof(Cases))]
    public void Forward_and_backward_give_equal_bits_twice(int index)
    {
        var row = Rows[index];
        using TensorScope scope = new();
        Tensor[] inputs = Inputs(row.Shapes, row.Low, row.High);
        float[] first = Run();
        Assert.That(Run(), Is.EqualTo(first));

        float[] Run()
        {
            using TensorScope inner = new();
            Tensor[] leaves = [.. inputs.Select(input => input.Clone().RequireGradient())];
            Tensor output = row.Function(leaves);
            float[] values = output.ToArray();
            Operation.Sum(Operation.Square(output)).Backward();
            return [.. values, .. leaves.SelectMany(leaf => leaf.CopyGradient().ToArray())];
        }
    }

    [Test]
    public void A_residual_read_through_a_map_sends_its_gradient_back_through_the_inverse()
    {
        using Shortcut shortcut = new();
        shortcut.SetMap(new ShortcutMap([2, -1, 0], 5));
        using TensorScope scope = new();
        Tensor[] inputs = Inputs([[6, 3], [3], [3], [6, 5]], 0.2f, 1);
        Tensor Function(Tensor[] x) => Operation.BatchNorm(
            x[0], new BatchNormArguments(x[1], x[2] + 4, default, default, true), new NormalizationTail(Activation.Relu, x[3], shortcut));
        GradientCheck.Require(GradientCheck.Compare(Function, inputs), Tolerance);

        Tensor[] sum = Inputs([[6, 3], [6, 5]], -1, 1);
        GradientCheck.Require(GradientCheck.Compare(x => Operation.ResidualAdd(x[0], x[1], shortcut), sum), Tolerance);
    }

    [Test]
    public void Cross_entropy_agrees_with_central_differences([Values(0f, 0.1f)] float smoothing)
    {
        using TensorScope scope = new();
        Tensor labels = Tensor.FromValues(Device, [0, 6, 3]);
        Tensor[] inputs = Inputs([[3, 7]], -2, 2);
        GradientCheck.Require(GradientCheck.Compare(x => Operation.SoftmaxCrossEntropy(x[0], labels, smoothing), inputs), Tolerance);
    }

    [Test]
    public void A_wrong_gradient_is_caught()
    {
        using TensorScope scope = new();
        Tensor[] inputs = Inputs([[3, 7]], 0.5f, 1);
        Assert.That(
            () => GradientCheck.Require(GradientCheck.Compare(WrongCube, inputs), Tolerance),
            Throws.TypeOf<GradientMismatchException>().With.Message.Contains("input 0"));

        static Tensor WrongCube(Tensor[] x)
        {
            // The forward pass cubes, but the graph only sees the square: what a forgotten factor in a backward pass looks like.
            Tensor y = Operation.Square(x[0]);
            using InferenceScope inference = new();
            Tensor detached = x[0].Clone();
            return Multiply(y, detached);
        }

        static Tensor Multiply(Tensor y, Tensor detached)
        {
            Tensor output = Tensor.Allocate(y.Device, y.Shape);
            y.Device.Elementwise.Binary(BinaryOperation.Multiply, y.Shape, y.Buffer, detached.Shape, detached.Buffer, y.Shape, output.Buffer);
            if (y.RequiresGradient)
            {
                Tape.Record(Tape.Rent<ReshapeNode>(), output, y);
            }

            return output;
        }
    }

    private Tensor[] Inputs(int[][] shapes, float low, float high) =>
        [.. shapes.Select((shape, i) => Tensor.Uniform(Device, new Shape(shape), new RandomKey(7, (uint)i, 0), low, high))];
}
