using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The normalization kernels of <c>kernels/normalization.cu</c>.</summary>
internal sealed class CudaNormalization(CudaContext context) : INormalizationKernels
{
    private readonly CudaContext context = context;

    /// <inheritdoc/>
    public void BatchMoments(int rows, int channels, DeviceBuffer input, DeviceBuffer moments) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void PrepareTraining( in BatchNormShape shape, DeviceBuffer moments, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer runningMean, DeviceBuffer runningVariance, DeviceBuffer saved) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void PrepareInference( in BatchNormShape shape, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer runningMean, DeviceBuffer runningVariance, DeviceBuffer saved) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void Apply( in BatchNormShape shape, in NormalizationEpilogue epilogue, DeviceBuffer input, DeviceBuffer saved, DeviceBuffer output, in ActivityReport activity) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void BatchBackward( in BatchNormShape shape, in NormalizationEpilogue epilogue, bool batchStatistics, DeviceBuffer input, DeviceBuffer saved, DeviceBuffer output, DeviceBuffer outputGradient, DeviceBuffer gammaGradient, DeviceBuffer betaGradient, GradientMode parameterMode, DeviceBuffer inputGradient, DeviceBuffer residualGradient, GradientMode residualMode) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void LayerForward(int rows, int channels, float epsilon, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer output, DeviceBuffer saved) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void LayerBackward( int rows, int channels, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer saved, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode inputMode, DeviceBuffer gammaGradient, DeviceBuffer betaGradient, GradientMode parameterMode) => throw new NotImplementedException(context.ToString());
}
