namespace Saturn.Kernels.Families;

/// <summary>Sizes of a self-attention.</summary>
/// <param name="Batch">Sequences.</param>
/// <param name="Tokens">Tokens of a sequence.</param>
/// <param name="Heads">Heads.</param>
/// <param name="HeadWidth">Channels of a head, 1 … <see cref="MaximumHeadWidth"/>.</param>
public readonly record struct AttentionShape(int Batch, int Tokens, int Heads, int HeadWidth)
{
    /// <summary>The widest head: four channels a lane of a warp.</summary>
    public const int MaximumHeadWidth = 128;

    /// <summary>Channels of the output: heads side by side.</summary>
    public int Width => Heads * HeadWidth;

    /// <summary>Elements from one token's query, key and value to the next one's.</summary>
    public int PackedPitch => Shape.PitchOf(3 * Width);

    /// <summary>Elements from one token's output to the next one's.</summary>
    public int OutputPitch => Shape.PitchOf(Width);

    /// <summary>Query rows: batch · heads · tokens.</summary>
    public int Rows => Batch * Heads * Tokens;

    /// <summary>1/√(head width).</summary>
    public float Scale => 1 / MathF.Sqrt(HeadWidth);

    /// <summary>Multiply-adds of both products: 2 · tokens² · width a sequence.</summary>
    public long MultiplyAdds => 2L * Batch * Tokens * Tokens * Width;
}

/// <summary>
/// Scaled dot-product self-attention (Vaswani et al. 2017). Packed input [batch, tokens, 3·width]: queries, keys and values, each with its heads side by side. For every head
/// output_i = Σ_j p_ij·v_j with p_ij = exp(s_ij − L_i), s_ij = q_i·k_j/√(head width), L_i = ln Σ_j exp s_ij. No array of tokens² is kept: the backward pass recomputes p from L.
/// </summary>
public interface IAttentionKernels
{
    /// <summary>Computes the output [batch, tokens, width], padding included.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="packed">Queries, keys and values.</param>
    /// <param name="output">The output.</param>
    /// <param name="statistics">[2, batch·heads·tokens]: receives L; the second half is the backward pass's.</param>
    void Forward(in AttentionShape shape, DeviceBuffer packed, DeviceBuffer output, DeviceBuffer statistics);

    /// <summary>
    /// With D_i = dO_i·O_i and dS_ij = p_ij·(dO_i·v_j − D_i)/√(head width): dq_i = Σ_j dS_ij·k_j, dk_j = Σ_i dS_ij·q_i, dv_j = Σ_i p_ij·dO_i.
    /// </summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="packed">Queries, keys and values.</param>
    /// <param name="output">The forward pass's output.</param>
    /// <param name="statistics">What the forward pass left; its second half receives D.</param>
    /// <param name="outputGradient">dO.</param>
    /// <param name="packedGradient">The gradient of the packed input, padding included.</param>
    /// <param name="mode">Whether the gradient is written or added to.</param>
    void Backward(
        in AttentionShape shape, DeviceBuffer packed, DeviceBuffer output, DeviceBuffer statistics, DeviceBuffer outputGradient, DeviceBuffer packedGradient, GradientMode mode);
}
