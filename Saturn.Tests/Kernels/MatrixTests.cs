using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Matrix products against MathNet in double precision: both transpositions, tails of every tile, batches, pitches, α and β.</summary>
[TestFixtureSource(nameof(DeviceNames))]
public sealed class MatrixTests(string device) : KernelTest(device)
{
    private static readonly string[] DeviceNames = [.. TestDevices.TileNames, .. TestDevices.TensorNames];

    private static readonly (int Rows, int Columns, int Depth)[] Sizes =
    [
        (1, 1, 1), (3, 7, 37), (37, 3, 7), (8, 16, 5), (13, 33, 64), (65, 48, 17), (128, 10, 100), (130, 150, 70), (7, 600, 300), (1, 300, 130), (200, 1, 9),
    ];

    private static readonly (bool Left, bool Right)[] Transpositions = [(false, false), (true, false), (false, true), (true, true)];

    [Test]
    public void Products_are_the_definition([ValueSource(nameof(Sizes))] (int, int, int) size, [ValueSource(nameof(Transpositions))] (bool, bool) transposition)
    {
        MatrixShape shape = Packed(size, transposition);
        Check(shape, RandomValues, 1, 0, TensorCoreTolerance(1e-6));
        Check(shape, RandomValues, -0.5f, 0.25f, TensorCoreTolerance(1e-6));
    }

    [Test]
    public void Integers_come_out_exactly([ValueSource(nameof(Sizes))] (int, int, int) size, [ValueSource(nameof(Transpositions))] (bool, bool) transposition)
    {
        MatrixShape shape = Packed(size, transposition);
        Check(shape, (count, seed) => RandomIntegers(count, seed), 1, 0, 0);
        Check(shape, (count, seed) => RandomIntegers(count, seed), 2, 1, 0);
        Check(shape, (count, seed) => RandomIntegers(count, seed), 0, -1, 0);
    }

    [Test]
    public void Batches_and_wide_pitches([ValueSource(nameof(Transpositions))] (bool Left, bool Right) transposition)
    {
        // The pitches leave gaps, one matrix of the right side serves all batches.
        MatrixShape shape = new(19, 21, 35, transposition.Left, transposition.Right, 48, 40, 32, 3, 48 * 40, 0, 32 * 24);
        Check(shape, (count, seed) => RandomIntegers(count, seed), 1, 0, 0);
        Check(shape, (count, seed) => RandomIntegers(count, seed), 1, 1, 0);
    }

    [Test]
    public void Large_and_small_tiles_give_the_same_bits([ValueSource(nameof(Transpositions))] (bool Left, bool Right) transposition)
    {
        // One product leaves a GPU idle and is cut into small tiles, seventy are cut into large ones.
        MatrixShape one = Packed((130, 70, 37), transposition);
        MatrixShape many = one with { Batch = 70, OutputBatchStride = 130 * 72 };
        Check(many, (count, seed) => RandomIntegers(count, seed), 1, 1, 0);
        float[] expected = Multiply(Device, one);
        float[] actual = Multiply(Device, many);
        for (int batch = 0; batch < many.Batch; batch++)
        {
            Assert.That(actual.AsSpan(batch * expected.Length, expected.Length).SequenceEqual(expected), Is.True, $"product {batch} of many against one alone");
        }
    }

    [Test]
    public void A_pitch_without_padding_is_respected([Values(1, 9, 17, 31)] int columns) =>
        Check(new MatrixShape(11, columns, 23, false, false, 23, columns, columns), (count, seed) => RandomIntegers(count, seed), 1, 0, 0);

    [Test]
    public void The_number_of_workers_does_not_change_a_bit([Values(1, 2, 5)] int workers, [Values] bool wide)
    {
        MatrixShape shape = Packed((150, 70, 130), (true, true));
        using CpuDevice three = new(3, wide);
        float[] expected = Multiply(three, shape);
        using CpuDevice other = new(workers, wide);
        Assert.That(Multiply(other, shape), Is.EqualTo(expected));
    }

