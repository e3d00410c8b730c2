using MathNet.Numerics.LinearAlgebra;
using Saturn.Kernels.Families;

namespace Saturn.Tests.References;

/// <summary>C = α·op(A)·op(B) + β·C in double precision, on MathNet's matrices. Arrays hold all batches in the storage layout of the shape, gaps included.</summary>
public static class MatrixReference
{
    public static double[] Multiply(MatrixShape shape, float[] left, float[] right, float[] output, double alpha, double beta)
    {
        double[] result = new double[(long)shape.Batch * shape.Rows * shape.Columns];
        for (int batch = 0; batch < shape.Batch; batch++)
        {
            Matrix<double> a = Stored(left, batch * shape.LeftBatchStride, shape.TransposeLeft, shape.Rows, shape.Depth, shape.LeftPitch);
            Matrix<double> b = Stored(right, batch * shape.RightBatchStride, shape.TransposeRight, shape.Depth, shape.Columns, shape.RightPitch);
            Matrix<double> product = alpha * a * b;
            if (beta != 0)
            {
                product += beta * Stored(output, batch * shape.OutputBatchStride, false, shape.Rows, shape.Columns, shape.OutputPitch);
            }

            product.Transpose().ToColumnMajorArray().CopyTo(result, (long)batch * shape.Rows * shape.Columns);
        }

        return result;
    }

    private static Matrix<double> Stored(float[] values, long start, bool transposed, int rows, int columns, int pitch) => Matrix<double>.Build.Dense(
        rows, columns, (row, column) => values[start + (transposed ? (long)column * pitch + row : (long)row * pitch + column)]);
}
