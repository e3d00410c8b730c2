using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>
    /// Residual sum: branch + shortcut, where the link's map tells which channel of the shortcut each output channel reads (none: its own).
    /// Inside a batch normalization the sum is fused; see <see cref="NormalizationTail"/>.
    /// </summary>
    public static Tensor ResidualAdd(Tensor branch, Tensor shortcut, Shortcut? link = null)
    {
        RequireResidual(branch.Shape, new NormalizationTail(Activation.Identity, shortcut, link));
        if (branch.Type != shortcut.Type)
        {
            // Under Bf16 sums between convolutions are bfloat16, as where a block whose branch is gone adds its constant.
            branch = Convert(branch, ElementType.BFloat16);
            shortcut = Convert(shortcut, ElementType.BFloat16);
        }

        Device device = branch.Device;
        Tensor output = Tensor.Allocate(device, branch.Shape, branch.Type);
        device.Elementwise.MappedAdd(
            branch.Shape, branch.Buffer, shortcut.Shape.Channels, shortcut.Buffer, link?.Map?.SourcesOn(device) ?? DeviceBuffer.None, output.Buffer);
        if (Tape.Records(branch, shortcut))
        {
            ResidualAddNode node = Tape.Rent<ResidualAddNode>();
            node.Initialize(link);
            Tape.Record(node, output, branch, shortcut);
        }

        return output;
    }
}

/// <summary>A residual sum on the tape; inputs: branch, shortcut.</summary>
public sealed class ResidualAddNode : Node
{
    private ShortcutMap? map;

    /// <summary>The block's shortcut, which surgery may change; null for a plain sum.</summary>
    public Shortcut? Shortcut { get; private set; }

    internal void Initialize(Shortcut? shortcut)
    {
        Shortcut = shortcut;
        map = shortcut?.Map;
    }

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        context.PassThrough(0);
        GradientTarget target = context.Target(1);
        if (target.IsWanted)
        {
            context.Device.Elementwise.MappedAddBackward(
                context.OutputShape, context.OutputGradient, context.InputShape(1).Channels, map?.OutputsOn(context.Device) ?? DeviceBuffer.None, target.Buffer, target.Mode);
        }
    }
}
