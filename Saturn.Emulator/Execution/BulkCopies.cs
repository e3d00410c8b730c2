using Saturn.Emulator.Memory;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator.Execution;

/// <summary>One copy of a tile that was issued: what to copy where, and the barrier that counts its bytes.</summary>
internal unsafe struct BulkCopy
{
    public Warp Warp;
    public Instruction* Instruction;
    public int Lane;
    public TensorMapRecord Map;
    public uint Destination;
    public SharedBarrier Barrier;

    /// <summary>Coordinates from the innermost dimension outwards.</summary>
    public fixed int Coordinates[TensorMapRecord.MostDimensions];

    /// <summary>Of pixels: the filter's tap, column and row.</summary>
    public fixed int Tap[2];
}

/// <summary>
/// The bulk copies of a block that are under way (<c>cp.async.bulk.tensor</c>). They end as late as the program allows, when no warp can go on without them, and the youngest first, since
/// hardware promises no order.
/// </summary>
internal sealed unsafe class BulkCopies(Block block)
{
    private const int PieceBytes = 16;

    private readonly List<BulkCopy> pending = [];

    public int Count => pending.Count;

    /// <summary>Bytes read from global memory by all blocks that this has served.</summary>
    public long LoadedBytes { get; private set; }

    public void Clear() => pending.Clear();

    /// <summary>The youngest copy, which nobody has waited for.</summary>
    public BulkCopy Youngest => pending[^1];

    /// <summary>Puts a copy under way.</summary>
    public void Issue(in BulkCopy copy)
    {
        SharedMemory shared = block.Shared;
        int bytes = copy.Map.CopyBytes;
        if (copy.Destination + (long)bytes > shared.Length)
        {
            throw Fail(copy, $"is out of bounds: {bytes} bytes to offset {copy.Destination} of {shared.Length} bytes of shared memory");
        }

        if (shared.Asynchronous is { } shadow)
        {
            for (uint offset = copy.Destination; offset < copy.Destination + bytes; offset += PieceBytes)
            {
                if (shadow.BeginCopy(offset) is string wrong)
                {
                    throw Fail(copy, wrong);
                }
            }
        }

        pending.Add(copy);
    }

    /// <summary>Ends the youngest copy and tells its barrier.</summary>
    public void EndOne()
    {
        BulkCopy copy = pending[^1];
        pending.RemoveAt(pending.Count - 1);
        if (copy.Map.IsPixels)
        {
            CopyPixels(copy);
        }
        else
        {
            CopyBox(copy);
        }

        block.Shared.Barriers.Announce(copy.Barrier, -copy.Map.CopyBytes);
    }

    /// <summary>The address that the swizzle makes of one in shared memory.</summary>
    public static uint Swizzle(uint address, TensorMapSwizzle swizzle)
    {
        uint bits = swizzle switch
        {
            TensorMapSwizzle.Bytes32 => 1u,
            TensorMapSwizzle.Bytes64 => 3u,
            TensorMapSwizzle.Bytes128 => 7u,
            _ => 0u,
        };
        return address ^ (address >> 3 & bits << 4);
    }

    private void CopyBox(in BulkCopy copy)
    {
        int* index = stackalloc int[TensorMapRecord.MostDimensions];
        int rank = copy.Map.Rank;
        uint destination = copy.Destination;
        bool more = true;
        while (more)
        {
            long address = copy.Map.Address;
            bool inside = true;
            for (int i = 1; i < rank; i++)
            {
                long place = copy.Coordinates[i] + (long)index[i] * copy.Map.Steps[i];
                inside &= place >= 0 && place < copy.Map.Size(i);
                address += place * copy.Map.Strides[i];
            }

            destination = CopyRow(copy, destination, address, copy.Coordinates[0], inside);
            more = false;
            for (int i = 1; i < rank && !more; i++)
            {
                more = ++index[i] < copy.Map.CopiesAlong(i);
                index[i] = more ? index[i] : 0;
            }
        }
    }

    // A pixel's place is where its filter begins; what is read lies a tap further.
    private void CopyPixels(in BulkCopy copy)
    {
        long lastColumn = copy.Map.Size(1) - 1 + copy.Map.Last[0];
        long lastRow = copy.Map.Size(2) - 1 + copy.Map.Last[1];
        (long column, long row, long image) = (copy.Coordinates[1], copy.Coordinates[2], copy.Coordinates[3]);
        if (column < copy.Map.First[0] || column > lastColumn || row < copy.Map.First[1] || row > lastRow)
        {
            throw Fail(copy, $"begins at column {column} and row {row}, outside of the pixel box: columns {copy.Map.First[0]} to {lastColumn}, rows {copy.Map.First[1]} to {lastRow}");
        }

        uint destination = copy.Destination;
        for (int pixel = 0; pixel < copy.Map.Box(1); pixel++)
        {
            (long x, long y) = (column + copy.Tap[0], row + copy.Tap[1]);
            bool inside = x >= 0 && x < copy.Map.Size(1) && y >= 0 && y < copy.Map.Size(2) && image >= 0 && image < copy.Map.Size(3);
            destination = CopyRow(
                copy, destination, copy.Map.Address + x * copy.Map.Strides[1] + y * copy.Map.Strides[2] + image * copy.Map.Strides[3], copy.Coordinates[0], inside);
            column += copy.Map.Steps[1];
            if (column > lastColumn)
            {
                column = copy.Map.First[0];
                row += copy.Map.Steps[2];
                if (row > lastRow)
                {
                    row = copy.Map.First[1];
                    image++;
                }
            }
        }
    }

    // The inner dimension: what lies outside of the tensor becomes zero.
    private uint CopyRow(in BulkCopy copy, uint destination, long row, int first, bool inside)
    {
        int elementBytes = copy.Map.ElementBytes;
        int count = copy.Map.CopiesAlong(0);
        Span<byte> values = stackalloc byte[count * elementBytes];
        values.Clear();
        long from = Math.Max(first, 0);
        long until = Math.Min(first + (long)count, copy.Map.Size(0));
        if (inside && until > from)
        {
            int length = (int)(until - from) * elementBytes;
            nint address = (nint)(row + from * elementBytes);
            if (block.Locate(copy.Warp, copy.Instruction, copy.Lane, address, length) is { } allocation && allocation.Written != null
                && new Span<byte>(allocation.Written + (address - allocation.Base), length).IndexOf((byte)0) is int gap and >= 0)
            {
                throw Fail(copy, $"reads memory that was never written: byte {address - allocation.Base + gap} of {allocation}");
            }

            LoadedBytes += length;
            new Span<byte>((void*)address, length).CopyTo(values[((int)(from - first) * elementBytes)..]);
        }

        SharedMemory shared = block.Shared;
        for (int i = 0; i < values.Length; i += PieceBytes, destination += PieceBytes)
        {
            uint place = Swizzle(destination, copy.Map.Swizzle);
            values.Slice(i, PieceBytes).CopyTo(new Span<byte>(shared.Data + place, PieceBytes));
            shared.WriteByCopy(place, copy.Barrier);
        }

        return destination;
    }

    private EmulatorException Fail(in BulkCopy copy, string what) => copy.Warp.Fail(copy.Instruction, 1u << copy.Lane, what);
}
