using Saturn.Kernels;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>
    /// Convolution, batch normalization, residual sum and activation. In training the convolution's kernel computes the batch statistics while its output is
    /// in cache; one pass then normalises, adds the residual, applies the activation and reports which channels were active.
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
        Tensor moments = normalization.Training ? AllocateMoments(input.Device, weight.Shape[0]) : default;
        Tensor convolved = Convolution(input, weight, bias, settings, moments.IsNone ? DeviceBuffer.None : moments.Buffer);
        return NormalizeAndFree(convolved, moments, normalization, tail);
    }

    /// <summary>Linear layer, batch normalization and activation, fused like <see cref="ConvBatchNormRelu"/>.</summary>
    public static Tensor LinearBatchNormRelu(Tensor input, Tensor weight, Tensor bias, in BatchNormArguments normalization, NormalizationTail tail)
    {
        Tensor moments = normalization.Training ? AllocateMoments(input.Device, weight.Shape[0]) : default;
        Tensor product = Linear(input, weight, bias, moments.IsNone ? DeviceBuffer.None : moments.Buffer);
        return NormalizeAndFree(product, moments, normalization, tail);
    }

    private static Tensor NormalizeAndFree(Tensor convolved, Tensor moments, in BatchNormArguments normalization, in NormalizationTail tail)
    {
        Tensor output = Normalize(convolved, moments, normalization, tail);
        moments.Dispose();

        // The tape holds the convolution's output as long as the backward pass needs it.
        convolved.Dispose();
        return output;
    }
}
