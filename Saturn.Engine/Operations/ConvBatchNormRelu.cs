using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>
    /// Convolution, batch normalization, residual sum and activation. In training the convolution's kernel computes the batch statistics while its output is
    /// in cache; one pass then normalises, adds the residual, applies the activation and reports which channels were active. In evaluation all of it is one pass, where the device offers that and
    /// nobody wants gradients.
    /// </summary>
    /// <param name="input">[batch, height, width, in].</param>
    /// <param name="weight">[out, kernelHeight, kernelWidth, in/groups].</param>
    /// <param name="settings">Strides, paddings, groups.</param>
    /// <param name="normalization">The normalization's tensors and constants.</param>
    /// <param name="tail">Residual, activation and activity record.</param>
    /// <param name="bias">[out] or none; the normalization makes it redundant, but some published networks have it.</param>
    public static Tensor ConvBatchNormRelu(
        Tensor input, Tensor weight, ConvolutionSettings settings, in BatchNormArguments normalization, NormalizationTail tail, Tensor bias = default)
    {
        ConvolutionShape shape = ShapeOf(input.Shape, weight.Shape, settings);
        if (Folds(shape, input, weight, bias, normalization, tail))
        {
            return RunFolded(shape, input, weight, bias, normalization, tail);
        }

        (BatchStatistics form, Tensor statistics) = AllocateStatistics(input.Device, shape, normalization);
        Tensor convolved = Run(shape, shape.Output, input, weight, bias, statistics.IsNone ? DeviceBuffer.None : statistics.Buffer);
        return NormalizeAndFree(convolved, form, statistics, normalization, tail);
    }

    /// <summary>Linear layer, batch normalization and activation, fused like <see cref="ConvBatchNormRelu"/>.</summary>
    public static Tensor LinearBatchNormRelu(Tensor input, Tensor weight, Tensor bias, in BatchNormArguments normalization, NormalizationTail tail)
    {
        ConvolutionShape shape = LinearShapeOf(input.Shape, weight.Shape);
        (BatchStatistics form, Tensor statistics) = AllocateStatistics(input.Device, shape, normalization);
        Tensor product = Run(shape, input.Shape.With(-1, shape.OutputChannels), input, weight, bias, statistics.IsNone ? DeviceBuffer.None : statistics.Buffer);
        return NormalizeAndFree(product, form, statistics, normalization, tail);
    }

    private static bool Folds(in ConvolutionShape shape, Tensor input, Tensor weight, Tensor bias, in BatchNormArguments normalization, in NormalizationTail tail) =>
        !normalization.Training && tail.Activation.Kind is ActivationKind.Identity or ActivationKind.Relu or ActivationKind.LeakyRelu
        && !Tape.Records(input, weight, bias) && !Tape.Records(normalization.Gamma, normalization.Beta, tail.Residual) && input.Device.Convolution.FoldsNormalization(shape);

    private static Tensor RunFolded(in ConvolutionShape shape, Tensor input, Tensor weight, Tensor bias, in BatchNormArguments normalization, in NormalizationTail tail)
    {
        Device device = input.Device;
        RequireBias(shape, bias);
        RequireChannels(normalization, shape.OutputChannels);
        RequireResidual(shape.Output, tail);
        Tensor saved = Tensor.AllocateUnscoped(device, new Shape(4, Shape.PitchOf(shape.OutputChannels)));
        device.Normalization.PrepareInference(
            new BatchNormShape(shape.Output.Rows, shape.OutputChannels, normalization.Epsilon, normalization.Momentum), BufferOf(normalization.Gamma), BufferOf(normalization.Beta),
            BufferOf(normalization.RunningMean), BufferOf(normalization.RunningVariance), saved.Buffer);
        Tensor output = Tensor.Allocate(device, shape.Output);
        device.Convolution.ForwardNormalized(
            shape, input.Buffer, weight.Buffer, BufferOf(bias), saved.Buffer, EpilogueOf(device, tail), output.Buffer, tail.Activity?.Report() ?? ActivityReport.None);
        tail.Activity?.Observe(output);
        saved.Dispose();
        return tail.Activity is null ? output : tail.Activity.Gated(output);
    }

    private static (BatchStatistics Form, Tensor Statistics) AllocateStatistics(Device device, in ConvolutionShape shape, in BatchNormArguments normalization)
    {
        if (!normalization.Training)
        {
            return default;
        }

        BatchStatistics form = device.Convolution.Statistics(shape);
        int pitch = Shape.PitchOf(shape.OutputChannels);
        return (form, form.AreMoments ? AllocateMoments(device, shape.OutputChannels) : Tensor.AllocateUnscoped(device, new Shape(form.Tiles, 4, pitch)));
    }

    private static Tensor NormalizeAndFree(Tensor convolved, BatchStatistics form, Tensor statistics, in BatchNormArguments normalization, in NormalizationTail tail)
    {
        Tensor output = Normalize(convolved, form, statistics, normalization, tail);
        statistics.Dispose();

        // The tape holds the convolution's output as long as the backward pass needs it.
        convolved.Dispose();
        return output;
    }
}
