using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The convolution kernels of <c>kernels/convolution.cu</c>.</summary>
internal sealed class CudaConvolution(CudaContext context) : IConvolutionKernels
{
    private readonly CudaContext context = context;

    /// <inheritdoc/>
    public void Forward(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer output, DeviceBuffer moments) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void DataGradient(in ConvolutionShape shape, DeviceBuffer outputGradient, DeviceBuffer weight, DeviceBuffer inputGradient, GradientMode mode) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void FilterGradient( in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer weightGradient, DeviceBuffer biasGradient, GradientMode mode) => throw new NotImplementedException(context.ToString());
}
