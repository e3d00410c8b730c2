namespace Saturn.Kernels.Families;

/// <summary>Sizes and constants of a batch normalization over [Rows, Channels].</summary>
/// <param name="Rows">Batch · height · width.</param>
/// <param name="Channels">Normalised channels.</param>
/// <param name="Epsilon">Added to the variance.</param>
/// <param name="Momentum">Share of the new batch in the running statistics.</param>
public readonly record struct BatchNormShape(int Rows, int Channels, float Epsilon, float Momentum);

/// <summary>
/// The form of a batch's statistics: finished moments, as <see cref="INormalizationKernels.BatchMoments"/> defines them, or moments and extrema of tiles of rows, each row in one of them, that
/// <see cref="INormalizationKernels.PrepareTraining"/> merges.
/// </summary>
/// <param name="Tiles">Tiles, each with float32 [4, Pitch]: mean, Σ(x − mean)², maximum, minimum. 0: finished float64 moments [2, Pitch].</param>
/// <param name="RowsOfTile">Rows of every tile but the last, which has what is left.</param>
public readonly record struct BatchStatistics(int Tiles, int RowsOfTile)
{
    /// <summary>Finished float64 moments.</summary>
    public static BatchStatistics Moments => default;

    /// <summary>Whether the moments are finished.</summary>
    public bool AreMoments => Tiles == 0;

    /// <summary>
    /// Whether the extrema tell which channels exceed a threshold after scale, shift and activation: these rise with the input (or fall, where the scale is negative), rounding included, so the
    /// largest output is that of an extremum.
    /// </summary>
    public bool Answers(Activation activation, in ActivityReport activity) =>
        !AreMoments && !activity.Flags.IsNone && activity.Criterion == ActivityCriterion.AboveThreshold
        && (activation.Kind is ActivationKind.Identity or ActivationKind.Relu || (activation.Kind == ActivationKind.LeakyRelu && activation.Parameter >= 0));

    /// <summary>Bytes of the statistics of so many channels.</summary>
    public long ByteLength(int channels) => Shape.PitchOf(channels) * (AreMoments ? 2L * sizeof(double) : 4L * Tiles * sizeof(float));
}

/// <summary>What is applied after the normalization: residual sum, then activation.</summary>
/// <param name="Activation">Identity, ReLU or leaky ReLU; others are applied by the activation family.</param>
/// <param name="Residual">The shortcut's values, or None.</param>
/// <param name="ResidualChannels">Channels of the shortcut; equal to the normalised channels unless mapped.</param>
/// <param name="Map">One int32 an output channel: the shortcut's channel, or negative for none. None is the identity.</param>
/// <param name="InverseMap">One int32 a shortcut channel: the output channel it feeds, or negative. Needed by the backward pass of a mapped sum.</param>
public readonly record struct NormalizationEpilogue(
    Activation Activation, DeviceBuffer Residual = default, int ResidualChannels = 0, DeviceBuffer Map = default, DeviceBuffer InverseMap = default);

/// <summary>
/// Batch and layer normalization. Batch norm: y = f(γ·(x − mean)/√(variance + ε) + β + residual) with biased variance; running variance is
/// unbiased (n/(n − 1)), as in other frameworks. Row statistics are accumulated in float32 with a pivot, or better, and merged in float64.
/// Padding of every output is zero. Batch norm takes activations and their gradients in float32 or bfloat16, all of a call in one type; whatever has one value a channel is float32 or float64, and so is
/// layer norm.
/// </summary>
public interface INormalizationKernels
{
    /// <summary>
    /// Moments over rows: float64 [2, Pitch], first the mean, then Σ(x − mean)². Padding entries are zero.
    /// </summary>
    void BatchMoments(int rows, int channels, DeviceBuffer input, DeviceBuffer moments);

