using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>The sum of all elements, a scalar.</summary>
    public static Tensor Sum(Tensor input) => Reduce(ReductionOperation.Sum, input, default);

    /// <summary>The mean of all elements, a scalar.</summary>
    public static Tensor Mean(Tensor input) => Reduce(ReductionOperation.Mean, input, default);

    /// <summary>
    /// Reduces to a shape that broadcasts to the input's, such as [1, 1, 1, channels] or [channels]: each extent is the input's or 1, leading ones may be left out.
    /// For Maximum and Minimum every element equal to the extremum receives the gradient.
    /// </summary>
    public static Tensor Reduce(ReductionOperation operation, Tensor input, Shape outputShape)
    {
        if (outputShape.Rank > input.Shape.Rank || Shape.Broadcast(input.Shape, outputShape) != input.Shape)
        {
            throw new ArgumentException($"Shape {input.Shape} cannot be reduced to {outputShape}: every extent must be the input's or 1, aligned at the last dimension.");
        }

        input = Float32(input);
        Tensor output = Tensor.Allocate(input.Device, outputShape);
        input.Device.Reduction.Reduce(operation, input.Shape, input.Buffer, outputShape, output.Buffer);
        if (Tape.Records(input))
        {
            ReductionNode node = Tape.Rent<ReductionNode>();
            bool extremum = operation is ReductionOperation.Maximum or ReductionOperation.Minimum;
            node.Initialize(operation, extremum ? node.Save(input) : default, extremum ? node.Save(output) : default);
            Tape.Record(node, output, input);
        }

        return output;
    }
}

/// <summary>A reduction on the tape.</summary>
public sealed class ReductionNode : Node
{
    private SavedTensor input;
    private SavedTensor output;

    /// <summary>Which reduction.</summary>
    public ReductionOperation Kind { get; private set; }

    internal void Initialize(ReductionOperation kind, SavedTensor input, SavedTensor output)
    {
        Kind = kind;
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

        // Broadcasting is the adjoint of summing: spread the gradient as factor·gradient, the factor being 1, 1/n, or "is the extremum".
        Shape shape = context.InputShape(0);
        Shape outputShape = context.OutputShape;
        IElementwiseKernels elementwise = context.Device.Elementwise;
        using Tensor spread = Tensor.AllocateUnscoped(context.Device, shape);
        if (Kind is ReductionOperation.Maximum or ReductionOperation.Minimum)
        {
            elementwise.Binary(BinaryOperation.Equal, shape, input.Buffer, outputShape, output.Buffer, shape, spread.Buffer);
        }
        else
        {
            elementwise.Fill(shape, spread.Buffer, Kind == ReductionOperation.Sum ? 1 : (float)((double)outputShape.ElementCount / shape.ElementCount));
        }

        elementwise.Binary(BinaryOperation.Multiply, shape, spread.Buffer, outputShape, context.OutputGradient, shape, spread.Buffer);
        context.Add(0, spread);
    }
}
