namespace Saturn.Kernels.Families;

/// <summary>
/// Sizes of a two-dimensional convolution. Input [Batch, InputHeight, InputWidth, InputChannels], weight
/// [OutputChannels, KernelHeight, KernelWidth, InputChannels/Groups], output [Batch, OutputHeight, OutputWidth, OutputChannels], all with
/// pitched last dimensions. A linear layer is the case of 1×1 images and a 1×1 kernel.
/// </summary>
public readonly record struct ConvolutionShape(
    int Batch, int InputHeight, int InputWidth, int InputChannels, int OutputChannels, int KernelHeight, int KernelWidth,
    int StrideHeight = 1, int StrideWidth = 1, int PaddingHeight = 0, int PaddingWidth = 0, int DilationHeight = 1, int DilationWidth = 1, int Groups = 1)
{
    /// <summary>Rows of the output image: ⌊(H + 2·padding − dilation·(kernel − 1) − 1)/stride⌋ + 1.</summary>
    public int OutputHeight => (InputHeight + 2 * PaddingHeight - DilationHeight * (KernelHeight - 1) - 1) / StrideHeight + 1;

    /// <summary>Columns of the output image, by the formula of <see cref="OutputHeight"/>.</summary>
    public int OutputWidth => (InputWidth + 2 * PaddingWidth - DilationWidth * (KernelWidth - 1) - 1) / StrideWidth + 1;

    /// <summary>Input channels that one output channel reads.</summary>
    public int GroupInputChannels => InputChannels / Groups;

    /// <summary>Output channels of one group.</summary>
    public int GroupOutputChannels => OutputChannels / Groups;

    /// <summary>The input's shape.</summary>
    public Shape Input => new(Batch, InputHeight, InputWidth, InputChannels);

    /// <summary>The weight's shape.</summary>
    public Shape Weight => new(OutputChannels, KernelHeight, KernelWidth, GroupInputChannels);

    /// <summary>The output's shape.</summary>
    public Shape Output => new(Batch, OutputHeight, OutputWidth, OutputChannels);

    /// <summary>Multiply-adds of one forward pass, padding taps included.</summary>
    public long MultiplyAdds => (long)Batch * OutputHeight * OutputWidth * OutputChannels * KernelHeight * KernelWidth * GroupInputChannels;
}

/// <summary>
/// The gradient of a residual sum whose shortcut reads its source x through a map, as it stands at the sum: ∂x[row, c] gains sum[row, inverse[c]], nothing where the inverse map is negative.
/// </summary>
/// <param name="Sum">[rows of x, channels of the sum]; None: there is no shortcut.</param>
/// <param name="Channels">Channels of the sum.</param>
/// <param name="InverseMap">One int32 a channel of x.</param>
public readonly record struct ShortcutGradient(DeviceBuffer Sum, int Channels, DeviceBuffer InverseMap)
{
    /// <summary>Whether there is no shortcut.</summary>
    public bool IsNone => Sum.IsNone;
}

/// <summary>
/// Convolutions in the cross-correlation convention:
/// y[n, oh, ow, o] = bias[o] + Σ_{r,s,i} x[n, oh·stride + r·dilation − padding, ow·stride + s·dilation − padding, i]·w[o, r, s, i].
/// Sums are float32 in an order that depends on the sizes only, never on the number of workers. Every kernel writes zeros into the
/// padding of its output.
/// </summary>
public interface IConvolutionKernels
{
    /// <summary>Whether the kernels take a bfloat16 image and filter of these sizes and give a bfloat16 output. They take float32 of any sizes.</summary>
    bool TakesBFloat16(in ConvolutionShape shape);

    /// <summary>In which form <see cref="Forward"/> leaves statistics of the output of a convolution of these sizes.</summary>
    BatchStatistics Statistics(in ConvolutionShape shape);

    /// <summary>Forward pass.</summary>
    /// <param name="shape">The sizes.</param>
    /// <param name="input">x.</param>
    /// <param name="weight">w.</param>
    /// <param name="bias">One float an output channel (pitched), or None.</param>
    /// <param name="output">y, overwritten.</param>
    /// <param name="statistics">
    /// If not None, receives statistics of the output, as it is stored, over all pixels, in the form that <see cref="Statistics"/> names, computed while the output is in registers or in cache.
    /// </param>
    void Forward(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer output, DeviceBuffer statistics);

