using Saturn.Engine.Autograd;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>Applies an activation function, and reports which channels were active.</summary>
    public static Tensor Activate(Tensor input, Activation activation, ChannelActivity? activity = null)
    {
        Tensor output = Tensor.Allocate(input.Device, input.Shape, input.Type);
        input.Device.Activation.Forward(activation, input.Shape, input.Buffer, output.Buffer, activity?.Report() ?? ActivityReport.None);
        activity?.Observe(output);
        if (Tape.Records(input))
        {
            ActivationNode node = Tape.Rent<ActivationNode>();

            // ReLU's derivative is the same function of output and input, and the output is kept by its readers anyway.
            node.Initialize(activation, node.Save(activation.DerivativeFollowsFromOutput ? output : input), activity);
            Tape.Record(node, output, input);
        }

        return activity is null ? output : activity.Gated(output);
    }

    /// <summary>max(x, 0).</summary>
    public static Tensor Relu(Tensor input) => Activate(input, Activation.Relu);
}

/// <summary>An activation function on the tape.</summary>
public sealed class ActivationNode : Node
{
    private SavedTensor input;

    /// <summary>Which function.</summary>
    public Activation Activation { get; private set; }

    /// <summary>Where the activity is reported, or null.</summary>
    public ChannelActivity? Activity { get; private set; }

    internal void Initialize(Activation activation, SavedTensor input, ChannelActivity? activity)
    {
        Activation = activation;
        this.input = input;
        Activity = activity;
    }

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        GradientTarget target = context.TargetInPlace(0);
        if (target.IsWanted)
        {
            context.Device.Activation.Backward(Activation, context.OutputShape, input.Buffer, context.OutputGradient, target.Buffer, target.Mode);
        }
    }
}
