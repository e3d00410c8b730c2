namespace Saturn.Emulator.Execution;

/// <summary>
/// What the checked mode knows of shared memory that bulk copies write and warpgroup products read, by pieces of 16 bytes: whether a copy is under way, which barrier's phase says that it has ended,
/// and who wrote through ordinary stores since.
/// </summary>
internal sealed class AsynchronousShadow(SharedBarriers barriers)
{
    private const int PieceBytes = 16;
    private const int WarpBits = 6;

    private struct Piece
    {
        /// <summary>Whether a copy into the piece is under way.</summary>
        public bool IsPending;

        /// <summary>Number of the barrier of the last copy, plus one; 0 where ordinary stores wrote since.</summary>
        public byte Barrier;

        /// <summary>The phase of that barrier that ends with the copy.</summary>
        public int Phase;

        /// <summary>When an ordinary store wrote last, times 64, plus the warp; 0 if none.</summary>
        public long Stored;
    }

    private Piece[] pieces = [];
    private readonly long[] fenced = new long[1 << WarpBits];
    private long now;

    public void Reset(int length)
    {
        int count = (length + PieceBytes - 1) / PieceBytes;
        if (pieces.Length < count)
        {
            pieces = new Piece[count];
        }

        Array.Clear(pieces);
        Array.Clear(fenced);
        now = 1;
    }

    /// <summary>A warp's fence between ordinary accesses and asynchronous ones.</summary>
    public void Fence(int warp) => fenced[warp] = ++now;

    /// <summary>An ordinary access; returns what is wrong with it, or null.</summary>
    public string? Access(uint offset, int size, int warp, bool isStore)
    {
        for (uint i = offset / PieceBytes; i <= (offset + (uint)size - 1) / PieceBytes; i++)
        {
            ref Piece piece = ref pieces[i];
            if ((isStore ? piece.IsPending ? Pending(i) : null : Unready(i, warp)) is string wrong)
            {
                return wrong;
            }

            if (isStore)
            {
                piece.Barrier = 0;
                piece.Stored = now << WarpBits | (uint)warp;
            }
        }

        return null;
    }

    /// <summary>A copy into a piece begins; returns what is wrong with it, or null.</summary>
    public string? BeginCopy(uint offset)
    {
        ref Piece piece = ref pieces[offset / PieceBytes];
        string? wrong = piece.IsPending ? $"copies to offset {offset} of shared memory, where another copy is under way" : null;
        piece.IsPending = true;
        return wrong;
    }

    /// <summary>A copy into a piece has ended, in the phase that its barrier is in.</summary>
    public void EndCopy(uint offset, SharedBarrier barrier) =>
        pieces[offset / PieceBytes] = new Piece { Barrier = (byte)(barrier.Slot + 1), Phase = barrier.Completions };

    /// <summary>A product reads a piece; returns what is wrong with it, or null.</summary>
    public string? ReadByProduct(uint offset, int warp)
    {
        ref Piece piece = ref pieces[offset / PieceBytes];
        if (Unready(offset / PieceBytes, warp) is string wrong)
        {
            return wrong;
        }

        int writer = (int)(piece.Stored & ((1 << WarpBits) - 1));
        return piece.Barrier == 0 && piece.Stored != 0 && fenced[writer] <= piece.Stored >> WarpBits
            ? $"reads offset {offset} of shared memory, which warp {writer} wrote without a fence.proxy.async after it"
            : null;
    }

    private string? Unready(uint index, int warp)
    {
        ref Piece piece = ref pieces[index];
        return piece.IsPending
            ? Pending(index)
            : piece.Barrier != 0 && !barriers.HasSeen(warp, piece.Barrier - 1, piece.Phase)
                ? $"accesses offset {index * PieceBytes} of shared memory, where a bulk copy wrote whose barrier this warp has not waited for"
                : null;
    }

    private static string Pending(uint index) => $"accesses offset {index * PieceBytes} of shared memory, where a bulk copy is under way that was not waited for";
}
