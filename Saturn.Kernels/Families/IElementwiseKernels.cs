namespace Saturn.Kernels.Families;

/// <summary>An arithmetic function of one argument x, with scalars a and b.</summary>
public enum UnaryOperation
{
    /// <summary>x</summary>
    Copy,

    /// <summary>−x</summary>
    Negate,

    /// <summary>|x|</summary>
    Absolute,

    /// <summary>−1, 0 or 1; sign(0) = 0</summary>
    Sign,

    /// <summary>x²</summary>
    Square,

    /// <summary>√x</summary>
    SquareRoot,

    /// <summary>1/x</summary>
    Reciprocal,

    /// <summary>eˣ</summary>
    Exponential,

    /// <summary>ln x</summary>
    Logarithm,

    /// <summary>sin x</summary>
    Sine,

    /// <summary>cos x</summary>
    Cosine,

    /// <summary>tanh x</summary>
    HyperbolicTangent,

    /// <summary>1/(1 + e⁻ˣ)</summary>
    Sigmoid,

    /// <summary>a·x + b</summary>
    Affine,

    /// <summary>xᵃ</summary>
    Power,

    /// <summary>x limited to [a, b]</summary>
    Clamp,

    /// <summary>1 where a ≤ x ≤ b, else 0: the derivative of <see cref="Clamp"/>.</summary>
    InsideRange,
}

/// <summary>An arithmetic function of two arguments x and y.</summary>
public enum BinaryOperation
{
    /// <summary>x + y</summary>
    Add,

    /// <summary>x − y</summary>
    Subtract,

    /// <summary>x·y</summary>
    Multiply,

    /// <summary>x/y</summary>
    Divide,

    /// <summary>max(x, y)</summary>
    Maximum,

    /// <summary>min(x, y)</summary>
    Minimum,

    /// <summary>1 where x ≥ y, else 0</summary>
    GreaterOrEqual,

    /// <summary>1 where x &lt; y, else 0</summary>
    Less,

    /// <summary>1 where x = y, else 0</summary>
    Equal,
}

/// <summary>
/// Elementwise arithmetic, in float32 whatever is stored. Buffers hold <see cref="Shape.StorageCount"/> elements; padding of every output is written as zero,
/// whatever the function of zero is. An output may be the same buffer as an input of the same shape. <see cref="Unary"/> and <see cref="Binary"/> take float32; the others take float32 or
/// bfloat16 (<see cref="DeviceBuffer.Type"/>), all activations of a call in one type, and round a bfloat16 result once, to nearest even.
/// </summary>
public interface IElementwiseKernels
{
    /// <summary>output = f(input; a, b), elementwise.</summary>
    void Unary(UnaryOperation operation, in Shape shape, DeviceBuffer input, DeviceBuffer output, float a = 0, float b = 0);

    /// <summary>output = f(left, right), both broadcast to the output's shape (aligned at the last dimension).</summary>
    void Binary(
        BinaryOperation operation, in Shape leftShape, DeviceBuffer left, in Shape rightShape, DeviceBuffer right, in Shape outputShape, DeviceBuffer output);

    /// <summary>output += scale · input, of one shape.</summary>
    void Accumulate(in Shape shape, DeviceBuffer input, DeviceBuffer output, float scale = 1);

    /// <summary>output = (or +=) input, from float32 to bfloat16, rounded to nearest even, or back. The host processor has no bfloat16.</summary>
    /// <exception cref="ArgumentException">The types are others.</exception>
    void Convert(in Shape shape, DeviceBuffer input, DeviceBuffer output, GradientMode mode);

    /// <summary>Sets every element to <paramref name="value"/> and the padding to zero.</summary>
    void Fill(in Shape shape, DeviceBuffer output, float value);

    /// <summary>
    /// Residual sum through a channel map: output[row, c] = branch[row, c] + shortcut[row, map[c]], where a negative map entry adds nothing.
    /// </summary>
    /// <param name="shape">The branch's and output's shape.</param>
    /// <param name="branch">The branch's values.</param>
    /// <param name="shortcutChannels">Channels of the shortcut, whose rows are the same.</param>
    /// <param name="shortcut">The shortcut's values.</param>
    /// <param name="map">One int32 a channel of the output; <see cref="DeviceBuffer.None"/> is the identity.</param>
    /// <param name="output">The sum; may be the branch's buffer.</param>
    void MappedAdd(in Shape shape, DeviceBuffer branch, int shortcutChannels, DeviceBuffer shortcut, DeviceBuffer map, DeviceBuffer output);

    /// <summary>
    /// The shortcut's gradient of <see cref="MappedAdd"/>: shortcutGradient[row, s] = (or +=) outputGradient[row, inverse[s]], zero where the
    /// inverse map is negative. <paramref name="inverseMap"/> has one int32 a channel of the shortcut; None is the identity.
    /// </summary>
    void MappedAddBackward(
        in Shape outputShape, DeviceBuffer outputGradient, int shortcutChannels, DeviceBuffer inverseMap, DeviceBuffer shortcutGradient, GradientMode mode);

    /// <summary>
    /// Concatenation's building block: copies channels [sourceOffset, sourceOffset + count) of each row of the source to
    /// [destinationOffset, …) of each row of the destination (added to it where <paramref name="mode"/> is Accumulate).
    /// Padding of the destination is left as it is.
    /// </summary>
    void CopyChannels(
        int rows, int count, int sourceChannels, int sourceOffset, DeviceBuffer source,
        int destinationChannels, int destinationOffset, DeviceBuffer destination, GradientMode mode);

    /// <summary>
    /// Copies between two shapes of the same element count, in row-major order of the elements without padding, as a reshape does when the
    /// pitch changes. The destination's padding is written as zero, and its type may be another than the input's.
    /// </summary>
    void Reshape(in Shape inputShape, DeviceBuffer input, in Shape outputShape, DeviceBuffer output, GradientMode mode);

    /// <summary>output = input with dimensions reordered: output dimension i is input dimension <paramref name="order"/>[i].</summary>
    void Permute(in Shape inputShape, ReadOnlySpan<int> order, DeviceBuffer input, DeviceBuffer output);
}
