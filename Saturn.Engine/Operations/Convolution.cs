using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

/// <summary>Strides, paddings and groups of a two-dimensional convolution, in pixels.</summary>
public readonly record struct ConvolutionSettings(
    int StrideHeight = 1, int StrideWidth = 1, int PaddingHeight = 0, int PaddingWidth = 0, int DilationHeight = 1, int DilationWidth = 1, int Groups = 1)
{
    /// <summary>The same in both directions.</summary>
    public static ConvolutionSettings Square(int stride = 1, int padding = 0, int dilation = 1, int groups = 1) =>
        new(stride, stride, padding, padding, dilation, dilation, groups);
}

public static partial class Operation
{
    /// <summary>
    /// Two-dimensional convolution (cross-correlation): input [batch, height, width, in], weight [out, kernelHeight, kernelWidth, in/groups],
    /// bias [out] or none; see <see cref="IConvolutionKernels"/> for the formula.
    /// </summary>
    public static Tensor Convolution(Tensor input, Tensor weight, Tensor bias, ConvolutionSettings settings)
    {
        ConvolutionShape shape = ShapeOf(input.Shape, weight.Shape, settings);
        return RunConvolution(shape, input, weight, bias, DeviceBuffer.None);
    }

    /// <summary>
    /// Fully connected layer: input [batch, in] or [batch, tokens, in], weight [out, in], bias [out] or none; y = x·Wᵀ + b. It runs as a convolution over 1×1 images.
    /// </summary>
    public static Tensor Linear(Tensor input, Tensor weight, Tensor bias)
    {
        ConvolutionShape shape = LinearShapeOf(input.Shape, weight.Shape);
        return RunLinear(shape, input, weight, bias, DeviceBuffer.None);
    }

    private static ConvolutionShape ShapeOf(in Shape x, in Shape w, ConvolutionSettings settings)
    {
        if (x.Rank != 4 || w.Rank != 4)
        {
            throw new ArgumentException($"A convolution needs an input [batch, height, width, in] and a weight [out, kernelHeight, kernelWidth, in/groups], but got {x} and {w}.");
        }

        ConvolutionShape shape = new(
            x[0], x[1], x[2], x[3], w[0], w[1], w[2], settings.StrideHeight, settings.StrideWidth, settings.PaddingHeight, settings.PaddingWidth,
            settings.DilationHeight, settings.DilationWidth, settings.Groups);
        Validate(shape, settings, w[3]);
        return shape;
    }

    private static ConvolutionShape LinearShapeOf(in Shape x, in Shape w)
    {
        if (x.Rank is not (2 or 3) || w.Rank != 2 || x.Channels != w[1])
        {
            throw new ArgumentException($"A linear layer needs an input [batch, in] or [batch, tokens, in] and a weight [out, in] of the same width, but got {x} and {w}.");
        }

        return new ConvolutionShape(x.Rows, 1, 1, x.Channels, w[0], 1, 1);
    }

    /// <summary>A convolution as the precision wants it: from images in bfloat16 to images in bfloat16, or in float32, between conversions where the kernels for bfloat16 do not take it.</summary>
    private static Tensor RunConvolution(in ConvolutionShape shape, Tensor input, Tensor weight, Tensor bias, DeviceBuffer statistics)
    {
        Tensor output = Run(shape, shape.Output, ImageOf(shape, input), weight, bias, statistics);
        return input.Device.Precision == Precision.Bf16 ? Convert(output, ElementType.BFloat16) : output;
    }

    /// <summary>The image in the type that a convolution reads.</summary>
    private static Tensor ImageOf(in ConvolutionShape shape, Tensor input) =>
        Convert(input, input.Device.Precision == Precision.Bf16 && input.Device.Convolution.TakesBFloat16(shape) ? ElementType.BFloat16 : ElementType.Float32);

    /// <summary>A linear layer, which is float32 under every precision.</summary>
    private static Tensor RunLinear(in ConvolutionShape shape, Tensor input, Tensor weight, Tensor bias, DeviceBuffer statistics) =>
        Run(shape, input.Shape.With(-1, shape.OutputChannels), Float32(input), weight, bias, statistics);

    // The input's type decides: a bfloat16 image meets a bfloat16 copy of the weight and gives a bfloat16 output.
    private static Tensor Run(in ConvolutionShape shape, Shape outputShape, Tensor input, Tensor weight, Tensor bias, DeviceBuffer statistics)
    {
        (weight, bias) = (Float32(weight), Float32(bias));
        RequireBias(shape, bias);
        Tensor operand = OperandOf(input, weight);
        Tensor output = Tensor.Allocate(input.Device, outputShape, input.Type);
        input.Device.Convolution.Forward(shape, input.Buffer, operand.Buffer, BufferOf(bias), output.Buffer, statistics);
        if (Tape.Records(input, weight, bias))
        {
            ConvolutionNode node = Tape.Rent<ConvolutionNode>();
            node.Initialize(shape, node.Save(input), node.Save(operand));
            if (bias.IsNone)
            {
                Tape.Record(node, output, input, weight);
            }
            else
            {
                Tape.Record(node, output, input, weight, bias);
            }
        }

        return output;
    }