    /// <summary>Whether <see cref="ForwardNormalized"/> is offered for these sizes; otherwise <see cref="Forward"/> and <see cref="INormalizationKernels.Apply"/> do the same.</summary>
    bool FoldsNormalization(in ConvolutionShape shape);

    /// <summary>
    /// Convolution, normalization by saved statistics, residual sum and activation in one pass: output = f(scale·(Σ … + bias) + shift + residual), where nothing has to be kept for a backward pass.
    /// </summary>
    /// <param name="shape">The sizes.</param>
    /// <param name="input">x.</param>
    /// <param name="weight">w.</param>
    /// <param name="bias">One float an output channel (pitched), or None.</param>
    /// <param name="saved">What <see cref="INormalizationKernels.PrepareInference"/> left.</param>
    /// <param name="epilogue">What follows the normalization.</param>
    /// <param name="output">Overwritten; not the residual's buffer.</param>
    /// <param name="activity">Which channels of the output are active.</param>
    /// <exception cref="NotSupportedException">It is not offered.</exception>
    void ForwardNormalized(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer saved, in NormalizationEpilogue epilogue, DeviceBuffer output,
        in ActivityReport activity);

    /// <summary>Whether <see cref="DataGradient"/> adds the gradient of a mapped shortcut, for whatever sizes.</summary>
    bool AddsShortcutGradients { get; }

    /// <summary>∂L/∂x[n, h, w, i] = Σ over the outputs that read it of ∂L/∂y·w, plus what a shortcut from x brings.</summary>
    /// <param name="shape">The sizes.</param>
    /// <param name="outputGradient">∂L/∂y.</param>
    /// <param name="weight">w.</param>
    /// <param name="inputGradient">∂L/∂x, in <paramref name="mode"/>.</param>
    /// <param name="mode">Overwrite or accumulate; overwrite where there is a shortcut.</param>
    /// <param name="shortcut">The gradient of a mapped shortcut, of ∂L/∂x's type; only where <see cref="AddsShortcutGradients"/> holds.</param>
    void DataGradient(
        in ConvolutionShape shape, DeviceBuffer outputGradient, DeviceBuffer weight, DeviceBuffer inputGradient, GradientMode mode, in ShortcutGradient shortcut = default);

    /// <summary>
    /// ∂L/∂w[o, r, s, i] = Σ_{n,oh,ow} ∂L/∂y[n, oh, ow, o]·x[…], and, where <paramref name="biasGradient"/> is not None,
    /// ∂L/∂bias[o] = Σ ∂L/∂y; both in <paramref name="mode"/>.
    /// </summary>
    void FilterGradient(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer weightGradient, DeviceBuffer biasGradient, GradientMode mode);

    /// <summary>
    /// How many parts <see cref="FilterGradientInParts"/> leaves of ∂L/∂w: a number of the sizes only. 1 where the kernels make a finished gradient, so that there is nothing to leave in parts.
    /// </summary>
    /// <param name="shape">The sizes.</param>
    /// <param name="type">What x and ∂L/∂y are.</param>
    int FilterGradientParts(in ConvolutionShape shape, ElementType type);

    /// <summary>
    /// ∂L/∂w in parts, for those who read it once and can add while they read: the elementwise sum of <see cref="FilterGradientParts"/> float32 arrays, each laid out as the weight with
    /// its padding zero, one after the other. Added in ascending order they are, bit for bit, what <see cref="FilterGradient"/> writes. Only where there is more than one part.
    /// </summary>
    /// <param name="shape">The sizes.</param>
    /// <param name="input">x.</param>
    /// <param name="outputGradient">∂L/∂y.</param>
    /// <param name="parts">Overwritten with all parts.</param>
    /// <param name="biasGradient">∂L/∂bias, finished; or None.</param>
    /// <param name="biasMode">Whether to overwrite ∂L/∂bias or to add to it.</param>
    void FilterGradientInParts(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer parts, DeviceBuffer biasGradient, GradientMode biasMode);

    /// <summary>Adds the parts of ∂L/∂w in ascending order and overwrites <paramref name="weightGradient"/>.</summary>
    /// <param name="weight">The weight's shape.</param>
    /// <param name="count">The number of parts.</param>
    /// <param name="parts">What <see cref="FilterGradientInParts"/> has left.</param>
    /// <param name="weightGradient">∂L/∂w.</param>
    void CombineFilterGradient(in Shape weight, int count, DeviceBuffer parts, DeviceBuffer weightGradient);
}
