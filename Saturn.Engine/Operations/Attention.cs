using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>
    /// Scaled dot-product self-attention: packed queries, keys and values [batch, tokens, 3·width] to [batch, tokens, width]; see <see cref="IAttentionKernels"/> for the formula.
    /// </summary>
    /// <param name="packed">Queries, keys and values side by side, each with its heads side by side.</param>
    /// <param name="heads">Heads; they divide the width into at most 128 channels each.</param>
    public static Tensor Attention(Tensor packed, int heads)
    {
        Shape x = packed.Shape;
        if (x.Rank != 3 || heads < 1 || x[2] % (3 * heads) != 0 || x[2] / (3 * heads) > AttentionShape.MaximumHeadWidth)
        {
            throw new ArgumentException(
                $"Attention with {heads} heads needs queries, keys and values [batch, tokens, 3·width] whose width the heads divide into 1 to {AttentionShape.MaximumHeadWidth} channels each, but got {x}.");
        }

        packed = Float32(packed);
        AttentionShape shape = new(x[0], x[1], heads, x[2] / (3 * heads));
        Tensor output = Tensor.Allocate(packed.Device, new Shape(x[0], x[1], shape.Width));
        Tensor statistics = Tensor.AllocateUnscoped(packed.Device, new Shape(checked(2 * shape.Rows)));
        packed.Device.Attention.Forward(shape, packed.Buffer, output.Buffer, statistics.Buffer);
        if (Tape.Records(packed))
        {
            AttentionNode node = Tape.Rent<AttentionNode>();
            node.Initialize(shape, node.Save(packed), node.Save(output), node.Save(statistics));
            Tape.Record(node, output, packed);
        }

        statistics.Dispose();
        return output;
    }
}

/// <summary>A self-attention on the tape.</summary>
public sealed class AttentionNode : Node
{
    private SavedTensor packed;
    private SavedTensor output;
    private SavedTensor statistics;

    /// <summary>Sizes.</summary>
    public AttentionShape Shape { get; private set; }

    internal void Initialize(in AttentionShape shape, SavedTensor packed, SavedTensor output, SavedTensor statistics)
    {
        Shape = shape;
        this.packed = packed;
        this.output = output;
        this.statistics = statistics;
    }

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        GradientTarget target = context.Target(0);
        if (target.IsWanted)
        {
            context.Device.Attention.Backward(Shape, packed.Buffer, output.Buffer, statistics.Buffer, context.OutputGradient, target.Buffer, target.Mode);
        }
    }
}
