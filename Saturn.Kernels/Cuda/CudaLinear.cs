using Saturn.Kernels.Cuda.Cublas;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// Linear layers, which are convolutions of single pixels, as plain matrix products y = x·Wᵀ, ∂x = ∂y·W and ∂W = ∂yᵀ·x: for a device with cuBLAS. A product that cuBLAS does not take, because it is small or
/// needs zeros written behind its rows, is not taken here either, and the convolution's own kernels do it.
/// </summary>
/// <param name="matrix">The products.</param>
/// <param name="elementwise">Adds the bias.</param>
internal sealed class CudaLinear(IMatrixKernels matrix, IElementwiseKernels elementwise)
{
    /// <summary>y = x·Wᵀ.</summary>
    public static MatrixShape ForwardProduct(in ConvolutionShape shape)
    {
        (int input, int output) = Pitches(shape);
        return new MatrixShape(shape.Batch, shape.OutputChannels, shape.InputChannels, false, true, input, input, output);
    }

    /// <summary>∂x = ∂y·W.</summary>
    public static MatrixShape DataGradientProduct(in ConvolutionShape shape)
    {
        (int input, int output) = Pitches(shape);
        return new MatrixShape(shape.Batch, shape.InputChannels, shape.OutputChannels, false, false, output, input, input);
    }

    /// <summary>∂W = ∂yᵀ·x.</summary>
    public static MatrixShape FilterGradientProduct(in ConvolutionShape shape)
    {
        (int input, int output) = Pitches(shape);
        return new MatrixShape(shape.OutputChannels, shape.InputChannels, shape.Batch, true, false, output, input, input);
    }

    /// <summary>Whether a product of a convolution is one of a linear layer in float32, and cuBLAS takes it.</summary>
    /// <param name="shape">The sizes of the convolution.</param>
    /// <param name="product">One of its products.</param>
    /// <param name="type">What is stored.</param>
    public static bool Takes(in ConvolutionShape shape, in MatrixShape product, ElementType type) =>
        type == ElementType.Float32
        && shape is { InputHeight: 1, InputWidth: 1, KernelHeight: 1, KernelWidth: 1, PaddingHeight: 0, PaddingWidth: 0, Groups: 1 }
        && CublasProduct.Takes(product);

    /// <summary>y = x·Wᵀ + bias, if it is taken.</summary>
    /// <returns>Whether it is.</returns>
    public bool Forward(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer output)
    {
        MatrixShape product = ForwardProduct(shape);
        if (!Takes(shape, product, input.Type))
        {
            return false;
        }

        matrix.Multiply(product, input, weight, output);
        if (!bias.IsNone)
        {
            Shape result = new(shape.Batch, shape.OutputChannels);
            elementwise.Binary(BinaryOperation.Add, result, output, new Shape(shape.OutputChannels), bias, result, output);
        }

        return true;
    }

    /// <summary>∂x = ∂y·W, if it is taken.</summary>
    /// <returns>Whether it is.</returns>
    public bool DataGradient(in ConvolutionShape shape, DeviceBuffer outputGradient, DeviceBuffer weight, DeviceBuffer inputGradient, GradientMode mode)
    {
        MatrixShape product = DataGradientProduct(shape);
        if (!Takes(shape, product, outputGradient.Type))
        {
            return false;
        }

        matrix.Multiply(product, outputGradient, weight, inputGradient, 1, Beta(mode));
        return true;
    }

    /// <summary>∂W = ∂yᵀ·x, if it is taken.</summary>
    /// <returns>Whether it is.</returns>
    public bool FilterGradient(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer weightGradient, GradientMode mode)
    {
        MatrixShape product = FilterGradientProduct(shape);
        if (!Takes(shape, product, input.Type))
        {
            return false;
        }

        matrix.Multiply(product, outputGradient, input, weightGradient, 1, Beta(mode));
        return true;
    }

    private static (int Input, int Output) Pitches(in ConvolutionShape shape) => (Shape.PitchOf(shape.InputChannels), Shape.PitchOf(shape.OutputChannels));

    private static float Beta(GradientMode mode) => mode == GradientMode.Accumulate ? 1 : 0;
}
