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
        return Run(shape, shape.Output, input, weight, bias, DeviceBuffer.None);
    }

    /// <summary>
    /// Fully connected layer: input [batch, in] or [batch, tokens, in], weight [out, in], bias [out] or none; y = x·Wᵀ + b. It runs as a convolution over 1×1 images.
    /// </summary>
    public static Tensor Linear(Tensor input, Tensor weight, Tensor bias)
    {
        ConvolutionShape shape = LinearShapeOf(input.Shape, weight.Shape);
        return Run(shape, input.Shape.With(-1, shape.OutputChannels), input, weight, bias, DeviceBuffer.None);
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

    private static Tensor Run(in ConvolutionShape shape, Shape outputShape, Tensor input, Tensor weight, Tensor bias, DeviceBuffer statistics)
    {
        RequireBias(shape, bias);
        Tensor output = Tensor.Allocate(input.Device, outputShape);
        input.Device.Convolution.Forward(shape, input.Buffer, weight.Buffer, BufferOf(bias), output.Buffer, statistics);
        if (Tape.Records(input, weight, bias))
        {
            ConvolutionNode node = Tape.Rent<ConvolutionNode>();
            node.Initialize(shape, node.Save(input), node.Save(weight));
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
        GradientTarget weightTarget = context.Target(1);
        GradientTarget biasTarget = InputCount > 2 ? context.Target(2) : default;
        if (weightTarget.IsWanted)
        {
            if (biasTarget.IsWanted && biasTarget.Mode != weightTarget.Mode)
            {
                throw new InvalidOperationException("Weight and bias of one convolution must both hold a gradient or both be cleared before a backward pass.");
            }

            context.Device.Convolution.FilterGradient(Shape, input.Buffer, context.OutputGradient, weightTarget.Buffer, biasTarget.Buffer, weightTarget.Mode);
        }
        else if (biasTarget.IsWanted)
        {
            context.Device.Reduction.Reduce(
                ReductionOperation.Sum, context.OutputShape, context.OutputGradient, context.InputShape(2), biasTarget.Buffer, biasTarget.Mode);
        }

        GradientTarget inputTarget = context.Target(0);
        if (inputTarget.IsWanted)
        {
            context.Device.Convolution.DataGradient(Shape, context.OutputGradient, weight.Buffer, inputTarget.Buffer, inputTarget.Mode);
        }
    }
}
