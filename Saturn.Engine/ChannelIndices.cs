using System.Runtime.InteropServices;
using Saturn.Kernels;

namespace Saturn.Engine;

/// <summary>A list of channel indices that lives on the host and, once a kernel asks for it, on the device.</summary>
public sealed class ChannelIndices : IDisposable
{
    private readonly int[] values;
    private Tensor onDevice;

    /// <summary>Takes the list over; it must not be changed afterwards.</summary>
    public ChannelIndices(int[] values) => this.values = values;

    /// <summary>The indices on the host.</summary>
    public ReadOnlySpan<int> Values => values;

    /// <summary>Number of indices.</summary>
    public int Count => values.Length;

    /// <summary>The indices on a device, packed int32.</summary>
    public DeviceBuffer On(Device device)
    {
        if (onDevice.IsNone)
        {
            onDevice = Tensor.AllocateUnscoped(device, new Shape(Math.Max(values.Length, 1)), ElementType.Int32);
            device.Upload(MemoryMarshal.AsBytes(values.AsSpan()), onDevice.Buffer);
        }

        return onDevice.Buffer;
    }

    /// <summary>The indices that remain when only the entries at <paramref name="kept"/> are kept.</summary>
    public ChannelIndices Select(ReadOnlySpan<int> kept)
    {
        int[] selected = new int[kept.Length];
        for (int i = 0; i < kept.Length; i++)
        {
            selected[i] = values[kept[i]];
        }

        return new ChannelIndices(selected);
    }

    /// <summary>Frees the device copy.</summary>
    public void Dispose()
    {
        onDevice.Dispose();
        onDevice = default;
    }
}
