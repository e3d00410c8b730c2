using Saturn.Kernels.Families;

namespace Saturn.Kernels.Diagnostics;

/// <summary>
/// Every kernel of every family, as a description of the call (what it reads and writes, and how much it computes) and a body that makes the call on any device. The families of a model's layers; those of training
/// stand in the other part.
/// </summary>
internal sealed partial class ObservedKernels(Device inner, Action<KernelCall, KernelBody> observe)
    : IElementwiseKernels, IReductionKernels, IMatrixKernels, IAttentionKernels, IConvolutionKernels, IActivationKernels, IPoolingKernels, INormalizationKernels, ILossKernels, IRandomKernels, ICensusKernels,
        ICompactionKernels, IOptimizerKernels, IImageKernels
{
    public void Unary(UnaryOperation operation, in Shape shape, DeviceBuffer input, DeviceBuffer output, float a, float b)
    {
        Shape s = shape;
        Observe($"elementwise.{operation}", $"{s}", [input], [output], (device, at) => device.Elementwise.Unary(operation, s, at(input), at(output), a, b));
    }

    public void Binary(BinaryOperation operation, in Shape leftShape, DeviceBuffer left, in Shape rightShape, DeviceBuffer right, in Shape outputShape, DeviceBuffer output)
    {
        var (l, r, o) = (leftShape, rightShape, outputShape);
        Observe(
            $"elementwise.{operation}", $"{l} {r} → {o}", [left, right], [output],
            (device, at) => device.Elementwise.Binary(operation, l, at(left), r, at(right), o, at(output)));
    }

    public void Accumulate(in Shape shape, DeviceBuffer input, DeviceBuffer output, float scale)
    {
        Shape s = shape;
        Observe("elementwise.Accumulate", $"{s}", [input, output], [output], (device, at) => device.Elementwise.Accumulate(s, at(input), at(output), scale));
    }

    public void Convert(in Shape shape, DeviceBuffer input, DeviceBuffer output, GradientMode mode)
    {
        Shape s = shape;
        Observe(
            "elementwise.Convert", $"{s}, {input.Type} → {output.Type}, {mode}", [input, Old(output, mode)], [output],
            (device, at) => device.Elementwise.Convert(s, at(input), at(output), mode));
    }

    public void Fill(in Shape shape, DeviceBuffer output, float value)
    {
        Shape s = shape;
        Observe("elementwise.Fill", $"{s}", [], [output], (device, at) => device.Elementwise.Fill(s, at(output), value));
    }

    public void MappedAdd(in Shape shape, DeviceBuffer branch, int shortcutChannels, DeviceBuffer shortcut, DeviceBuffer map, DeviceBuffer output)
    {
        Shape s = shape;
        Observe(
            "elementwise.MappedAdd", $"{s} + {shortcutChannels} channels", [branch, shortcut, map], [output],
            (device, at) => device.Elementwise.MappedAdd(s, at(branch), shortcutChannels, at(shortcut), at(map), at(output)));
    }

    public void MappedAddBackward(in Shape outputShape, DeviceBuffer outputGradient, int shortcutChannels, DeviceBuffer inverseMap, DeviceBuffer shortcutGradient, GradientMode mode)
    {
        Shape s = outputShape;
        Observe(
            "elementwise.MappedAddBackward", $"{s} → {shortcutChannels} channels, {mode}", [outputGradient, inverseMap, Old(shortcutGradient, mode)], [shortcutGradient],
            (device, at) => device.Elementwise.MappedAddBackward(s, at(outputGradient), shortcutChannels, at(inverseMap), at(shortcutGradient), mode));
    }

    public void CopyChannels(
        int rows, int count, int sourceChannels, int sourceOffset, DeviceBuffer source, int destinationChannels, int destinationOffset, DeviceBuffer destination, GradientMode mode) => Observe(
        "elementwise.CopyChannels", $"{rows} rows, {count} of {sourceChannels} channels from {sourceOffset} → {destinationOffset} of {destinationChannels}, {mode}",
        [source, Old(destination, mode)], [destination],
        (device, at) => device.Elementwise.CopyChannels(rows, count, sourceChannels, sourceOffset, at(source), destinationChannels, destinationOffset, at(destination), mode));

    public void Reshape(in Shape inputShape, DeviceBuffer input, in Shape outputShape, DeviceBuffer output, GradientMode mode)
    {
        var (i, o) = (inputShape, outputShape);
        Observe(
            "elementwise.Reshape", $"{i} → {o}, {mode}", [input, Old(output, mode)], [output],
            (device, at) => device.Elementwise.Reshape(i, at(input), o, at(output), mode));
    }

    public void Permute(in Shape inputShape, ReadOnlySpan<int> order, DeviceBuffer input, DeviceBuffer output)
    {
        Shape s = inputShape;
        int[] dimensions = order.ToArray();
        Observe(
            "elementwise.Permute", $"{s} by {string.Join(' ', dimensions)}", [input], [output], (device, at) => device.Elementwise.Permute(s, dimensions, at(input), at(output)));
    }

    public void Reduce(ReductionOperation operation, in Shape inputShape, DeviceBuffer input, in Shape outputShape, DeviceBuffer output, GradientMode mode)
    {
        var (i, o) = (inputShape, outputShape);
        Observe(
            $"reduction.{operation}", $"{i} → {o}, {mode}", [input, Old(output, mode)], [output],
            (device, at) => device.Reduction.Reduce(operation, i, at(input), o, at(output), mode));
    }

    public void ArgumentMaximum(in Shape inputShape, DeviceBuffer input, DeviceBuffer indices)
    {
        Shape s = inputShape;
        Observe("reduction.ArgumentMaximum", $"{s}", [input], [Whole(indices)], (device, at) => device.Reduction.ArgumentMaximum(s, at(input), at(indices)));
    }

    public void Multiply(in MatrixShape shape, DeviceBuffer left, DeviceBuffer right, DeviceBuffer output, float alpha, float beta)
    {
        MatrixShape s = shape;
        Observe(
            "matrix.Multiply", $"{s.Batch} × {s.Rows}×{s.Depth}{(s.TransposeLeft ? "ᵀ" : "")} · {s.Depth}×{s.Columns}{(s.TransposeRight ? "ᵀ" : "")}, α {alpha}, β {beta}",
            [left, right, beta == 0 ? DeviceBuffer.None : output], [output],
            (device, at) => device.Matrix.Multiply(s, at(left), at(right), at(output), alpha, beta), 2.0 * s.Batch * s.Rows * s.Columns * s.Depth);
    }

    public BatchStatistics Statistics(in ConvolutionShape shape) => inner.Convolution.Statistics(shape);

    public void Forward(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer output, DeviceBuffer statistics)
    {
        ConvolutionShape s = shape;

        // Another device has other tiles, or none: their statistics are compared when they have been merged.
        DeviceBuffer moments = Statistics(shape).AreMoments ? statistics : DeviceBuffer.None;
        Observe(
            "convolution.Forward", Describe(s), [input, weight, bias], [output, new(moments, ElementKind.Double)],
            (device, at) => device.Convolution.Forward(s, at(input), at(weight), at(bias), at(output), at(statistics)), 2.0 * s.MultiplyAdds);
    }

    public bool FoldsNormalization(in ConvolutionShape shape) => inner.Convolution.FoldsNormalization(shape);

    public void ForwardNormalized(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer saved, in NormalizationEpilogue epilogue, DeviceBuffer output,
        in ActivityReport activity)
    {
        var (s, tail, report) = (shape, epilogue, activity);
        Observe(
            "convolution.ForwardNormalized", Describe(s), [input, weight, bias, saved, tail.Residual, tail.Map, Old(report)], [output, Whole(report.Flags)],
            (device, at) =>
            {
                if (device.Convolution.FoldsNormalization(s))
                {
                    device.Convolution.ForwardNormalized(s, at(input), at(weight), at(bias), at(saved), At(tail, at), at(output), At(report, at));
                }
                else
                {
                    device.Convolution.Forward(s, at(input), at(weight), at(bias), at(output), DeviceBuffer.None);
                    device.Normalization.Apply(new BatchNormShape(s.Output.Rows, s.OutputChannels, 0, 0), At(tail, at), at(output), at(saved), at(output), At(report, at));
                }
            },
            2.0 * s.MultiplyAdds);
    }

    public bool TakesBFloat16(in ConvolutionShape shape) => inner.Convolution.TakesBFloat16(shape);

    public bool AddsShortcutGradients => inner.Convolution.AddsShortcutGradients;

    public void DataGradient(
        in ConvolutionShape shape, DeviceBuffer outputGradient, DeviceBuffer weight, DeviceBuffer inputGradient, GradientMode mode, in ShortcutGradient shortcut = default)
    {
        var (s, added) = (shape, shortcut);
        Observe(
            "convolution.DataGradient", $"{Describe(s)}, {mode}{(added.IsNone ? "" : $", plus {added.Channels} channels of a shortcut")}",
            [outputGradient, weight, Old(inputGradient, mode), added.Sum, added.InverseMap], [inputGradient],
            (device, at) =>
            {
                if (added.IsNone || device.Convolution.AddsShortcutGradients)
                {
                    ShortcutGradient there = added with { Sum = at(added.Sum), InverseMap = at(added.InverseMap) };
                    device.Convolution.DataGradient(s, at(outputGradient), at(weight), at(inputGradient), mode, there);
                }
                else
                {
                    Shape sum = new(s.Batch, s.InputHeight, s.InputWidth, added.Channels);
                    device.Elementwise.MappedAddBackward(sum, at(added.Sum), s.InputChannels, at(added.InverseMap), at(inputGradient), GradientMode.Overwrite);
                    device.Convolution.DataGradient(s, at(outputGradient), at(weight), at(inputGradient), GradientMode.Accumulate);
                }
            },
            2.0 * s.MultiplyAdds);
    }

    public void FilterGradient(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer weightGradient, DeviceBuffer biasGradient, GradientMode mode)
    {
        ConvolutionShape s = shape;
        Observe(
            "convolution.FilterGradient", $"{Describe(s)}, {mode}", [input, outputGradient, Old(weightGradient, mode), Old(biasGradient, mode)], [weightGradient, biasGradient],
            (device, at) => device.Convolution.FilterGradient(s, at(input), at(outputGradient), at(weightGradient), at(biasGradient), mode), 2.0 * s.MultiplyAdds, sharedScale: true);
    }

    // A second device would divide a gradient otherwise; observed ones come finished, to the same bits.
    public int FilterGradientParts(in ConvolutionShape shape, ElementType type) => 1;

    public void FilterGradientInParts(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer parts, DeviceBuffer biasGradient, GradientMode biasMode) =>
        throw new InvalidOperationException("An observed device makes filter gradients in one piece.");

    public void CombineFilterGradient(in Shape weight, int count, DeviceBuffer parts, DeviceBuffer weightGradient) =>
        throw new InvalidOperationException("An observed device makes filter gradients in one piece.");

    public void Forward(Activation activation, in Shape shape, DeviceBuffer input, DeviceBuffer output, in ActivityReport activity)
    {
        var (s, report) = (shape, activity);
        Observe(
            $"activation.{activation.Kind}", $"{s}", [input, Old(report)], [output, Whole(report.Flags)],
            (device, at) => device.Activation.Forward(activation, s, at(input), at(output), At(report, at)));
    }

    public void Backward(Activation activation, in Shape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        Shape s = shape;
        Observe(
            $"activation.{activation.Kind}Backward", $"{s}, {mode}", [input, outputGradient, Old(inputGradient, mode)], [inputGradient],
            (device, at) => device.Activation.Backward(activation, s, at(input), at(outputGradient), at(inputGradient), mode));
    }

    public void MaximumForward(in PoolingShape shape, DeviceBuffer input, DeviceBuffer output, DeviceBuffer winners)
    {
        PoolingShape s = shape;
        Observe(
            "pooling.Maximum", Describe(s), [input], [output, Whole(winners)], (device, at) => device.Pooling.MaximumForward(s, at(input), at(output), at(winners)));
    }

    public void MaximumBackward(in PoolingShape shape, DeviceBuffer winners, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        PoolingShape s = shape;
        Observe(
            "pooling.MaximumBackward", $"{Describe(s)}, {mode}", [winners, outputGradient, Old(inputGradient, mode)], [inputGradient],
            (device, at) => device.Pooling.MaximumBackward(s, at(winners), at(outputGradient), at(inputGradient), mode));
    }

    public void AverageForward(in PoolingShape shape, bool countPadding, DeviceBuffer input, DeviceBuffer output)
    {
        PoolingShape s = shape;
        Observe("pooling.Average", Describe(s), [input], [output], (device, at) => device.Pooling.AverageForward(s, countPadding, at(input), at(output)));
    }

    public void AverageBackward(in PoolingShape shape, bool countPadding, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        PoolingShape s = shape;
        Observe(
            "pooling.AverageBackward", $"{Describe(s)}, {mode}", [outputGradient, Old(inputGradient, mode)], [inputGradient],
            (device, at) => device.Pooling.AverageBackward(s, countPadding, at(outputGradient), at(inputGradient), mode));
    }

    public void GlobalAverageForward(int batch, int pixels, int channels, DeviceBuffer input, DeviceBuffer output) => Observe(
        "pooling.GlobalAverage", $"[{batch}, {pixels}, {channels}]", [input], [output],
        (device, at) => device.Pooling.GlobalAverageForward(batch, pixels, channels, at(input), at(output)));

    public void GlobalAverageBackward(int batch, int pixels, int channels, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode) => Observe(
        "pooling.GlobalAverageBackward", $"[{batch}, {pixels}, {channels}], {mode}", [outputGradient, Old(inputGradient, mode)], [inputGradient],
        (device, at) => device.Pooling.GlobalAverageBackward(batch, pixels, channels, at(outputGradient), at(inputGradient), mode));

    private void Observe(
        string name, string sizes, DeviceBuffer[] reads, WrittenBuffer[] writes, KernelBody body, double operations = 0, bool sharedScale = false) =>
        observe(new KernelCall(name, sizes, operations, reads, writes, sharedScale), body);

    /// <summary>What a kernel that accumulates reads of its output.</summary>
    private static DeviceBuffer Old(DeviceBuffer buffer, GradientMode mode) => mode == GradientMode.Accumulate ? buffer : DeviceBuffer.None;

    private static DeviceBuffer Old(in ActivityReport activity) => activity.Combine ? activity.Flags : DeviceBuffer.None;

    private static WrittenBuffer Whole(DeviceBuffer buffer) => new(buffer, ElementKind.Integer);

    private static ActivityReport At(in ActivityReport activity, Func<DeviceBuffer, DeviceBuffer> at) => activity with { Flags = at(activity.Flags) };

    private static string Describe(in ConvolutionShape s) =>
        $"{s.Input} ∗ {s.Weight} → {s.Output}, stride {s.StrideHeight}×{s.StrideWidth}, padding {s.PaddingHeight}×{s.PaddingWidth}, dilation {s.DilationHeight}×{s.DilationWidth}, groups {s.Groups}";

    private static string Describe(in PoolingShape s) =>
        $"{s.Input} → {s.Output}, kernel {s.KernelHeight}×{s.KernelWidth}, stride {s.StrideHeight}×{s.StrideWidth}, padding {s.PaddingHeight}×{s.PaddingWidth}";
}
