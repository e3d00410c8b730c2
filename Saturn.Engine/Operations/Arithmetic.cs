using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

/// <summary>
/// The differentiable operations. Each checks shapes, allocates its output in the current scope, calls a kernel family, and records how to go back. Every
/// operation has a file of its own, or shares one with its near relatives.
/// </summary>
public static partial class Operation
{
    /// <summary>x + y with broadcasting; ∂x = dy, ∂y = dy, each summed over the broadcast dimensions.</summary>
    public static Tensor Add(Tensor left, Tensor right) => Binary(BinaryOperation.Add, left, right);

    /// <summary>x − y with broadcasting.</summary>
    public static Tensor Subtract(Tensor left, Tensor right) => Binary(BinaryOperation.Subtract, left, right);

    /// <summary>x·y elementwise with broadcasting; ∂x = y·dz, ∂y = x·dz.</summary>
    public static Tensor Multiply(Tensor left, Tensor right) => Binary(BinaryOperation.Multiply, left, right);

    /// <summary>x/y elementwise with broadcasting; ∂x = dz/y, ∂y = −dz·x/y².</summary>
    public static Tensor Divide(Tensor left, Tensor right) => Binary(BinaryOperation.Divide, left, right);

    /// <summary>max(x, y) with broadcasting; the gradient goes to x where x ≥ y, else to y.</summary>
    public static Tensor Maximum(Tensor left, Tensor right) => Binary(BinaryOperation.Maximum, left, right);

    /// <summary>min(x, y) with broadcasting; the gradient goes to x where x &lt; y, else to y.</summary>
    public static Tensor Minimum(Tensor left, Tensor right) => Binary(BinaryOperation.Minimum, left, right);

    /// <summary>a·x + b; ∂x = a·dy.</summary>
    public static Tensor Affine(Tensor input, float scale, float offset) => Unary(UnaryOperation.Affine, input, scale, offset);

    /// <summary>−x.</summary>
    public static Tensor Negate(Tensor input) => Unary(UnaryOperation.Negate, input);

    /// <summary>|x|; ∂x = sign(x)·dy.</summary>
    public static Tensor Absolute(Tensor input) => Unary(UnaryOperation.Absolute, input);

    /// <summary>x²; ∂x = 2x·dy.</summary>
    public static Tensor Square(Tensor input) => Unary(UnaryOperation.Square, input);

    /// <summary>√x; ∂x = dy/(2√x).</summary>
    public static Tensor SquareRoot(Tensor input) => Unary(UnaryOperation.SquareRoot, input);

    /// <summary>1/x; ∂x = −dy/x².</summary>
    public static Tensor Reciprocal(Tensor input) => Unary(UnaryOperation.Reciprocal, input);

    /// <summary>eˣ; ∂x = eˣ·dy.</summary>
    public static Tensor Exponential(Tensor input) => Unary(UnaryOperation.Exponential, input);

    /// <summary>ln x; ∂x = dy/x.</summary>
    public static Tensor Logarithm(Tensor input) => Unary(UnaryOperation.Logarithm, input);

    /// <summary>sin x; ∂x = cos x·dy.</summary>
    public static Tensor Sine(Tensor input) => Unary(UnaryOperation.Sine, input);

    /// <summary>cos x; ∂x = −sin x·dy.</summary>
    public static Tensor Cosine(Tensor input) => Unary(UnaryOperation.Cosine, input);

    /// <summary>tanh x; ∂x = (1 − tanh²x)·dy.</summary>
    public static Tensor HyperbolicTangent(Tensor input) => Unary(UnaryOperation.HyperbolicTangent, input);

    /// <summary>s = 1/(1 + e⁻ˣ); ∂x = s(1 − s)·dy.</summary>
    public static Tensor Sigmoid(Tensor input) => Unary(UnaryOperation.Sigmoid, input);

    /// <summary>xᵃ; ∂x = a·xᵃ⁻¹·dy.</summary>
    public static Tensor Power(Tensor input, float exponent) => Unary(UnaryOperation.Power, input, exponent);

    /// <summary>x limited to [low, high]; the gradient passes inside, bounds included.</summary>
    public static Tensor Clamp(Tensor input, float low, float high)
    {
        if (!(low <= high))
        {
            throw new ArgumentException($"The lower bound {low} of a clamp must not exceed the upper bound {high}.", nameof(low));
        }

        return Unary(UnaryOperation.Clamp, input, low, high);
    }

