using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Kernels;

/// <summary>
/// Ground of all kernel tests: opens a device, moves pitched arrays, poisons outputs with NaN, and asserts that padding stays zero and that no memory
/// is left behind.
/// </summary>
public abstract class KernelTest(string deviceName)
{
    /// <summary>
    /// Elements of the few cases that go beyond one stride of the widest grid that a launch asks for: 132·16 blocks of 256 threads with four elements each, and some
    /// more. Lower it where a device interprets kernels too slowly.
    /// </summary>
    protected const int BeyondOneStride = 132 * 16 * 256 * 4 + 5000;

    private readonly List<DeviceBuffer> owned = [];

    protected Device Device { get; private set; } = null!;

    /// <summary>
    /// A tolerance of sums of float32 products on tensor cores: hardware cuts every sum off where the emulator rounds, so that errors of a thousand products have one sign and add up.
    /// </summary>
    protected double TensorCoreTolerance(double exactSums) => CutsSumsOff && Device.Precision != Precision.Fp32 ? Math.Max(exactSums, 5e-6) : exactSums;

    /// <summary>Whether tensor cores cut sums off: those of hardware do, the emulator's round.</summary>
    protected bool CutsSumsOff => Device is CudaDevice { Context.Driver.IsEmulated: false };

    [SetUp]
    public void OpenDevice()
    {
        Device = TestDevices.Open(deviceName);
        Assert.That(Device.Name, Is.EqualTo(deviceName.Split(' ')[0]), "a test must run on the device it names");
    }

    /// <summary>Closes the device and opens it in another precision, such as <c>bf16</c>.</summary>
    protected void Reopen(string precision)
    {
        CloseDevice();
        Device = TestDevices.Open($"{deviceName} {precision}");
    }

    [TearDown]
    public void CloseDevice()
    {
        foreach (DeviceBuffer buffer in owned)
        {
            Device.Memory.Free(buffer);
        }

        owned.Clear();
        long left = Device.Memory.LiveBytes;
        Device.Dispose();
        Assert.That(left, Is.Zero, "bytes left behind by the kernel");
    }

    /// <summary>Uploads logical values (row-major, without padding) as a pitched array with zero padding.</summary>
    protected DeviceBuffer Upload(in Shape shape, ReadOnlySpan<float> values)
    {
        Assert.That(values.Length, Is.EqualTo(shape.ElementCount));
        float[] stored = new float[shape.StorageCount];
        for (int row = 0; row < shape.Rows; row++)
        {
            values.Slice(row * shape.Channels, shape.Channels).CopyTo(stored.AsSpan(row * shape.Pitch));
        }

        return UploadPacked<float>(stored);
    }