    /// <summary>
    /// From a batch's statistics to the saved ones of one training pass, and the running statistics' update
    /// r ← (1 − momentum)·r + momentum·new. <paramref name="saved"/> receives float32 [4, Pitch]: mean, 1/√(variance + ε), scale = γ·that,
    /// shift = β − mean·scale. γ and β may be None (1 and 0); so may the running statistics.
    /// </summary>
    /// <param name="shape">The sizes.</param>
    /// <param name="form">The form of the statistics.</param>
    /// <param name="statistics">Statistics of the normalization's input.</param>
    /// <param name="gamma">γ.</param>
    /// <param name="beta">β.</param>
    /// <param name="runningMean">The running mean.</param>
    /// <param name="runningVariance">The running variance.</param>
    /// <param name="saved">The saved statistics.</param>
    /// <param name="activation">What follows the normalization directly.</param>
    /// <param name="activity">
    /// Where the activity of that is reported; None where a residual is added in between. Extrema tell which channels exceed a threshold without another look at the data.
    /// </param>
    /// <returns>Whether the activity was reported; otherwise <see cref="Apply"/> must do it.</returns>
    bool PrepareTraining(
        in BatchNormShape shape, BatchStatistics form, DeviceBuffer statistics, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer runningMean, DeviceBuffer runningVariance,
        DeviceBuffer saved, Activation activation, in ActivityReport activity);

    /// <summary>The same saved statistics from the running ones, for evaluation.</summary>
    void PrepareInference(
        in BatchNormShape shape, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer runningMean, DeviceBuffer runningVariance, DeviceBuffer saved);

    /// <summary>output = f(input·scale + shift + residual), and which channels were active. The output may be the input's buffer.</summary>
    void Apply(
        in BatchNormShape shape, in NormalizationEpilogue epilogue, DeviceBuffer input, DeviceBuffer saved, DeviceBuffer output, in ActivityReport activity);

    /// <summary>
    /// Backward pass. With dz = f′·outputGradient, x̂ = (x − mean)·inverseStd, n rows:
    /// dβ = Σ dz, dγ = Σ dz·x̂, dx = scale·(dz − dβ/n − x̂·dγ/n) after batch statistics, dx = scale·dz after running ones,
    /// and the residual's gradient is dz through the inverse map.
    /// </summary>
    /// <param name="shape">The sizes.</param>
    /// <param name="epilogue">What the forward pass applied. f′ is taken from the sign of the output where a residual was added, and may be recomputed from the input otherwise.</param>
    /// <param name="batchStatistics">Whether the saved statistics came from this batch (training) or are constants (evaluation).</param>
    /// <param name="input">x, the normalization's input.</param>
    /// <param name="saved">The saved statistics.</param>
    /// <param name="output">The forward pass's output; needed with a residual and an activation, else None is allowed.</param>
    /// <param name="outputGradient">∂L/∂output.</param>
    /// <param name="gammaGradient">dγ, in <paramref name="parameterMode"/>; None if not wanted.</param>
    /// <param name="betaGradient">dβ, in <paramref name="parameterMode"/>; None if not wanted.</param>
    /// <param name="parameterMode">Overwrite or accumulate dγ and dβ.</param>
    /// <param name="inputGradient">dx, overwritten; may be the output gradient's buffer; None if not wanted.</param>
    /// <param name="residualGradient">[Rows, ResidualChannels], in <paramref name="residualMode"/>; None if not wanted. Not the output gradient's buffer.</param>
    /// <param name="residualMode">Overwrite (channels that feed nothing get zero) or accumulate.</param>
    void BatchBackward(
        in BatchNormShape shape, in NormalizationEpilogue epilogue, bool batchStatistics, DeviceBuffer input, DeviceBuffer saved, DeviceBuffer output,
        DeviceBuffer outputGradient, DeviceBuffer gammaGradient, DeviceBuffer betaGradient, GradientMode parameterMode, DeviceBuffer inputGradient,
        DeviceBuffer residualGradient, GradientMode residualMode);

    /// <summary>
    /// Layer norm over the last dimension: y = γ·(x − mean)/√(variance + ε) + β by row. <paramref name="saved"/> receives float32
    /// [rows, 2], packed: mean and 1/√(variance + ε). γ and β may be None.
    /// </summary>
    void LayerForward(int rows, int channels, float epsilon, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer output, DeviceBuffer saved);

    /// <summary>
    /// With g = dy·γ: dx = inverseStd·(g − mean(g) − x̂·mean(g·x̂)), dγ = Σ_rows dy·x̂, dβ = Σ_rows dy. Gradients that are None are not computed.
    /// </summary>
    void LayerBackward(
        int rows, int channels, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer saved, DeviceBuffer outputGradient, DeviceBuffer inputGradient,
        GradientMode inputMode, DeviceBuffer gammaGradient, DeviceBuffer betaGradient, GradientMode parameterMode);
}