    private static MatrixShape Packed((int Rows, int Columns, int Depth) size, (bool Left, bool Right) transposition) => new(
        size.Rows, size.Columns, size.Depth, transposition.Left, transposition.Right,
        Shape.PitchOf(transposition.Left ? size.Rows : size.Depth), Shape.PitchOf(transposition.Right ? size.Depth : size.Columns), Shape.PitchOf(size.Columns));

    private static long LeftCount(MatrixShape shape) =>
        (shape.Batch - 1) * shape.LeftBatchStride + (long)(shape.TransposeLeft ? shape.Depth : shape.Rows) * shape.LeftPitch;

    private static long RightCount(MatrixShape shape) =>
        (shape.Batch - 1) * shape.RightBatchStride + (long)(shape.TransposeRight ? shape.Columns : shape.Depth) * shape.RightPitch;

    private static long OutputCount(MatrixShape shape) => (shape.Batch - 1) * shape.OutputBatchStride + (long)shape.Rows * shape.OutputPitch;

    private void Check(MatrixShape shape, Func<long, int, float[]> values, float alpha, float beta, double tolerance)
    {
        // Gaps and padding of the inputs hold ordinary numbers: a kernel that let them into a sum would be found out.
        float[] left = values(LeftCount(shape), 1);
        float[] right = values(RightCount(shape), 2);
        float[] before = new float[OutputCount(shape)];
        Array.Fill(before, float.NaN);
        if (beta != 0)
        {
            values(before.Length, 3).CopyTo(before, 0);
        }

        // Operands go to tensor cores rounded; what they give is compared with the product of the rounded ones, so that the tolerance stays that of float32.
        bool rounds = Device.Precision != Precision.Fp32;
        double[] expected = MatrixReference.Multiply(
            shape, rounds ? Array.ConvertAll(left, RoundingReference.ToTf32) : left, rounds ? Array.ConvertAll(right, RoundingReference.ToTf32) : right, before, alpha, beta);
        DeviceBuffer output = UploadPacked<float>(before);
        Device.Matrix.Multiply(shape, UploadPacked<float>(left), UploadPacked<float>(right), output, alpha, beta);
        float[] after = DownloadPacked<float>(output, before.Length);
        float[] actual = new float[expected.Length];
        int written = Math.Min(shape.OutputPitch, Shape.PitchOf(shape.Columns));
        for (int row = 0; row < shape.Batch * shape.Rows; row++)
        {
            long start = row / shape.Rows * shape.OutputBatchStride + (long)(row % shape.Rows) * shape.OutputPitch;
            Array.Copy(after, start, actual, (long)row * shape.Columns, shape.Columns);
            for (int column = shape.Columns; column < shape.OutputPitch; column++)
            {
                float untouched = before[start + column];
                Assert.That(after[start + column], Is.EqualTo(column < written ? 0 : untouched), $"row {row}, column {column} beyond the {shape.Columns} of C");
            }
        }

        AssertClose(actual, expected, tolerance, $"α = {alpha}, β = {beta}, {shape}");
    }

    private static float[] Multiply(Device device, MatrixShape shape)
    {
        DeviceBuffer left = Put(RandomValues(LeftCount(shape), 1));
        DeviceBuffer right = Put(RandomValues(RightCount(shape), 2));
        DeviceBuffer output = Put(new float[OutputCount(shape)]);
        device.Matrix.Multiply(shape, left, right, output);
        float[] result = new float[OutputCount(shape)];
        device.Download(output, System.Runtime.InteropServices.MemoryMarshal.AsBytes(result.AsSpan()));
        device.Memory.Free(left);
        device.Memory.Free(right);
        device.Memory.Free(output);
        return result;

        DeviceBuffer Put(float[] values)
        {
            DeviceBuffer buffer = device.Memory.Allocate(values.Length * sizeof(float));
            device.Upload(System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()), buffer);
            return buffer;
        }
    }
}
