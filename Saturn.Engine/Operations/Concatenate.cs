using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>Joins tensors of equal leading dimensions along the channels; tensors of different types as float32.</summary>
    public static Tensor Concatenate(params ReadOnlySpan<Tensor> inputs)
    {
        if (inputs.Length == 0)
        {
            throw new ArgumentException("A concatenation needs at least one tensor.", nameof(inputs));
        }

        int channels = 0;
        ElementType type = inputs[0].Type;
        foreach (Tensor input in inputs)
        {
            if (input.Shape.With(-1, 1) != inputs[0].Shape.With(-1, 1))
            {
                throw new ArgumentException($"Shapes {inputs[0].Shape} and {input.Shape} differ in a dimension other than the last and cannot be concatenated.");
            }

            channels += input.Shape.Channels;
            if (input.Type != type)
            {
                return ConcatenateAsFloat32(inputs);
            }
        }

        Shape shape = inputs[0].Shape.With(-1, channels);
        Tensor output = Tensor.Zeros(inputs[0].Device, shape, type);
        int offset = 0;
        foreach (Tensor input in inputs)
        {
            int count = input.Shape.Channels;
            input.Device.Elementwise.CopyChannels(shape.Rows, count, count, 0, input.Buffer, channels, offset, output.Buffer, GradientMode.Overwrite);
            offset += count;
        }

        if (Tape.Records(inputs))
        {
            Tape.Record(Tape.Rent<ConcatenationNode>(), output, inputs);
        }

        return output;
    }

    private static Tensor ConcatenateAsFloat32(ReadOnlySpan<Tensor> inputs)
    {
        Tensor[] converted = new Tensor[inputs.Length];
        for (int i = 0; i < inputs.Length; i++)
        {
            converted[i] = Float32(inputs[i]);
        }

        return Concatenate(converted);
    }
}

/// <summary>A concatenation along the channels on the tape.</summary>
public sealed class ConcatenationNode : Node
{
    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        int offset = 0;
        for (int i = 0; i < InputCount; i++)
        {
            Shape shape = context.InputShape(i);
            GradientTarget target = context.Target(i);
            if (target.IsWanted)
            {
                if (target.Mode == GradientMode.Overwrite)
                {
                    context.Device.Clear(target.Buffer);
                }

                context.Device.Elementwise.CopyChannels(
                    shape.Rows, shape.Channels, context.OutputShape.Channels, offset, context.OutputGradient, shape.Channels, 0, target.Buffer, target.Mode);
            }

            offset += shape.Channels;
        }
    }
}
