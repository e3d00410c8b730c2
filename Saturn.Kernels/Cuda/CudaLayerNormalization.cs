using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

internal sealed class CudaLayerNormalization(CudaContext context)
{
    public void LayerForward(int rows, int channels, float epsilon, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer output, DeviceBuffer saved) => throw new NotImplementedException(context.ToString());

    public void LayerBackward(
        int rows, int channels, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer saved, DeviceBuffer outputGradient, DeviceBuffer inputGradient,
        GradientMode inputMode, DeviceBuffer gammaGradient, DeviceBuffer betaGradient, GradientMode parameterMode) => throw new NotImplementedException(context.ToString());
}
