using System.Text;

namespace Saturn.Kernels;

/// <summary>The memory of one device. Allocation is explicit and deterministic: what is allocated is freed by its owner, never by a finalizer.</summary>
public interface IDeviceMemory
{
    /// <summary>Allocates at least <paramref name="byteLength"/> bytes, 64-byte aligned, contents undefined.</summary>
    /// <exception cref="DeviceOutOfMemoryException">The device has no room; the message says who holds what.</exception>
    DeviceBuffer Allocate(long byteLength);

    /// <summary>Returns a buffer obtained from <see cref="Allocate"/>; it may be handed out again at once.</summary>
    void Free(DeviceBuffer buffer);

    /// <summary>Gives cached free blocks back to the system, as after a compaction, when the old sizes will not be asked for again.</summary>
    void Trim();

    /// <summary>Bytes in allocated, not yet freed buffers.</summary>
    long LiveBytes { get; }

    /// <summary>Number of allocated, not yet freed buffers.</summary>
    int LiveBuffers { get; }

    /// <summary>Bytes held back in free blocks for reuse.</summary>
    long CachedBytes { get; }

    /// <summary>The largest value that <see cref="LiveBytes"/> has had.</summary>
    long PeakLiveBytes { get; }
}

/// <summary>Thrown when a device cannot satisfy an allocation.</summary>
public sealed class DeviceOutOfMemoryException(string message) : Exception(message)
{
    /// <summary>The message of a shortage: what was wanted, what is held, and by blocks of which sizes.</summary>
    internal static string Describe(string where, long wanted, long liveBytes, IEnumerable<long> capacities)
    {
        long[] held = [.. capacities];
        StringBuilder text = new();
        text.Append($"{where} has no room for another {wanted / 1048576.0:F1} MiB; {liveBytes / 1048576.0:F1} MiB are in {held.Length} live buffers. ");
        text.Append($"Use a smaller batch or a narrower model.{(held.Length > 0 ? " The largest holders:" : "")}");
        foreach (var group in held.GroupBy(capacity => capacity).OrderByDescending(group => group.Key * group.Count()).Take(8))
        {
            text.AppendLine().Append($"  {group.Count(),5} × {group.Key / 1048576.0,10:F2} MiB");
        }

        return text.ToString();
    }
}