    private static Tensor Binary(BinaryOperation kind, Tensor left, Tensor right)
    {
        left = Float32(left);
        right = Float32(right);
        Shape shape = Shape.Broadcast(left.Shape, right.Shape);
        Tensor output = Tensor.Allocate(left.Device, shape);
        left.Device.Elementwise.Binary(kind, left.Shape, left.Buffer, right.Shape, right.Buffer, shape, output.Buffer);
        if (Tape.Records(left, right))
        {
            BinaryNode node = Tape.Rent<BinaryNode>();
            bool linear = kind is BinaryOperation.Add or BinaryOperation.Subtract;
            node.Initialize(kind, linear ? default : node.Save(left), linear ? default : node.Save(right));
            Tape.Record(node, output, left, right);
        }

        return output;
    }

    private static Tensor Unary(UnaryOperation kind, Tensor input, float a = 0, float b = 0)
    {
        input = Float32(input);
        Tensor output = Tensor.Allocate(input.Device, input.Shape);
        input.Device.Elementwise.Unary(kind, input.Shape, input.Buffer, output.Buffer, a, b);
        if (Tape.Records(input))
        {
            UnaryNode node = Tape.Rent<UnaryNode>();
            node.Initialize(kind, a, b, node.Save(input), node.Save(output));
            Tape.Record(node, output, input);
        }

        return output;
    }
}

/// <summary>A binary elementwise operation on the tape.</summary>
public sealed class BinaryNode : Node
{
    private SavedTensor left;
    private SavedTensor right;

    /// <summary>Which operation.</summary>
    public BinaryOperation Kind { get; private set; }

    internal void Initialize(BinaryOperation kind, SavedTensor left, SavedTensor right)
    {
        Kind = kind;
        this.left = left;
        this.right = right;
    }

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        for (int input = 0; input < 2; input++)
        {
            if (!context.Wants(input))
            {
                continue;
            }

            Shape shape = context.OutputShape;
            if (Kind == BinaryOperation.Add || (Kind == BinaryOperation.Subtract && input == 0))
            {
                if (context.InputShape(input) == shape)
                {
                    context.PassThrough(input);
                    continue;
                }

                GradientTarget direct = context.Target(input);
                context.Device.Reduction.Reduce(ReductionOperation.Sum, shape, context.OutputGradient, context.InputShape(input), direct.Buffer, direct.Mode);
                continue;
            }

            using Tensor full = Tensor.AllocateUnscoped(context.Device, shape);
            WriteFactorTimesGradient(context, input, full);
            GradientTarget target = context.Target(input);
            context.Device.Reduction.Reduce(ReductionOperation.Sum, shape, full.Buffer, context.InputShape(input), target.Buffer, target.Mode);
        }
    }

    private void WriteFactorTimesGradient(in BackwardContext context, int input, Tensor full)
    {
        IElementwiseKernels elementwise = context.Device.Elementwise;
        Shape shape = full.Shape;
        DeviceBuffer gradient = context.OutputGradient;
        switch (Kind)
        {
            case BinaryOperation.Subtract:
                elementwise.Unary(UnaryOperation.Negate, shape, gradient, full.Buffer);
                break;
            case BinaryOperation.Multiply:
                SavedTensor other = input == 0 ? right : left;
                elementwise.Binary(BinaryOperation.Multiply, shape, gradient, other.Shape, other.Buffer, shape, full.Buffer);
                break;
            case BinaryOperation.Divide:
                elementwise.Binary(BinaryOperation.Divide, shape, gradient, right.Shape, right.Buffer, shape, full.Buffer);
                if (input == 1)
                {
                    elementwise.Binary(BinaryOperation.Divide, shape, full.Buffer, right.Shape, right.Buffer, shape, full.Buffer);
                    elementwise.Binary(BinaryOperation.Multiply, shape, full.Buffer, left.Shape, left.Buffer, shape, full.Buffer);
                    elementwise.Unary(UnaryOperation.Negate, shape, full.Buffer, full.Buffer);
                }

                break;
            case BinaryOperation.Maximum:
            case BinaryOperation.Minimum:
                // max: x wins where x ≥ y; min: x wins where x < y. The other operand gets the rest.
                BinaryOperation winner = Kind == BinaryOperation.Maximum ? BinaryOperation.GreaterOrEqual : BinaryOperation.Less;
                elementwise.Binary(winner, left.Shape, left.Buffer, right.Shape, right.Buffer, shape, full.Buffer);
                if (input == 1)
                {
                    elementwise.Unary(UnaryOperation.Affine, shape, full.Buffer, full.Buffer, -1, 1);
                }

                elementwise.Binary(BinaryOperation.Multiply, shape, full.Buffer, shape, gradient, shape, full.Buffer);
                break;
            default:
                throw new NotSupportedException($"{Kind} is not differentiable.");
        }
    }
}

