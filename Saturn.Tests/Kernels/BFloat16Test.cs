using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>
/// Ground of the tests of kernels over bfloat16: moves pitched arrays of it, poisoned with NaN and checked for zero padding as those of float32 are. Inputs are rounded before the reference
/// sees them, so that what a result may be off is one rounding of its own.
/// </summary>
public abstract class BFloat16Test(string deviceName) : KernelTest(deviceName)
{
    /// <summary>Half a unit in the last place, relative, at its largest.</summary>
    protected const double OneRounding = 1.0 / 256;

    /// <summary>The nearest value that bfloat16 holds.</summary>
    protected static float Round(float value) => float.IsNaN(value) ? value : RoundingReference.FromBFloat16(RoundingReference.ToBFloat16(value));

    /// <summary>What one rounding makes of a reference.</summary>
    protected static double[] Rounded(IEnumerable<double> values) => [.. values.Select(value => (double)Round((float)value))];

    /// <summary>Reproducible values in [−1, 1] that bfloat16 holds.</summary>
    protected static float[] RoundValues(long count, int seed = 1) => [.. RandomValues(count, seed).Select(Round)];

    /// <summary>Uploads values that bfloat16 holds as a pitched array of it with zero padding.</summary>
    protected DeviceBuffer UploadReduced(in Shape shape, float[] values)
    {
        ushort[] stored = new ushort[shape.StorageCount];
        for (int i = 0; i < values.Length; i++)
        {
            Assert.That(Round(values[i]), Is.EqualTo(values[i]), "an input that bfloat16 holds");
            stored[i / shape.Channels * shape.Pitch + i % shape.Channels] = RoundingReference.ToBFloat16(values[i]);
        }

        return UploadPacked<ushort>(stored) with { Type = ElementType.BFloat16 };
    }

    /// <summary>A pitched array of bfloat16 full of NaN, padding included.</summary>
    protected DeviceBuffer PoisonedReduced(in Shape shape) => PoisonedBytes(2 * shape.StorageCount) with { Type = ElementType.BFloat16 };

    /// <summary>A gradient's destination in bfloat16; see <see cref="KernelTest.Destination"/>.</summary>
    protected DeviceBuffer DestinationReduced(in Shape shape, GradientMode mode, float[] before) =>
        mode == GradientMode.Accumulate ? UploadReduced(shape, before) : PoisonedReduced(shape);

    /// <summary>Downloads a pitched array of bfloat16, asserts that its padding is exactly zero, and returns the logical values.</summary>
    protected float[] DownloadReduced(in Shape shape, DeviceBuffer buffer)
    {
        ushort[] stored = DownloadPacked<ushort>(buffer, checked((int)shape.StorageCount));
        float[] values = new float[shape.ElementCount];
        for (int i = 0; i < stored.Length; i++)
        {
            (int row, int channel) = (i / shape.Pitch, i % shape.Pitch);
            if (channel < shape.Channels)
            {
                values[row * shape.Channels + channel] = RoundingReference.FromBFloat16(stored[i]);
            }
            else if ((stored[i] & 0x7FFF) != 0)
            {
                Assert.Fail($"The padding at row {row}, channel {channel} of {shape} is not zero.");
            }
        }

        return values;
    }
}
