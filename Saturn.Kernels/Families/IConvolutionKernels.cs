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
/// Convolutions in the cross-correlation convention:
/// y[n, oh, ow, o] = bias[o] + Σ_{r,s,i} x[n, oh·stride + r·dilation − padding, ow·stride + s·dilation − padding, i]·w[o, r, s, i].
/// Sums are float32 in an order that depends on the sizes only, never on the number of workers. Every kernel writes zeros into the
/// padding of its output.
/// </summary>
public interface IConvolutionKernels
{
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

    /// <summary>∂L/∂x[n, h, w, i] = Σ over the outputs that read it of ∂L/∂y·w.</summary>
    void DataGradient(in ConvolutionShape shape, DeviceBuffer outputGradient, DeviceBuffer weight, DeviceBuffer inputGradient, GradientMode mode);

    /// <summary>
    /// ∂L/∂w[o, r, s, i] = Σ_{n,oh,ow} ∂L/∂y[n, oh, ow, o]·x[…], and, where <paramref name="biasGradient"/> is not None,
    /// ∂L/∂bias[o] = Σ ∂L/∂y; both in <paramref name="mode"/>.
    /// </summary>
    void FilterGradient(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer weightGradient, DeviceBuffer biasGradient, GradientMode mode);
}
