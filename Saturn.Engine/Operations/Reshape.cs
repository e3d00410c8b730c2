using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>The same elements in row-major order under another shape. The data are copied, since the pitch may change.</summary>
    public static Tensor Reshape(Tensor input, Shape shape) => Reshape(input, shape, input.Type);

    private static Tensor Reshape(Tensor input, Shape shape, ElementType type)
    {
        if (shape.ElementCount != input.Shape.ElementCount)
        {
            throw new ArgumentException($"A tensor of shape {input.Shape} has {input.Shape.ElementCount} elements and cannot take shape {shape} with {shape.ElementCount}.");
        }

        Tensor output = Tensor.Allocate(input.Device, shape, type);
        input.Device.Elementwise.Reshape(input.Shape, input.Buffer, shape, output.Buffer, GradientMode.Overwrite);
        if (Tape.Records(input))
        {
            Tape.Record(Tape.Rent<ReshapeNode>(), output, input);
        }

        return output;
    }

    /// <summary>[batch, height, width, channels] to [batch, height·width·channels], channels innermost; the result is float32, as linear layers read it.</summary>
    public static Tensor Flatten(Tensor input) =>
        Reshape(input, new Shape(input.Shape[0], checked((int)(input.Shape.ElementCount / input.Shape[0]))), ElementType.Float32);
}

/// <summary>A reshape on the tape.</summary>
public sealed class ReshapeNode : Node
{
    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        GradientTarget target = context.Target(0);
        context.Device.Elementwise.Reshape(context.OutputShape, context.OutputGradient, context.InputShape(0), target.Buffer, target.Mode);
    }
}
