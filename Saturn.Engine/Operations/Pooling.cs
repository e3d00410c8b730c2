using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

/// <summary>Window, stride and padding of a pooling, in pixels.</summary>
public readonly record struct PoolingSettings(int KernelHeight, int KernelWidth, int StrideHeight, int StrideWidth, int PaddingHeight = 0, int PaddingWidth = 0)
{
    /// <summary>The same in both directions; the stride is the kernel's size unless given.</summary>
    public static PoolingSettings Square(int kernel, int? stride = null, int padding = 0) =>
        new(kernel, kernel, stride ?? kernel, stride ?? kernel, padding, padding);
}

public static partial class Operation
{
    /// <summary>The largest value of each window, by channel; the gradient goes to the first largest.</summary>
    public static Tensor MaximumPool(Tensor input, PoolingSettings settings)
    {
        PoolingShape shape = PoolingShapeOf(input, settings);
        Tensor output = Tensor.Allocate(input.Device, shape.Output, input.Type);
        bool records = Tape.Records(input);
        Tensor winners = records ? Tensor.AllocateUnscoped(input.Device, shape.Output, ElementType.Int32) : default;
        input.Device.Pooling.MaximumForward(shape, input.Buffer, output.Buffer, BufferOf(winners));
        if (records)
        {
            PoolingNode node = Tape.Rent<PoolingNode>();
            node.Initialize(shape, PoolingKind.Maximum, false, node.Save(winners));
            Tape.Record(node, output, input);
            winners.Dispose();
        }

        return output;
    }

    /// <summary>The mean of each window, by channel.</summary>
    /// <param name="input">[batch, height, width, channels].</param>
    /// <param name="settings">The window.</param>
    /// <param name="countPadding">Whether padding pixels count as zeros in the mean.</param>
    public static Tensor AveragePool(Tensor input, PoolingSettings settings, bool countPadding = true)
    {
        PoolingShape shape = PoolingShapeOf(input, settings);
        Tensor output = Tensor.Allocate(input.Device, shape.Output, input.Type);
        input.Device.Pooling.AverageForward(shape, countPadding, input.Buffer, output.Buffer);
        if (Tape.Records(input))
        {
            PoolingNode node = Tape.Rent<PoolingNode>();
            node.Initialize(shape, PoolingKind.Average, countPadding, default);
            Tape.Record(node, output, input);
        }

        return output;
    }

    /// <summary>The mean over all positions: [batch, height, width, channels] to [batch, channels], which is float32.</summary>
    public static Tensor GlobalAveragePool(Tensor input)
    {
        Shape x = input.Shape;
        if (x.Rank != 4)
        {
            throw new ArgumentException($"Pooling needs an input [batch, height, width, channels], but got {x}.");
        }

        Tensor output = Tensor.Allocate(input.Device, new Shape(x[0], x[3]));
        input.Device.Pooling.GlobalAverageForward(x[0], x[1] * x[2], x[3], input.Buffer, output.Buffer);
        if (Tape.Records(input))
        {
            PoolingNode node = Tape.Rent<PoolingNode>();
            node.Initialize(new PoolingShape(x[0], x[1], x[2], x[3], x[1], x[2], 1, 1), PoolingKind.GlobalAverage, false, default);
            Tape.Record(node, output, input);
        }

        return output;
    }

    private static PoolingShape PoolingShapeOf(Tensor input, in PoolingSettings settings)
    {
        Shape x = input.Shape;
        if (x.Rank != 4)
        {
            throw new ArgumentException($"Pooling needs an input [batch, height, width, channels], but got {x}.");
        }

        if (settings.KernelHeight < 1 || settings.KernelWidth < 1 || settings.StrideHeight < 1 || settings.StrideWidth < 1
            || settings.PaddingHeight < 0 || settings.PaddingHeight >= settings.KernelHeight || settings.PaddingWidth < 0 || settings.PaddingWidth >= settings.KernelWidth
            || x[1] + 2 * settings.PaddingHeight < settings.KernelHeight || x[2] + 2 * settings.PaddingWidth < settings.KernelWidth)
        {
            throw new ArgumentException($"A pooling window {settings} does not fit images of {x[1]}×{x[2]}; the padding must be smaller than the window.");
        }

        return new PoolingShape(
            x[0], x[1], x[2], x[3], settings.KernelHeight, settings.KernelWidth, settings.StrideHeight, settings.StrideWidth, settings.PaddingHeight, settings.PaddingWidth);
    }
}

/// <summary>The kinds of pooling.</summary>
public enum PoolingKind
{
    /// <summary>The largest value of a window.</summary>
    Maximum,

    /// <summary>The mean of a window.</summary>
    Average,

    /// <summary>The mean of the whole image.</summary>
    GlobalAverage,
}

/// <summary>A pooling on the tape.</summary>
public sealed class PoolingNode : Node
{
    private PoolingShape shape;
    private bool countPadding;
    private SavedTensor winners;

    /// <summary>Which pooling.</summary>
    public PoolingKind Kind { get; private set; }

    internal void Initialize(in PoolingShape shape, PoolingKind kind, bool countPadding, SavedTensor winners)
    {
        this.shape = shape;
        Kind = kind;
        this.countPadding = countPadding;
        this.winners = winners;
    }

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        GradientTarget target = context.Target(0);
        if (!target.IsWanted)
        {
            return;
        }

        IPoolingKernels pooling = context.Device.Pooling;
        switch (Kind)
        {
            case PoolingKind.Maximum:
                pooling.MaximumBackward(shape, winners.Buffer, context.OutputGradient, target.Buffer, target.Mode);
                break;
            case PoolingKind.Average:
                pooling.AverageBackward(shape, countPadding, context.OutputGradient, target.Buffer, target.Mode);
                break;
            default:
                pooling.GlobalAverageBackward(shape.Batch, shape.InputHeight * shape.InputWidth, shape.Channels, context.OutputGradient, target.Buffer, target.Mode);
                break;
        }
    }
}
