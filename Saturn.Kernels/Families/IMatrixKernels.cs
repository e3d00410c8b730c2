namespace Saturn.Kernels.Families;

/// <summary>Sizes and strides of C = α·op(A)·op(B) + β·C, row-major.</summary>
/// <param name="Rows">M: rows of C.</param>
/// <param name="Columns">N: columns of C.</param>
/// <param name="Depth">K: the summed dimension.</param>
/// <param name="TransposeLeft">Whether A is stored as K×M.</param>
/// <param name="TransposeRight">Whether B is stored as N×K.</param>
/// <param name="LeftPitch">Elements from one stored row of A to the next.</param>
/// <param name="RightPitch">Elements from one stored row of B to the next.</param>
/// <param name="OutputPitch">Elements from one row of C to the next.</param>
/// <param name="Batch">Independent products.</param>
/// <param name="LeftBatchStride">Elements from one A to the next; 0 repeats it.</param>
/// <param name="RightBatchStride">Elements from one B to the next; 0 repeats it.</param>
/// <param name="OutputBatchStride">Elements from one C to the next.</param>
public readonly record struct MatrixShape(
    int Rows, int Columns, int Depth, bool TransposeLeft, bool TransposeRight, int LeftPitch, int RightPitch, int OutputPitch,
    int Batch = 1, long LeftBatchStride = 0, long RightBatchStride = 0, long OutputBatchStride = 0);

/// <summary>Dense matrix products in float32 with float32 accumulation in a fixed order.</summary>
public interface IMatrixKernels
{
    /// <summary>
    /// C = α·op(A)·op(B) + β·C. With β = 0, C may hold anything, NaN included. Columns N … min(OutputPitch, N rounded up to 8) − 1 of C
    /// are written as zero.
    /// </summary>
    void Multiply(in MatrixShape shape, DeviceBuffer left, DeviceBuffer right, DeviceBuffer output, float alpha = 1, float beta = 0);
}
