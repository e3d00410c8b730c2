namespace Saturn.Kernels.Families;

/// <summary>Sizes of a pooling over NHWC images, square or not.</summary>
public readonly record struct PoolingShape(
    int Batch, int InputHeight, int InputWidth, int Channels, int KernelHeight, int KernelWidth, int StrideHeight, int StrideWidth,
    int PaddingHeight = 0, int PaddingWidth = 0)
{
    /// <summary>⌊(H + 2·padding − kernel)/stride⌋ + 1.</summary>
    public int OutputHeight => (InputHeight + 2 * PaddingHeight - KernelHeight) / StrideHeight + 1;

    /// <summary>⌊(W + 2·padding − kernel)/stride⌋ + 1.</summary>
    public int OutputWidth => (InputWidth + 2 * PaddingWidth - KernelWidth) / StrideWidth + 1;

    /// <summary>The input's shape.</summary>
    public Shape Input => new(Batch, InputHeight, InputWidth, Channels);

    /// <summary>The output's shape.</summary>
    public Shape Output => new(Batch, OutputHeight, OutputWidth, Channels);
}

/// <summary>Pooling of NHWC images, float32 or bfloat16, all of a call in one type. Padding channels of outputs are zero; backward passes gather, so there are no atomics.</summary>
public interface IPoolingKernels
{
    /// <summary>
    /// The largest value of each window (padding pixels never win). <paramref name="winners"/> receives one int32 an output element (same pitched
    /// layout): the winner's index inside the window, row·KernelWidth + column, the first at ties; None if no backward pass follows.
    /// </summary>
    void MaximumForward(in PoolingShape shape, DeviceBuffer input, DeviceBuffer output, DeviceBuffer winners);

    /// <summary>Each output gradient goes to its window's winner.</summary>
    void MaximumBackward(in PoolingShape shape, DeviceBuffer winners, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode);

    /// <summary>The mean of each window; padding pixels count as zeros if <paramref name="countPadding"/>, else they are left out of the count.</summary>
    void AverageForward(in PoolingShape shape, bool countPadding, DeviceBuffer input, DeviceBuffer output);

    /// <summary>Each output gradient is spread evenly over its window.</summary>
    void AverageBackward(in PoolingShape shape, bool countPadding, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode);

    /// <summary>[batch, pixels, channels] to the mean over pixels, [batch, channels], which is float32 always.</summary>
    void GlobalAverageForward(int batch, int pixels, int channels, DeviceBuffer input, DeviceBuffer output);

    /// <summary>Every pixel receives outputGradient/pixels; the output's gradient is float32 always.</summary>
    void GlobalAverageBackward(int batch, int pixels, int channels, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode);
}
