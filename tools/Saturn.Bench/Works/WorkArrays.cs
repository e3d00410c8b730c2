using System.Runtime.InteropServices;
using Saturn.Kernels;

namespace Saturn.Bench.Works;

/// <summary>What one call of a work leaves behind, to be compared between devices.</summary>
/// <param name="Name">What it is.</param>
/// <param name="Buffer">Where it is.</param>
/// <param name="Shape">Its shape; the last dimension is pitched.</param>
public readonly record struct WorkResult(string Name, DeviceBuffer Buffer, Shape Shape);

/// <summary>
/// The arrays that one work reads and writes: random normal values that depend on the order of the calls alone, so that two devices get the same ones, and results that start as NaN. Under bfloat16
/// activations the values are such that bfloat16 holds them exactly, on every device. Disposing frees all of it.
/// </summary>
public sealed class WorkArrays : IDisposable
{
    /// <summary>Memory behind a bfloat16 array is as large as for float32, so that a kernel that does not know the type yet goes wrong inside its own array and not in another's.</summary>
    private const int ReservedElementBytes = sizeof(float);

    private static readonly float[] Pool = NormalNumbers(1 << 20);

    private readonly Device device;
    private readonly bool rounds;
    private readonly List<DeviceBuffer> owned = [];
    private readonly List<WorkResult> results = [];
    private int draw;

    /// <summary>Arrays on a device.</summary>
    /// <param name="device">The device.</param>
    /// <param name="activations">Element type of activations, their gradients and filters.</param>
    /// <param name="rounds">Whether the values are rounded to bfloat16, as for a comparison with a device that computes on bfloat16.</param>
    public WorkArrays(Device device, ElementType activations, bool rounds)
    {
        this.device = device;
        Activations = activations;
        this.rounds = rounds;
    }

    /// <summary>Element type of activations, their gradients and filters.</summary>
    public ElementType Activations { get; }

    /// <summary>Whether they are a reference's, against which another device is checked: it may compute what that one does by the way in a pass of its own.</summary>
    public bool AreReference { get; init; }

    /// <summary>Whether values are left out, for a device that computes nothing.</summary>
    public bool AreEmpty { get; init; }

    /// <summary>Bytes of one activation.</summary>
    public int ActivationBytes => Activations.Size();

    /// <summary>What a call leaves behind, in the order in which it was asked for.</summary>
    public IReadOnlyList<WorkResult> Results => results;

    /// <summary>Bytes of all arrays.</summary>
    public long TotalBytes => owned.Sum(buffer => buffer.ByteLength);

    /// <summary>Random activations, gradients or filters.</summary>
    public DeviceBuffer Activation(in Shape shape) => Random(shape, Activations, 1, 0);

    /// <summary>Random float32 values times a scale plus an offset, made positive where wanted.</summary>
    public DeviceBuffer Parameter(in Shape shape, float scale = 1, float offset = 0, bool positive = false) => Random(shape, ElementType.Float32, scale, offset, positive);

    /// <summary>
    /// A map of channels onto as many others that leaves every fifth of the sum out and turns the rest around: for each channel of the sum that of the shortcut, or the other way around.
    /// </summary>
    public DeviceBuffer ChannelMap(int channels, bool inverse)
    {
        int[] map = new int[channels];
        for (int c = 0; c < channels; c++)
        {
            int sum = inverse ? channels - 1 - c : c;
            map[c] = sum % 5 == 0 ? -1 : channels - 1 - c;
        }

        return Integers(map);
    }

    /// <summary>Bytes.</summary>
    public DeviceBuffer Bytes(ReadOnlySpan<byte> values)
    {
        DeviceBuffer buffer = Allocate(values.Length, ElementType.Int32);
        device.Upload(values, buffer);
        return buffer;
    }

    /// <summary>int32 values.</summary>
    public DeviceBuffer Integers(ReadOnlySpan<int> values)
    {
        DeviceBuffer buffer = Allocate(values.Length * sizeof(int), ElementType.Int32);
        device.Upload(MemoryMarshal.AsBytes(values), buffer);
        return buffer;
    }

    /// <summary>An activation array that a call writes in full; it starts as NaN.</summary>
    public DeviceBuffer ActivationResult(string name, in Shape shape) => Result(name, shape, Activations);