    /// <summary>The weight as kernels take it beside an image of this type: itself, or in bfloat16 the parameter's own copy, which lasts; of another tensor, a copy for this call.</summary>
    private static Tensor OperandOf(Tensor input, Tensor weight)
    {
        if (input.Type != ElementType.BFloat16)
        {
            return weight;
        }

        if (weight.Parameter is { } parameter)
        {
            return parameter.ReducedValue;
        }

        Tensor copy = Tensor.Allocate(weight.Device, weight.Shape, ElementType.BFloat16);
        weight.Device.Elementwise.Convert(weight.Shape, weight.Buffer, copy.Buffer, GradientMode.Overwrite);
        return copy;
    }

    private static void RequireBias(in ConvolutionShape shape, Tensor bias)
    {
        if (!bias.IsNone && bias.Shape != new Shape(shape.OutputChannels))
        {
            throw new ArgumentException($"The bias of {shape.OutputChannels} output channels must have shape [{shape.OutputChannels}], but has {bias.Shape}.");
        }
    }

    private static void Validate(in ConvolutionShape shape, in ConvolutionSettings settings, int weightInputChannels)
    {
        if (settings.StrideHeight < 1 || settings.StrideWidth < 1 || settings.DilationHeight < 1 || settings.DilationWidth < 1 || settings.Groups < 1
            || settings.PaddingHeight < 0 || settings.PaddingWidth < 0)
        {
            throw new ArgumentException($"Strides, dilations and groups of a convolution must be at least 1 and paddings at least 0, but got {settings}.");
        }

        if (shape.InputChannels % shape.Groups != 0 || shape.OutputChannels % shape.Groups != 0 || weightInputChannels != shape.GroupInputChannels)
        {
            throw new ArgumentException(
                $"A convolution of {shape.InputChannels} to {shape.OutputChannels} channels in {shape.Groups} group(s) needs a weight that reads "
                + $"{shape.InputChannels}/{shape.Groups} channels, but it reads {weightInputChannels}.");
        }

        if (shape.InputHeight + 2 * shape.PaddingHeight < shape.DilationHeight * (shape.KernelHeight - 1) + 1
            || shape.InputWidth + 2 * shape.PaddingWidth < shape.DilationWidth * (shape.KernelWidth - 1) + 1)
        {
            throw new ArgumentException(
                $"An image of {shape.InputHeight}×{shape.InputWidth} with padding {shape.PaddingHeight}×{shape.PaddingWidth} is smaller than the kernel "
                + $"{shape.KernelHeight}×{shape.KernelWidth} with dilation {shape.DilationHeight}×{shape.DilationWidth}.");
        }
    }
}

/// <summary>A convolution or linear layer on the tape; inputs: x, weight and, if there is one, bias.</summary>
public sealed class ConvolutionNode : Node
{
    private SavedTensor input;
    private SavedTensor weight;

    /// <summary>The sizes; a linear layer has 1×1 images and a 1×1 kernel.</summary>
    public ConvolutionShape Shape { get; private set; }

    internal void Initialize(in ConvolutionShape shape, SavedTensor input, SavedTensor weight)
    {
        Shape = shape;
        this.input = input;
        this.weight = weight;
    }

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        // An optimizer adds parts while it reads them; whoever needs the sum before makes it then.
        int count = context.Device.Convolution.FilterGradientParts(Shape, input.Buffer.Type);
        DeviceBuffer parts = count > 1 ? context.TargetInParts(1, count) : DeviceBuffer.None;
        GradientTarget weightTarget = parts.IsNone ? context.Target(1) : default;
        GradientTarget biasTarget = InputCount > 2 ? context.Target(2) : default;
        if (!parts.IsNone)
        {
            context.Device.Convolution.FilterGradientInParts(Shape, input.Buffer, context.OutputGradient, parts, biasTarget.Buffer, biasTarget.Mode);
        }
        else if (weightTarget.IsWanted)
        {
            if (biasTarget.IsWanted && biasTarget.Mode != weightTarget.Mode)
            {
                throw new InvalidOperationException("Weight and bias of one convolution must both hold a gradient or both be cleared before a backward pass.");
            }

            context.Device.Convolution.FilterGradient(Shape, input.Buffer, context.OutputGradient, weightTarget.Buffer, biasTarget.Buffer, weightTarget.Mode);
        }
        else if (biasTarget.IsWanted)
        {
            SumToBias(context, biasTarget);
        }

        using WaitingGradient shortcut = context.TakeWaiting(0);
        GradientTarget inputTarget = context.Target(0);
        if (inputTarget.IsWanted)
        {
            context.Device.Convolution.DataGradient(Shape, context.OutputGradient, weight.Buffer, inputTarget.Buffer, inputTarget.Mode, shortcut.On(context.Device));
        }
    }

    /// <summary>The bias's gradient alone, where the weight wants none.</summary>
    private static void SumToBias(in BackwardContext context, GradientTarget target)
    {
        Shape shape = context.OutputShape;
        if (context.OutputGradient.Type == ElementType.Float32)
        {
            context.Device.Reduction.Reduce(ReductionOperation.Sum, shape, context.OutputGradient, context.InputShape(2), target.Buffer, target.Mode);
            return;
        }

        using Tensor gradient = Tensor.AllocateUnscoped(context.Device, shape);
        context.Device.Elementwise.Convert(shape, context.OutputGradient, gradient.Buffer, GradientMode.Overwrite);
        context.Device.Reduction.Reduce(ReductionOperation.Sum, shape, gradient.Buffer, context.InputShape(2), target.Buffer, target.Mode);
    }
}
