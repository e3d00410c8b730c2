using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The loss kernels of <c>kernels/loss.cu</c>.</summary>
internal sealed class CudaLoss(CudaContext context) : ILossKernels
{
    private readonly CudaContext context = context;

    /// <inheritdoc/>
    public void SoftmaxCrossEntropyForward( int rows, int classes, float labelSmoothing, DeviceBuffer logits, DeviceBuffer labels, DeviceBuffer loss, DeviceBuffer probabilities, DeviceBuffer correct) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void SoftmaxCrossEntropyBackward( int rows, int classes, float labelSmoothing, DeviceBuffer probabilities, DeviceBuffer labels, DeviceBuffer lossGradient, DeviceBuffer logitsGradient, GradientMode mode) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void SoftmaxForward(int rows, int classes, DeviceBuffer input, DeviceBuffer output) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void SoftmaxBackward(int rows, int classes, DeviceBuffer output, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode) => throw new NotImplementedException(context.ToString());
}
