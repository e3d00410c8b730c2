using Saturn.Engine.Autograd;
using Saturn.Kernels;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>Layer normalization over the last dimension: y = γ·(x − mean)/√(variance + ε) + β by row; γ and β [channels], both or neither.</summary>
    public static Tensor LayerNorm(Tensor input, Tensor gamma, Tensor beta, float epsilon = 1e-5f)
    {
        int rows = input.Shape.Rows;
        int channels = input.Shape.Channels;
        (input, gamma, beta) = (Float32(input), Float32(gamma), Float32(beta));
        RequireChannels(gamma, channels, "γ");
        RequireChannels(beta, channels, "β");
        if (gamma.IsNone != beta.IsNone)
        {
            throw new ArgumentException("Layer normalization takes γ and β together, or neither.");
        }

        Tensor output = Tensor.Allocate(input.Device, input.Shape);
        Tensor saved = Tensor.AllocateUnscoped(input.Device, new Shape(checked(rows * 2)));
        input.Device.Normalization.LayerForward(rows, channels, epsilon, input.Buffer, BufferOf(gamma), BufferOf(beta), output.Buffer, saved.Buffer);
        if (Tape.Records(input, gamma, beta))
        {
            LayerNormNode node = Tape.Rent<LayerNormNode>();
            node.Initialize(node.Save(input), node.Save(gamma), node.Save(saved));
            if (gamma.IsNone)
            {
                Tape.Record(node, output, input);
            }
            else
            {
                Tape.Record(node, output, input, gamma, beta);
            }
        }

        saved.Dispose();
        return output;
    }
}

/// <summary>A layer normalization on the tape; inputs: x, then γ and β if there are.</summary>
public sealed class LayerNormNode : Node
{
    private SavedTensor input;
    private SavedTensor gamma;
    private SavedTensor saved;

    internal void Initialize(SavedTensor input, SavedTensor gamma, SavedTensor saved)
    {
        this.input = input;
        this.gamma = gamma;
        this.saved = saved;
    }

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        GradientTarget gammaTarget = InputCount > 1 ? context.Target(1) : default;
        GradientTarget betaTarget = InputCount > 1 ? context.Target(2) : default;
        GradientTarget target = context.Target(0);
        Shape shape = context.OutputShape;
        context.Device.Normalization.LayerBackward(
            shape.Rows, shape.Channels, input.Buffer, gamma.Buffer, saved.Buffer, context.OutputGradient, target.Buffer, target.Mode, gammaTarget.Buffer,
            betaTarget.Buffer, gammaTarget.Mode);
    }
}
