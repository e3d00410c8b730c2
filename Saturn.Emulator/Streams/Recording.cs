using Saturn.Emulator.Memory;

namespace Saturn.Emulator.Streams;

/// <summary>The operations of a graph. The graph and its executable forms share them; they end with the last of these.</summary>
/// <param name="thread">The thread that records.</param>
internal sealed class Recording(int thread)
{
    private int references = 1;

    /// <summary>The thread that records.</summary>
    public int Thread => thread;

    /// <summary>The forbidden call that spoilt the recording, or null.</summary>
    public string? SpoiltBy { get; set; }

    /// <summary>The operations in order.</summary>
    public List<DeviceOperation> Operations { get; } = [];

    /// <summary>Memory that lives inside the graph only.</summary>
    public List<DeviceAllocation> Memory { get; } = [];

    /// <summary>Counts another owner.</summary>
    public void Retain() => references++;

    /// <summary>Ends one owner's use; the last one gives everything back.</summary>
    public void Release(OperationQueue pool, DeviceAllocations allocations)
    {
        if (--references > 0)
        {
            return;
        }

        foreach (DeviceOperation operation in Operations)
        {
            pool.Return(operation);
        }

        foreach (DeviceAllocation allocation in Memory)
        {
            allocations.Release(allocation);
        }

        Operations.Clear();
        Memory.Clear();
    }
}
