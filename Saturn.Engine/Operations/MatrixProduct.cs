using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>C = A·B for matrices [m, k] and [k, n]; ∂A = dC·Bᵀ, ∂B = Aᵀ·dC.</summary>
    public static Tensor MatrixMultiply(Tensor left, Tensor right)
    {
        if (left.Shape.Rank != 2 || right.Shape.Rank != 2 || left.Shape[1] != right.Shape[0])
        {
            throw new ArgumentException($"A matrix product needs shapes [m, k] and [k, n], but got {left.Shape} and {right.Shape}.");
        }

        left = Float32(left);
        right = Float32(right);
        Tensor output = Tensor.Allocate(left.Device, new Shape(left.Shape[0], right.Shape[1]));
        left.Device.Matrix.Multiply(
            new MatrixShape(left.Shape[0], right.Shape[1], left.Shape[1], false, false, left.Shape.Pitch, right.Shape.Pitch, output.Shape.Pitch),
            left.Buffer, right.Buffer, output.Buffer);
        if (Tape.Records(left, right))
        {
            MatrixProductNode node = Tape.Rent<MatrixProductNode>();
            node.Initialize(node.Save(left), node.Save(right));
            Tape.Record(node, output, left, right);
        }

        return output;
    }
}

/// <summary>A matrix product on the tape.</summary>
public sealed class MatrixProductNode : Node
{
    private SavedTensor left;
    private SavedTensor right;

    internal void Initialize(SavedTensor left, SavedTensor right)
    {
        this.left = left;
        this.right = right;
    }

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        int pitch = context.OutputShape.Pitch;
        (int m, int k, int n) = (left.Shape[0], left.Shape[1], right.Shape[1]);
        GradientTarget leftTarget = context.Target(0);
        if (leftTarget.IsWanted)
        {
            context.Device.Matrix.Multiply(
                new MatrixShape(m, k, n, false, true, pitch, right.Shape.Pitch, left.Shape.Pitch),
                context.OutputGradient, right.Buffer, leftTarget.Buffer, 1, leftTarget.Mode == GradientMode.Accumulate ? 1 : 0);
        }

        GradientTarget rightTarget = context.Target(1);
        if (rightTarget.IsWanted)
        {
            context.Device.Matrix.Multiply(
                new MatrixShape(k, n, m, true, false, left.Shape.Pitch, pitch, right.Shape.Pitch),
                left.Buffer, context.OutputGradient, rightTarget.Buffer, 1, rightTarget.Mode == GradientMode.Accumulate ? 1 : 0);
        }
    }
}
