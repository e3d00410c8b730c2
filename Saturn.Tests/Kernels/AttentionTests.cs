using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Self-attention against its formulas in double precision.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class AttentionTests(string device) : KernelTest(device)
{
    [Test]
    public void Forward_and_backward_are_the_formulas(
        [Values(1, 5, 17, 65)] int tokens, [Values(1, 2, 3)] int heads, [Values(1, 3, 8, 33, 128)] int headWidth, [Values] GradientMode mode)
    {
        AttentionShape shape = new(2, tokens, heads, headWidth);
        float[] packed = RandomValues(shape.Batch * shape.Tokens * 3L * shape.Width);
        float[] outputGradient = RandomValues((long)shape.Batch * shape.Tokens * shape.Width, 2);
        float[] before = RandomValues(packed.Length, 3);
        Shape packedShape = new(shape.Batch, tokens, 3 * shape.Width);
        Shape outputShape = new(shape.Batch, tokens, shape.Width);
        DeviceBuffer input = Upload(packedShape, packed);
        DeviceBuffer dOutput = Upload(outputShape, outputGradient);
        float[] output = [], gradient = [];
        _ = Twice<float>(() =>
        {
            DeviceBuffer result = Poisoned(outputShape);
            DeviceBuffer statistics = PoisonedBytes(2 * shape.Rows * sizeof(float));
            DeviceBuffer dPacked = Destination(packedShape, mode, before);
            Device.Attention.Forward(shape, input, result, statistics);
            Device.Attention.Backward(shape, input, result, statistics, dOutput, dPacked, mode);
            output = Download(outputShape, result);
            gradient = Download(packedShape, dPacked);
            return [.. output, .. gradient];
        });
        AssertElements(output, AttentionReference.Forward(shape, packed).Output, 1e-5, "output", 1);
        double[] expected = AttentionReference.Backward(shape, packed, outputGradient);
        AssertElements(gradient, mode == GradientMode.Accumulate ? [.. expected.Zip(before, (a, b) => a + b)] : expected, 2e-5, "gradient", 1);
    }

    [Test]
    public void Large_scores_do_not_overflow([Values(3, 40)] int tokens)
    {
        AttentionShape shape = new(1, tokens, 1, 4);
        float[] packed = [.. RandomValues(tokens * 12L).Select(value => value * 60)];
        Shape outputShape = new(1, tokens, 4);
        DeviceBuffer result = Poisoned(outputShape);
        Device.Attention.Forward(shape, Upload(new Shape(1, tokens, 12), packed), result, PoisonedBytes(2 * tokens * sizeof(float)));
        AssertElements(Download(outputShape, result), AttentionReference.Forward(shape, packed).Output, 1e-3, "output", 60);
    }

    [Test]
    public void Equal_keys_average_the_values()
    {
        AttentionShape shape = new(1, 4, 1, 2);

        // Queries differ, keys are equal, values are token numbers: every output is their mean, 1.5, exactly.
        float[] packed = [.. Enumerable.Range(0, 4).SelectMany(token => new float[] { token, -token, 1, 1, token, 2 * token })];
        Shape outputShape = new(1, 4, 2);
        DeviceBuffer result = Poisoned(outputShape);
        Device.Attention.Forward(shape, Upload(new Shape(1, 4, 6), packed), result, PoisonedBytes(8 * sizeof(float)));
        AssertElements(Download(outputShape, result), [.. Enumerable.Repeat(new[] { 1.5, 3 }, 4).SelectMany(row => row)], 0, "output");
    }
}
