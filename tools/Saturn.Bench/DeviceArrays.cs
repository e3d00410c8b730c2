using System.Runtime.InteropServices;
using Saturn.Kernels;

namespace Saturn.Bench;

/// <summary>Device memory that a bench measures on; disposing frees all of it.</summary>
internal sealed class DeviceArrays(Device device) : IDisposable
{
    private readonly List<DeviceBuffer> owned = [];
    private readonly Random random = new(1);

    /// <summary>An array in a shape's layout with reproducible values in [−1, 1) and zero padding.</summary>
    public DeviceBuffer Uniform(in Shape shape)
    {
        float[] stored = new float[shape.StorageCount];
        for (int row = 0; row < shape.Rows; row++)
        {
            foreach (ref float value in stored.AsSpan(row * shape.Pitch, shape.Channels))
            {
                value = random.NextSingle() * 2 - 1;
            }
        }

        DeviceBuffer buffer = Bytes(shape.StorageCount * sizeof(float));
        device.Upload(MemoryMarshal.AsBytes(stored.AsSpan()), buffer);
        return buffer;
    }

    /// <summary>Zeroed memory.</summary>
    public DeviceBuffer Bytes(long byteLength)
    {
        DeviceBuffer buffer = device.Memory.Allocate(byteLength);
        owned.Add(buffer);
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
}
