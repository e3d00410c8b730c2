namespace Saturn.Emulator.Execution;

/// <summary>A barrier object in shared memory (<c>mbarrier</c>): its phase ends when the expected threads have arrived and the expected bytes were copied.</summary>
internal sealed class SharedBarrier(uint offset, int slot)
{
    /// <summary>Its place in shared memory.</summary>
    public uint Offset => offset;

    /// <summary>Its number in the block.</summary>
    public int Slot => slot;

    /// <summary>Whether it was started and not ended since.</summary>
    public bool IsLive { get; set; }

    /// <summary>Threads that arrive in every phase.</summary>
    public int Expected { get; set; }

    /// <summary>Threads that have not arrived in this phase.</summary>
    public int Missing { get; set; }

    /// <summary>Bytes that were announced and not copied yet.</summary>
    public long Bytes { get; set; }

    /// <summary>Phases that have ended in this block, those of earlier barriers at the same place included.</summary>
    public int Completions { get; set; }

    /// <summary><see cref="Completions"/> when it was started.</summary>
    public int FirstCompletion { get; set; }

    /// <summary>What the threads that arrived have waited for: phases ended of each barrier, which who waits here then knows of, too.</summary>
    public int[] Carried { get; } = new int[SharedBarriers.Most];

    /// <summary>The parity of the phase that goes on.</summary>
    public int Parity => (Completions - FirstCompletion) & 1;

    public override string ToString() =>
        $"the barrier at offset {offset} of shared memory, in phase {Completions - FirstCompletion}, for which {Missing} of {Expected} threads and {Bytes} bytes of copies are missing";
}

/// <summary>The barrier objects of one block, and which of their phases each warp has waited for.</summary>
internal sealed class SharedBarriers
{
    /// <summary>Barriers that a block may have.</summary>
    public const int Most = 64;

    private readonly List<SharedBarrier> all = [];
    private int[] observed = [];

    /// <summary>Changes of any barrier so far: arrivals, announcements, copies.</summary>
    public long Events { get; private set; }

    public void Reset(int warps)
    {
        all.Clear();
        Events = 0;
        if (observed.Length < warps * Most)
        {
            observed = new int[warps * Most];
        }

        Array.Clear(observed);
    }

    /// <summary>The live barrier at a place, or null.</summary>
    public SharedBarrier? Find(ulong offset)
    {
        foreach (SharedBarrier barrier in all)
        {
            if (barrier.Offset == offset)
            {
                return barrier.IsLive ? barrier : null;
            }
        }

        return null;
    }

    /// <summary>Starts a barrier; null if there are too many.</summary>
    public SharedBarrier? Start(uint offset, int expected)
    {
        SharedBarrier? barrier = all.Find(candidate => candidate.Offset == offset);
        if (barrier is null)
        {
            if (all.Count == Most)
            {
                return null;
            }

            barrier = new SharedBarrier(offset, all.Count);
            all.Add(barrier);
        }

        (barrier.IsLive, barrier.Expected, barrier.Missing, barrier.Bytes, barrier.FirstCompletion) = (true, expected, expected, 0, barrier.Completions);
        Events++;
        return barrier;
    }

    public void Announce(SharedBarrier barrier, long bytes)
    {
        barrier.Bytes += bytes;
        Settle(barrier);
    }

    public void Arrive(SharedBarrier barrier, int threads, int warp)
    {
        Merge(barrier.Carried, warp);
        barrier.Missing -= threads;
        Settle(barrier);
    }

    /// <summary>A warp has seen the end of the barrier's last phase.</summary>
    public void Observe(SharedBarrier barrier, int warp)
    {
        Span<int> seen = Seen(warp);
        seen[barrier.Slot] = Math.Max(seen[barrier.Slot], barrier.Completions);
        for (int i = 0; i < all.Count; i++)
        {
            seen[i] = Math.Max(seen[i], barrier.Carried[i]);
        }
    }

    /// <summary>Whether a warp knows that a phase has ended, by waiting for it or from who did.</summary>
    public bool HasSeen(int warp, int slot, int phase) => Seen(warp)[slot] > phase;

    /// <summary>Warps that met know what each of them knew.</summary>
    public void Share(ReadOnlySpan<int> warps)
    {
        if (all.Count == 0)
        {
            return;
        }

        Span<int> known = stackalloc int[Most];
        known.Clear();
        foreach (int warp in warps)
        {
            Merge(known, warp);
        }

        foreach (int warp in warps)
        {
            known.CopyTo(Seen(warp));
        }
    }

    private void Merge(Span<int> into, int warp)
    {
        Span<int> seen = Seen(warp);
        for (int i = 0; i < all.Count; i++)
        {
            into[i] = Math.Max(into[i], seen[i]);
        }
    }

    private Span<int> Seen(int warp) => observed.AsSpan(warp * Most, Most);

    private void Settle(SharedBarrier barrier)
    {
        Events++;
        if (barrier.Missing == 0 && barrier.Bytes == 0)
        {
            barrier.Completions++;
            barrier.Missing = barrier.Expected;
        }
    }
}
