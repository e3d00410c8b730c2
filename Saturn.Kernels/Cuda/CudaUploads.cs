namespace Saturn.Kernels.Cuda;

/// <summary>
/// Copies from pageable host memory without waiting for the device: bytes go into a ring of page-locked slots and on from there in stream order. Only a
/// slot whose last copy has not run yet is waited for, when the ring has come round.
/// </summary>
internal sealed unsafe class CudaUploads(ICudaDriver driver, nint stream) : IDisposable
{
    private const int SlotCount = 8;
    private const long SmallestSlot = 64 * 1024;

    private struct Slot
    {
        public nint Address;
        public long Capacity;
        public nint Copied;
        public bool InFlight;
    }

    private readonly Slot[] slots = new Slot[SlotCount];
    private int next;

    /// <summary>Copies the bytes; the source may be reused when the call returns.</summary>
    public void Copy(ReadOnlySpan<byte> source, nint destination)
    {
        ref Slot slot = ref slots[next];
        next = (next + 1) % SlotCount;
        if (slot.InFlight && !driver.QueryEvent(slot.Copied))
        {
            driver.SynchronizeEvent(slot.Copied);
        }

        if (slot.Capacity < source.Length)
        {
            Release(ref slot);
            slot.Capacity = Math.Max(SmallestSlot, (long)System.Numerics.BitOperations.RoundUpToPowerOf2((ulong)source.Length));
            slot.Address = driver.AllocatePinned(slot.Capacity);
            slot.Copied = driver.CreateEvent(timing: false);
        }

        source.CopyTo(new Span<byte>((void*)slot.Address, source.Length));
        driver.CopyToDeviceAsync(destination, (void*)slot.Address, source.Length, stream);
        driver.RecordEvent(slot.Copied, stream);
        slot.InFlight = true;
    }

    /// <summary>Frees the ring; the stream must have been waited for.</summary>
    public void Dispose()
    {
        for (int i = 0; i < SlotCount; i++)
        {
            Release(ref slots[i]);
        }
    }

    private void Release(ref Slot slot)
    {
        if (slot.Capacity > 0)
        {
            driver.FreePinned(slot.Address);
            driver.DestroyEvent(slot.Copied);
            slot = default;
        }
    }
}