    /// <summary>Uploads values as they are.</summary>
    protected DeviceBuffer UploadPacked<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        DeviceBuffer buffer = Allocate(values.Length * (long)Marshal.SizeOf<T>());
        Device.Upload(MemoryMarshal.AsBytes(values), buffer);
        return buffer;
    }

    /// <summary>A pitched float array full of NaN, padding included: whatever the kernel does not write shows.</summary>
    protected DeviceBuffer Poisoned(in Shape shape)
    {
        float[] stored = new float[shape.StorageCount];
        Array.Fill(stored, float.NaN);
        return UploadPacked<float>(stored);
    }

    /// <summary>A gradient's destination: poisoned where it is overwritten, holding <paramref name="before"/> where it is added to.</summary>
    protected DeviceBuffer Destination(in Shape shape, GradientMode mode, ReadOnlySpan<float> before) =>
        mode == GradientMode.Accumulate ? Upload(shape, before) : Poisoned(shape);

    /// <summary>What a <see cref="Destination"/> must hold afterwards.</summary>
    protected static double[] Combined(GradientMode mode, float[] before, double[] gradient) =>
        mode == GradientMode.Accumulate ? [.. gradient.Select((value, i) => before[i] + value)] : gradient;

    /// <summary>Runs a call twice, each time into outputs of its own, asserts that both give the same bits, and returns them.</summary>
    protected static T[] Twice<T>(Func<T[]> run)
        where T : unmanaged
    {
        T[] first = run();
        T[] second = run();
        Assert.That(MemoryMarshal.AsBytes<T>(second).SequenceEqual(MemoryMarshal.AsBytes<T>(first)), "two runs give the same bits");
        return first;
    }

    /// <summary>A packed array of bytes 0xFF, which is NaN as float32 and as float64 and −1 as an integer.</summary>
    protected DeviceBuffer PoisonedBytes(long byteLength)
    {
        byte[] stored = new byte[byteLength];
        Array.Fill(stored, (byte)0xFF);
        return UploadPacked<byte>(stored);
    }

    protected DeviceBuffer Allocate(long byteLength)
    {
        DeviceBuffer buffer = Device.Memory.Allocate(byteLength);
        owned.Add(buffer);
        return buffer;
    }

    /// <summary>Downloads a pitched array, asserts that its padding is exactly zero, and returns the logical values.</summary>
    protected float[] Download(in Shape shape, DeviceBuffer buffer)
    {
        float[] stored = DownloadPacked<float>(buffer, checked((int)shape.StorageCount));
        float[] values = new float[shape.ElementCount];
        for (int row = 0; row < shape.Rows; row++)
        {
            stored.AsSpan(row * shape.Pitch, shape.Channels).CopyTo(values.AsSpan(row * shape.Channels));
            for (int c = shape.Channels; c < shape.Pitch; c++)
            {
                if ((BitConverter.SingleToInt32Bits(stored[row * shape.Pitch + c]) & 0x7FFFFFFF) != 0)
                {
                    Assert.Fail($"The padding at row {row}, channel {c} of {shape} is {stored[row * shape.Pitch + c]}, not zero.");
                }
            }
        }

        return values;
    }

    protected T[] DownloadPacked<T>(DeviceBuffer buffer, int count)
        where T : unmanaged
    {
        T[] values = new T[count];
        Device.Download(buffer, MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    /// <summary>Reproducible values in [−1, 1).</summary>
    protected static float[] RandomValues(long count, int seed = 1)
    {
        Random random = new(seed);
        float[] values = new float[count];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = random.NextSingle() * 2 - 1;
        }

        return values;
    }

    /// <summary>Reproducible small integers in [−range, range], for which float32 sums are exact.</summary>
    protected static float[] RandomIntegers(long count, int seed = 1, int range = 3)
    {
        Random random = new(seed);
        float[] values = new float[count];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = random.Next(-range, range + 1);
        }

        return values;
    }

    /// <summary>‖actual − expected‖₂/‖expected‖₂ must stay below the tolerance, and nothing may be NaN.</summary>
    protected static void AssertClose(ReadOnlySpan<float> actual, ReadOnlySpan<double> expected, double tolerance, string what)
    {
        Assert.That(actual.Length, Is.EqualTo(expected.Length), what);
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < actual.Length; i++)
        {
            double d = actual[i] - expected[i];
            difference += d * d;
            norm += expected[i] * expected[i];
        }

        double relative = Math.Sqrt(difference) / Math.Max(Math.Sqrt(norm), 1e-30);
        Assert.That(relative, Is.LessThanOrEqualTo(tolerance), $"relative error of {what} against the float64 reference");
    }

    /// <summary>
    /// Every element must lie within <paramref name="tolerance"/> · max(|expected|, <paramref name="floor"/>) of what is expected; what is not finite must be the same.
    /// </summary>
    protected static void AssertElements(ReadOnlySpan<float> actual, ReadOnlySpan<double> expected, double tolerance, string what, double floor = 0)
    {
        Assert.That(actual.Length, Is.EqualTo(expected.Length), what);
        int wrong = 0;
        string first = "";
        for (int i = 0; i < actual.Length; i++)
        {
            bool same = double.IsFinite(expected[i])
                ? Math.Abs(actual[i] - expected[i]) <= tolerance * Math.Max(Math.Abs(expected[i]), floor)
                : actual[i].Equals((float)expected[i]);
            if (!same && wrong++ == 0)
            {
                first = $"element {i} is {actual[i]:g9} instead of {expected[i]:g9}";
            }
        }

        Assert.That(wrong, Is.Zero, $"wrong elements of {actual.Length} of {what}; {first}");
    }
}
