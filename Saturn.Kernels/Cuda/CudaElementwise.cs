using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The elementwise kernels of <c>kernels/elementwise.cu</c>.</summary>
internal sealed class CudaElementwise(CudaContext context) : IElementwiseKernels
{
    private readonly CudaContext context = context;

    /// <inheritdoc/>
    public void Unary(UnaryOperation operation, in Shape shape, DeviceBuffer input, DeviceBuffer output, float a = 0, float b = 0) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void Binary( BinaryOperation operation, in Shape leftShape, DeviceBuffer left, in Shape rightShape, DeviceBuffer right, in Shape outputShape, DeviceBuffer output) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void Accumulate(in Shape shape, DeviceBuffer input, DeviceBuffer output, float scale = 1) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void Fill(in Shape shape, DeviceBuffer output, float value) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void MappedAdd(in Shape shape, DeviceBuffer branch, int shortcutChannels, DeviceBuffer shortcut, DeviceBuffer map, DeviceBuffer output) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void MappedAddBackward( in Shape outputShape, DeviceBuffer outputGradient, int shortcutChannels, DeviceBuffer inverseMap, DeviceBuffer shortcutGradient, GradientMode mode) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void CopyChannels( int rows, int count, int sourceChannels, int sourceOffset, DeviceBuffer source, int destinationChannels, int destinationOffset, DeviceBuffer destination, GradientMode mode) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void Reshape(in Shape inputShape, DeviceBuffer input, in Shape outputShape, DeviceBuffer output, GradientMode mode) => throw new NotImplementedException(context.ToString());

    /// <inheritdoc/>
    public void Permute(in Shape inputShape, ReadOnlySpan<int> order, DeviceBuffer input, DeviceBuffer output) => throw new NotImplementedException(context.ToString());
}
