using Saturn.Engine.Autograd;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>Softmax over the last dimension.</summary>
    public static Tensor Softmax(Tensor input)
    {
        input = Float32(input);
        Tensor output = Tensor.Allocate(input.Device, input.Shape);
        input.Device.Loss.SoftmaxForward(input.Shape.Rows, input.Shape.Channels, input.Buffer, output.Buffer);
        if (Tape.Records(input))
        {
            SoftmaxNode node = Tape.Rent<SoftmaxNode>();
            node.Initialize(node.Save(output));
            Tape.Record(node, output, input);
        }

        return output;
    }
}

/// <summary>A softmax on the tape.</summary>
public sealed class SoftmaxNode : Node
{
    private SavedTensor output;

    internal void Initialize(SavedTensor output) => this.output = output;

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        GradientTarget target = context.Target(0);
        context.Device.Loss.SoftmaxBackward(
            output.Shape.Rows, output.Shape.Channels, output.Buffer, context.OutputGradient, target.Buffer, target.Mode);
    }
}