    /// <summary>An array of another type that a call writes in full; it starts as NaN.</summary>
    public DeviceBuffer Result(string name, in Shape shape, ElementType type = ElementType.Float32)
    {
        DeviceBuffer buffer = Allocate(shape.StorageCount * type.Size(), type);
        byte[] poison = new byte[Math.Min(buffer.ByteLength, 1 << 20)];
        poison.AsSpan().Fill(0xff);
        for (long at = 0; at < buffer.ByteLength && !AreEmpty; at += poison.Length)
        {
            int length = (int)Math.Min(poison.Length, buffer.ByteLength - at);
            device.Upload(poison.AsSpan(0, length), buffer.Slice(at, length));
        }

        results.Add(new WorkResult(name, buffer, shape));
        return buffer;
    }

    /// <summary>Says that a call changes an array in place.</summary>
    public DeviceBuffer AlsoResult(string name, DeviceBuffer buffer, in Shape shape)
    {
        results.Add(new WorkResult(name, buffer, shape));
        return buffer;
    }

    /// <summary>Memory that is no result, such as saved statistics; zero at first.</summary>
    public DeviceBuffer Scratch(long byteLength, ElementType type = ElementType.Float32)
    {
        DeviceBuffer buffer = Allocate(byteLength, type);
        device.Clear(buffer);
        return buffer;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (DeviceBuffer buffer in owned)
        {
            device.Memory.Free(buffer);
        }

        owned.Clear();
    }

    private DeviceBuffer Allocate(long byteLength, ElementType type)
    {
        DeviceBuffer buffer = device.Memory.Allocate(type == ElementType.BFloat16 ? byteLength / sizeof(ushort) * ReservedElementBytes : byteLength);
        owned.Add(buffer);
        return buffer with { ByteLength = byteLength, Type = type };
    }

    private DeviceBuffer Random(in Shape shape, ElementType type, float scale, float offset, bool positive = false)
    {
        bool narrow = type == ElementType.BFloat16;
        DeviceBuffer buffer = Allocate(shape.StorageCount * type.Size(), type);
        int start = unchecked(draw++ * 7919) & (Pool.Length - 1);
        int rowsAtOnce = Math.Max(1, (1 << 20) / shape.Pitch);
        float[] values = new float[Math.Min(rowsAtOnce, shape.Rows) * shape.Pitch];
        ushort[] halves = narrow ? new ushort[values.Length] : [];
        for (int row = 0; row < shape.Rows && !AreEmpty; row += rowsAtOnce)
        {
            int rows = Math.Min(rowsAtOnce, shape.Rows - row);
            for (int i = 0; i < rows; i++)
            {
                Span<float> target = values.AsSpan(i * shape.Pitch, shape.Channels);
                for (int c = 0; c < target.Length; c++)
                {
                    float value = Pool[start] * scale + offset;
                    value = positive ? MathF.Abs(value) : value;
                    target[c] = rounds ? BFloat16.ToSingle(BFloat16.FromSingle(value)) : value;
                    start = (start + 1) & (Pool.Length - 1);
                }
            }

            Span<float> filled = values.AsSpan(0, rows * shape.Pitch);
            if (narrow)
            {
                for (int i = 0; i < filled.Length; i++)
                {
                    halves[i] = BFloat16.FromSingle(filled[i]);
                }
            }

            ReadOnlySpan<byte> bytes = narrow ? MemoryMarshal.AsBytes(halves.AsSpan(0, filled.Length)) : MemoryMarshal.AsBytes(filled);
            device.Upload(bytes, buffer.Slice((long)row * shape.Pitch * type.Size(), bytes.Length));
        }

        return buffer;
    }

    // Box and Muller, from a fixed seed.
    private static float[] NormalNumbers(int count)
    {
        Random random = new(1);
        float[] numbers = new float[count];
        for (int i = 0; i < count; i += 2)
        {
            double radius = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
            (double sine, double cosine) = Math.SinCos(2 * Math.PI * random.NextDouble());
            numbers[i] = (float)(radius * cosine);
            numbers[i + 1] = (float)(radius * sine);
        }

        return numbers;
    }
}
