using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>
    /// The same values as float32 or bfloat16, rounded to nearest even; a tensor of that type already is given back as it is. The gradient is converted the other way.
    /// Operations whose kernels take float32 alone call this on their inputs.
    /// </summary>
    /// <exception cref="ArgumentException">One of the types is neither.</exception>
    public static Tensor Convert(Tensor input, ElementType type)
    {
        if (input.Type == type)
        {
            return input;
        }

        if ((input.Type, type) is not ((ElementType.Float32, ElementType.BFloat16) or (ElementType.BFloat16, ElementType.Float32)))
        {
            throw new ArgumentException($"Float32 and BFloat16 can be converted to each other, but {input.Type} was to become {type}.", nameof(type));
        }

        Tensor output = Tensor.Allocate(input.Device, input.Shape, type);
        input.Device.Elementwise.Convert(input.Shape, input.Buffer, output.Buffer, GradientMode.Overwrite);
        if (Tape.Records(input))
        {
            Tape.Record(Tape.Rent<ConversionNode>(), output, input);
        }

        return output;
    }

    // What is absent stays so.
    private static Tensor Float32(Tensor input) => input.IsNone ? input : Convert(input, ElementType.Float32);
}

/// <summary>A conversion between float32 and bfloat16 on the tape.</summary>
public sealed class ConversionNode : Node
{
    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context) => context.PassThrough(0);
}
