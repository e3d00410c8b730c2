using NUnit.Framework;
using Saturn.Kernels.Cuda.Cublas;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Cuda.Cublas;

/// <summary>Row-major products asked for in the column-major way of cuBLAS, which a loop over its definition stands in for.</summary>
public sealed class CublasProductTests
{
    [Test]
    public void The_column_major_product_writes_the_row_major_one([Values] bool transposeLeft, [Values] bool transposeRight)
    {
        // Every extent and every pitch is another number, so that none can stand in another's place.
        MatrixShape shape = new(5, 7, 3, transposeLeft, transposeRight, 11, 13, 17);
        Random random = new(1);
        float[] left = [.. Enumerable.Range(0, 200).Select(_ => (float)random.Next(-9, 10))];
        float[] right = [.. Enumerable.Range(0, 200).Select(_ => (float)random.Next(-9, 10))];
        float[] output = [.. Enumerable.Range(0, 5 * 17).Select(_ => (float)random.Next(-9, 10))];
        double[] expected = MatrixReference.Multiply(shape, left, right, output, 2, -1);
        float[] written = [.. output];
        ColumnMajor(CublasProduct.Of(shape), 2, right, left, -1, written);
        for (int i = 0; i < output.Length; i++)
        {
            Assert.That(written[i], Is.EqualTo(i % 17 < 7 ? expected[i / 17 * 7 + i % 17] : output[i]), $"row {i / 17}, column {i % 17}");
        }
    }

    [Test]
    public void Large_plain_products_are_taken_and_no_others()
    {
        MatrixShape shape = new(256, 256, 256, false, false, 256, 256, 256);
        Assert.That(CublasProduct.Takes(shape));
        Assert.That(CublasProduct.Takes(shape with { Depth = 255 }), Is.False, "small");
        Assert.That(CublasProduct.Takes(shape with { Batch = 2 }), Is.False, "several");
        Assert.That(CublasProduct.Takes(shape with { Columns = 257, OutputPitch = 264 }), Is.False, "zeros behind the rows");
        Assert.That(CublasProduct.Takes(shape with { Columns = 257, OutputPitch = 257 }), "no room behind the rows");
    }

    // C = α·op(A)·op(B) + β·C, all stored column by column, as cublasGemmEx defines it.
    private static void ColumnMajor(CublasProduct product, float alpha, float[] a, float[] b, float beta, float[] c)
    {
        for (int row = 0; row < product.Rows; row++)
        {
            for (int column = 0; column < product.Columns; column++)
            {
                float sum = 0;
                for (int depth = 0; depth < product.Depth; depth++)
                {
                    sum += (product.TransposeFirst ? a[row * product.FirstPitch + depth] : a[depth * product.FirstPitch + row])
                        * (product.TransposeSecond ? b[depth * product.SecondPitch + column] : b[column * product.SecondPitch + depth]);
                }

                ref float target = ref c[column * product.OutputPitch + row];
                target = alpha * sum + beta * target;
            }
        }
    }
}
