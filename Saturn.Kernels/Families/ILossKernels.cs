namespace Saturn.Kernels.Families;

/// <summary>
/// Softmax cross entropy over rows of logits [rows, classes] with int32 labels (packed) in 0 … classes − 1, and label smoothing s: the target of the labelled class is
/// 1 − s + s/classes, of every other s/classes. Log-sum-exp subtracts the row's maximum.
/// </summary>
public interface ILossKernels
{
    /// <summary>
    /// <paramref name="loss"/> (one float) = mean over rows of −Σ target·ln softmax; <paramref name="probabilities"/> [rows, classes] receives the
    /// softmax; <paramref name="correct"/> (one int32, or None) the number of rows whose first largest logit is the label's.
    /// A label out of range is an error on the CPU and yields NaN on a GPU.
    /// </summary>
    void SoftmaxCrossEntropyForward(
        int rows, int classes, float labelSmoothing, DeviceBuffer logits, DeviceBuffer labels, DeviceBuffer loss, DeviceBuffer probabilities, DeviceBuffer correct);

    /// <summary>logitsGradient = (or +=) (softmax − target)·lossGradient/rows; <paramref name="lossGradient"/> is one float.</summary>
    void SoftmaxCrossEntropyBackward(
        int rows, int classes, float labelSmoothing, DeviceBuffer probabilities, DeviceBuffer labels, DeviceBuffer lossGradient, DeviceBuffer logitsGradient,
        GradientMode mode);

    /// <summary>Softmax over the last dimension.</summary>
    void SoftmaxForward(int rows, int classes, DeviceBuffer input, DeviceBuffer output);

    /// <summary>dx = y·(dy − Σ dy·y) by row, from the softmax's output y.</summary>
    void SoftmaxBackward(int rows, int classes, DeviceBuffer output, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode);
}
