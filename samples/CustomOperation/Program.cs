// Add an operation with a backward pass of its own, and check the gradient: x³, computed by the engine's kernels.
using Saturn.Engine;
using Saturn.Engine.Autograd;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Families;

using Device device = new CpuDevice();
using TensorScope scope = new();
Tensor x = Tensor.Uniform(device, new Shape(3, 7), new RandomKey(Seed: 1, Stream: 0, Step: 0), -1, 1);

// Against central differences of the operation itself, and of a reference in double precision.
Report("float32 differences", GradientCheck.Compare(inputs => Cube.Of(inputs[0]), [x]), tolerance: 2e-3);
Report("double-precision reference", GradientCheck.Compare(inputs => Cube.Of(inputs[0]), Reference, [x]), tolerance: 1e-6);

static double[] Reference(double[][] inputs) => [.. inputs[0].Select(value => value * value * value)];

static void Report(string name, IReadOnlyList<GradientComparison> comparisons, double tolerance)
{
    GradientCheck.Require(comparisons, tolerance);
    Console.WriteLine($"{name}: relative error {comparisons[0].RelativeError:E1}, within {tolerance:E0}");
}

internal sealed class Cube : Node
{
    private SavedTensor input;

    public static Tensor Of(Tensor x)
    {
        x = Operation.Convert(x, ElementType.Float32); // what the kernel reads, also where activations are bfloat16
        Tensor output = Tensor.Allocate(x.Device, x.Shape);
        x.Device.Elementwise.Unary(UnaryOperation.Square, x.Shape, x.Buffer, output.Buffer);
        x.Device.Elementwise.Binary(BinaryOperation.Multiply, x.Shape, x.Buffer, x.Shape, output.Buffer, x.Shape, output.Buffer);
        if (Tape.Records(x))
        {
            Cube node = Tape.Rent<Cube>();
            node.input = node.Save(x);
            Tape.Record(node, output, x);
        }

        return output;
    }

    // ∂L/∂x = 3x²·∂L/∂y
    protected override void Backward(in BackwardContext context)
    {
        Shape shape = context.OutputShape;
        IElementwiseKernels elementwise = context.Device.Elementwise;
        using Tensor gradient = Tensor.AllocateUnscoped(context.Device, shape);
        elementwise.Unary(UnaryOperation.Square, shape, input.Buffer, gradient.Buffer);
        elementwise.Unary(UnaryOperation.Affine, shape, gradient.Buffer, gradient.Buffer, 3);
        elementwise.Binary(BinaryOperation.Multiply, shape, gradient.Buffer, shape, context.OutputGradient, shape, gradient.Buffer);
        context.Add(0, gradient);
    }
}