/// <summary>A unary elementwise operation on the tape.</summary>
public sealed class UnaryNode : Node
{
    private float a;
    private float b;
    private SavedTensor input;
    private SavedTensor output;

    /// <summary>Which operation.</summary>
    public UnaryOperation Kind { get; private set; }

    internal void Initialize(UnaryOperation kind, float a, float b, SavedTensor input, SavedTensor output)
    {
        Kind = kind;
        this.a = a;
        this.b = b;
        this.input = input;
        this.output = output;
    }

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        if (!context.Wants(0))
        {
            return;
        }

        IElementwiseKernels elementwise = context.Device.Elementwise;
        Shape shape = context.OutputShape;
        using Tensor result = Tensor.AllocateUnscoped(context.Device, shape);
        DeviceBuffer derivative = result.Buffer;
        WriteDerivative(elementwise, shape, derivative);
        elementwise.Binary(BinaryOperation.Multiply, shape, derivative, shape, context.OutputGradient, shape, derivative);
        context.Add(0, result);
    }

    private void WriteDerivative(IElementwiseKernels elementwise, in Shape shape, DeviceBuffer derivative)
    {
        switch (Kind)
        {
            case UnaryOperation.Copy:
                elementwise.Fill(shape, derivative, 1);
                break;
            case UnaryOperation.Affine:
                elementwise.Fill(shape, derivative, a);
                break;
            case UnaryOperation.Negate:
                elementwise.Fill(shape, derivative, -1);
                break;
            case UnaryOperation.Absolute:
                elementwise.Unary(UnaryOperation.Sign, shape, input.Buffer, derivative);
                break;
            case UnaryOperation.Square:
                elementwise.Unary(UnaryOperation.Affine, shape, input.Buffer, derivative, 2);
                break;
            case UnaryOperation.SquareRoot:
                elementwise.Unary(UnaryOperation.Reciprocal, shape, output.Buffer, derivative);
                elementwise.Unary(UnaryOperation.Affine, shape, derivative, derivative, 0.5f);
                break;
            case UnaryOperation.Reciprocal:
                elementwise.Unary(UnaryOperation.Square, shape, output.Buffer, derivative);
                elementwise.Unary(UnaryOperation.Negate, shape, derivative, derivative);
                break;
            case UnaryOperation.Exponential:
                elementwise.Unary(UnaryOperation.Copy, shape, output.Buffer, derivative);
                break;
            case UnaryOperation.Logarithm:
                elementwise.Unary(UnaryOperation.Reciprocal, shape, input.Buffer, derivative);
                break;
            case UnaryOperation.Sine:
                elementwise.Unary(UnaryOperation.Cosine, shape, input.Buffer, derivative);
                break;
            case UnaryOperation.Cosine:
                elementwise.Unary(UnaryOperation.Sine, shape, input.Buffer, derivative);
                elementwise.Unary(UnaryOperation.Negate, shape, derivative, derivative);
                break;
            case UnaryOperation.HyperbolicTangent:
                elementwise.Unary(UnaryOperation.Square, shape, output.Buffer, derivative);
                elementwise.Unary(UnaryOperation.Affine, shape, derivative, derivative, -1, 1);
                break;
            case UnaryOperation.Sigmoid:
                // s − s²
                elementwise.Unary(UnaryOperation.Square, shape, output.Buffer, derivative);
                elementwise.Binary(BinaryOperation.Subtract, shape, output.Buffer, shape, derivative, shape, derivative);
                break;
            case UnaryOperation.Power:
                elementwise.Unary(UnaryOperation.Power, shape, input.Buffer, derivative, a - 1);
                elementwise.Unary(UnaryOperation.Affine, shape, derivative, derivative, a);
                break;
            case UnaryOperation.Clamp:
                elementwise.Unary(UnaryOperation.InsideRange, shape, input.Buffer, derivative, a, b);
                break;
            default:
                throw new NotSupportedException($"{Kind} is not differentiable.");
        }
    }
}
