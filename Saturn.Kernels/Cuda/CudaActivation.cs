using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The activation kernels of <c>kernels/activation.cu</c>.</summary>
internal sealed class CudaActivation(CudaContext context) : IActivationKernels
{
    private readonly CudaContext context = context;

    /// <inheritdoc/>
    public void Forward(Activation activation, in Shape shape, DeviceBuffer input, DeviceBuffer output, in ActivityReport activity) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void Backward(Activation activation, in Shape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode) => throw new NotImplementedException(context.ToString());
}
