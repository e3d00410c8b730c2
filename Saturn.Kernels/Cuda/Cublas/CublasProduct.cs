using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda.Cublas;

/// <summary>
/// A matrix product as cuBLAS takes it. A row-major matrix is, read column by column, its transpose; so the row-major C = op(A)·op(B) is asked for as the column-major
/// Cᵀ = op(B)ᵀ·op(A)ᵀ: B comes first, rows and columns change places, and the transpositions and pitches stay.
/// </summary>
/// <param name="TransposeFirst">Whether the first operand, B, is transposed.</param>
/// <param name="TransposeSecond">Whether the second operand, A, is transposed.</param>
/// <param name="Rows">Rows of the column-major result: the columns of C.</param>
/// <param name="Columns">Columns of the column-major result: the rows of C.</param>
/// <param name="Depth">The summed dimension.</param>
/// <param name="FirstPitch">Elements from one column of the first operand, as it is stored, to the next.</param>
/// <param name="SecondPitch">The same of the second operand.</param>
/// <param name="OutputPitch">The same of the result.</param>
internal readonly record struct CublasProduct(
    bool TransposeFirst, bool TransposeSecond, int Rows, int Columns, int Depth, int FirstPitch, int SecondPitch, int OutputPitch)
{
    // Below, a call of the library costs more than it gains.
    private const long LeastMultiplyAdds = 1L << 24;

    /// <summary>The product of a shape that <see cref="Takes"/> lets pass.</summary>
    public static CublasProduct Of(in MatrixShape shape) =>
        new(shape.TransposeRight, shape.TransposeLeft, shape.Columns, shape.Rows, shape.Depth, shape.RightPitch, shape.LeftPitch, shape.OutputPitch);

    /// <summary>Whether a product is plain and large: one matrix, whose rows need no zeros written behind them.</summary>
    public static bool Takes(in MatrixShape shape) =>
        shape.Batch == 1 && (shape.Columns % 8 == 0 || shape.OutputPitch == shape.Columns) && (long)shape.Rows * shape.Columns * shape.Depth >= LeastMultiplyAdds;
}
