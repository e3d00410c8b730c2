using Saturn.Engine.Autograd;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>
    /// Inverted dropout: zero with the given probability, else scaled by 1/(1 − probability). The mask follows from the key, so the backward pass
    /// recomputes it.
    /// </summary>
    public static Tensor Dropout(Tensor input, float probability, RandomKey key)
    {
        if (!(probability is >= 0 and < 1))
        {
            throw new ArgumentOutOfRangeException(nameof(probability), $"The dropout probability must lie in [0, 1), but is {probability}.");
        }

        input = Float32(input);
        Tensor output = Tensor.Allocate(input.Device, input.Shape);
        input.Device.Random.Dropout(input.Shape, key, probability, input.Buffer, output.Buffer, GradientMode.Overwrite);
        if (Tape.Records(input))
        {
            DropoutNode node = Tape.Rent<DropoutNode>();
            node.Initialize(probability, key);
            Tape.Record(node, output, input);
        }

        return output;
    }
}

/// <summary>A dropout on the tape.</summary>
public sealed class DropoutNode : Node
{
    private float probability;
    private RandomKey key;

    internal void Initialize(float probability, RandomKey key)
    {
        this.probability = probability;
        this.key = key;
    }

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        GradientTarget target = context.Target(0);
        context.Device.Random.Dropout(context.OutputShape, key, probability, context.OutputGradient, target.Buffer, target.Mode);
    }
}
