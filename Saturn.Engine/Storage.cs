using System.Collections.Concurrent;
using Saturn.Kernels;
using Saturn.Kernels.Diagnostics;

namespace Saturn.Engine;

/// <summary>
/// Reference-counted device memory. Tensors and tape nodes share it; the last one to release it frees it. The objects themselves are recycled, so that a
/// steady step allocates nothing on the managed heap.
/// </summary>
internal sealed class Storage
{
    private static readonly bool TrackSites = EnvironmentVariable.Leaks.IsOn;
    private static readonly ConcurrentDictionary<nint, string> Sites = new();

    [ThreadStatic]
    private static Stack<Storage>? pool;

    private int references;

    private Storage()
    {
    }

    public Device Device { get; private set; } = null!;

    public DeviceBuffer Buffer { get; private set; }

    public static Storage Allocate(Device device, long elements, ElementType type)
    {
        if (type == ElementType.BFloat16 && device.Kind == DeviceKind.Cpu)
        {
            throw new NotSupportedException($"The host processor keeps everything in float32, but a tensor of {type} was asked for; use a CUDA device.");
        }

        Storage storage = (pool ??= new Stack<Storage>(256)).TryPop(out Storage? recycled) ? recycled : new Storage();
        storage.Device = device;
        storage.Buffer = device.Memory.Allocate(elements * type.Size()) with { Type = type };
        storage.references = 1;
        if (TrackSites)
        {
            Sites[storage.Buffer.Address] = Environment.StackTrace;
        }

        return storage;
    }

    /// <summary>Where live storage was created, most common first; empty unless the environment variable SATURN_LEAKS is set.</summary>
    public static IEnumerable<string> CreationSites() =>
        Sites.Values.GroupBy(site => site).OrderByDescending(group => group.Count()).Select(group => $"{group.Count()} live from\n{group.Key}");

    public void Retain() => references++;

    public void Release()
    {
        if (--references != 0)
        {
            return;
        }

        if (TrackSites)
        {
            Sites.TryRemove(Buffer.Address, out _);
        }

        Device.Memory.Free(Buffer);
        Buffer = DeviceBuffer.None;
        Device = null!;
        (pool ??= new Stack<Storage>(256)).Push(this);
    }
}
