using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>
    /// y = g·x by channel. A gate is a normalization with mean 0, variance 1 and scale g, so the kernels are that family's. Open gates return x itself under another name on the tape: nothing is computed
    /// or copied, and only the backward pass takes the dot products Σ_rows x·∂L/∂y, one pass that reads both and writes a number a channel.
    /// </summary>
    /// <param name="input">x, channels last.</param>
    /// <param name="gates">The gates, one a channel.</param>
    public static Tensor Gate(Tensor input, ChannelGates gates)
    {
        if (gates.Channels != input.Shape.Channels)
        {
            throw new ArgumentException($"{gates.Channels} gates do not fit a tensor of shape {input.Shape}; one a channel is needed.", nameof(gates));
        }

        BatchNormShape shape = new(input.Shape.Rows, input.Shape.Channels, 0, 0);
        Tensor output;
        if (gates.AreOpen)
        {
            output = Tensor.Alias(input);
        }
        else
        {
            output = Tensor.Allocate(input.Device, input.Shape);
            input.Device.Normalization.Apply(shape, new NormalizationEpilogue(Activation.Identity), input.Buffer, gates.Scaling.Buffer, output.Buffer, ActivityReport.None);
        }

        if (Tape.Records(input, gates.Values))
        {
            GateNode node = Tape.Rent<GateNode>();
            node.Initialize(shape, gates.AreOpen, node.Save(input), node.Save(gates.Scaling));
            Tape.Record(node, output, input, gates.Values);
        }

        return output;
    }
}

/// <summary>Gates on the tape; inputs: x and the gates.</summary>
public sealed class GateNode : Node
{
    private BatchNormShape shape;
    private bool open;
    private SavedTensor input;
    private SavedTensor scaling;

    internal void Initialize(in BatchNormShape shape, bool open, SavedTensor input, SavedTensor scaling)
    {
        this.shape = shape;
        this.open = open;
        this.input = input;
        this.scaling = scaling;
    }

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        GradientTarget gates = context.Target(1);
        if (open)
        {
            Run(context, gates, DeviceBuffer.None);
            context.HandOver(0);
            return;
        }

        GradientTarget target = context.TargetInPlace(0);
        if (target is { IsWanted: true, Mode: GradientMode.Accumulate })
        {
            // The kernel overwrites: the ungated output feeds something else as well, which happens in hand-made graphs only.
            using Tensor gradient = Tensor.AllocateUnscoped(context.Device, context.OutputShape);
            Run(context, gates, gradient.Buffer);
            context.Device.Elementwise.Accumulate(context.OutputShape, gradient.Buffer, target.Buffer);
            return;
        }

        Run(context, gates, target.Buffer);
    }

    private void Run(in BackwardContext context, GradientTarget gates, DeviceBuffer inputGradient) => context.Device.Normalization.BatchBackward(
        shape, new NormalizationEpilogue(Activation.Identity), batchStatistics: false, input.Buffer, scaling.Buffer, DeviceBuffer.None, context.OutputGradient, gates.Buffer,
        DeviceBuffer.None, gates.Mode, inputGradient, DeviceBuffer.None, GradientMode.Overwrite);
}
