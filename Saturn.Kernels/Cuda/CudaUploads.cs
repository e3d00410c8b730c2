namespace Saturn.Kernels.Cuda;

/// <summary>
/// Copies from pageable host memory without waiting for the device: bytes go into a ring of page-locked slots and on from there in stream order. When the ring has come round to a slot whose
/// last copy has not run yet, the ring grows; only a full-grown one is waited for.
/// </summary>
internal sealed unsafe class CudaUploads(CudaContext context) : IDisposable
{
    private const int MostSlots = 64;
    private const long SmallestSlot = 64 * 1024;

    private sealed class Slot
    {
        public nint Address;
        public long Capacity;
        public nint Copied;
        public bool InFlight;
    }

    private readonly ICudaDriver driver = context.Driver;
    private readonly List<Slot> slots = [];
    private int next;

    /// <summary>Copies the bytes; the source may be reused when the call returns.</summary>
    public void Copy(ReadOnlySpan<byte> source, nint destination)
    {
        context.MakeCurrent();
        Slot slot = NextSlot();
        if (slot.Capacity < source.Length)
        {
            Release(slot);
            long capacity = Math.Max(SmallestSlot, (long)System.Numerics.BitOperations.RoundUpToPowerOf2((ulong)source.Length));
            slot.Address = driver.AllocatePinned(capacity);
            slot.Capacity = capacity;
            slot.Copied = driver.CreateEvent(timing: false);
        }

        source.CopyTo(new Span<byte>((void*)slot.Address, source.Length));
        driver.CopyToDeviceAsync(destination, (void*)slot.Address, source.Length, context.Stream);
        driver.RecordEvent(slot.Copied, context.Stream);
        slot.InFlight = true;
    }

    /// <summary>Frees the ring; the stream must have been waited for.</summary>
    public void Dispose()
    {
        foreach (Slot slot in slots)
        {
            Release(slot);
        }

        slots.Clear();
    }

    private Slot NextSlot()
    {
        if (next == slots.Count)
        {
            next = 0;
        }

        if (slots.Count == 0 || (slots[next].InFlight && slots.Count < MostSlots && !driver.QueryEvent(slots[next].Copied)))
        {
            slots.Insert(next, new Slot());
        }

        Slot slot = slots[next++];
        if (slot.InFlight && !driver.QueryEvent(slot.Copied))
        {
            driver.SynchronizeEvent(slot.Copied);
        }

        slot.InFlight = false;
        return slot;
    }

    private void Release(Slot slot)
    {
        if (slot.Capacity > 0)
        {
            driver.FreePinned(slot.Address);
            driver.DestroyEvent(slot.Copied);
            slot.Capacity = 0;
            slot.InFlight = false;
        }
    }
}
