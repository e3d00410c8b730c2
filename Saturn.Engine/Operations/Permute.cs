using Saturn.Engine.Autograd;
using Saturn.Kernels;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>Reorders dimensions: output dimension i is input dimension order[i].</summary>
    public static Tensor Permute(Tensor input, params ReadOnlySpan<int> order)
    {
        int rank = input.Shape.Rank;
        int seen = 0;
        foreach (int dimension in order)
        {
            seen |= (uint)dimension < (uint)rank ? 1 << dimension : 0;
        }

        if (order.Length != rank || seen != (1 << rank) - 1)
        {
            throw new ArgumentException($"The order of a permutation of {input.Shape} must name each of its {rank} dimensions once, but is [{string.Join(", ", order.ToArray())}].");
        }

        Span<int> extents = stackalloc int[Shape.MaximumRank];
        for (int i = 0; i < rank; i++)
        {
            extents[i] = input.Shape[order[i]];
        }

        Tensor output = Tensor.Allocate(input.Device, new Shape(extents[..rank]), input.Type);
        input.Device.Elementwise.Permute(input.Shape, order, input.Buffer, output.Buffer);
        if (Tape.Records(input))
        {
            PermuteNode node = Tape.Rent<PermuteNode>();
            node.Initialize(order);
            Tape.Record(node, output, input);
        }

        return output;
    }
}

/// <summary>A permutation of dimensions on the tape.</summary>
public sealed class PermuteNode : Node
{
    private readonly int[] inverse = new int[Shape.MaximumRank];

    internal void Initialize(ReadOnlySpan<int> order)
    {
        for (int i = 0; i < order.Length; i++)
        {
            inverse[order[i]] = i;
        }
    }

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        if (!context.Wants(0))
        {
            return;
        }

        using Tensor gradient = Tensor.AllocateUnscoped(context.Device, context.InputShape(0), context.InputType(0));
        context.Device.Elementwise.Permute(context.OutputShape, inverse.AsSpan(0, context.OutputShape.Rank), context.OutputGradient, gradient.Buffer);
        context.Add(0, gradient);
    }
}
