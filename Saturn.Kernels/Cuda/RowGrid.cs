using System.Numerics;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// How blocks of 256 threads are laid over a [rows, pitch] array, as <c>kernels/rows.cuh</c> says: x over the threads' channels, y over rows. The number of slabs depends on the
/// sizes alone, so that sums over slabs have the same bits on every device.
/// </summary>
/// <param name="rows">Rows of the array.</param>
/// <param name="pitch">Elements of a row, padding included.</param>
/// <param name="rowsPerThread">Rows that one thread should visit.</param>
/// <param name="ownedChannels">Channels of a row that one thread owns.</param>
internal readonly struct RowGrid(int rows, int pitch, int rowsPerThread, int ownedChannels = 4)
{
    private const int Threads = 256;
    private const int MaximumSlabs = 1024;

    // Slabs of a sum: a thread has many rows, so that the merge is cheap, unless few multiprocessors would then work.
    private const int SummedRows = 16;
    private const int FewestSummedRows = 4;
    private const int EnoughBlocks = 128;

    private int ThreadsX => Math.Min((int)BitOperations.RoundUpToPowerOf2((uint)(pitch / ownedChannels)), 64);

    private int ThreadsY => Threads / ThreadsX;

    private int BlocksX => (pitch / ownedChannels + ThreadsX - 1) / ThreadsX;

    /// <summary>The grid of a pass that leaves partial sums of slabs.</summary>
    public static RowGrid OfSums(int rows, int pitch, int ownedChannels = 4)
    {
        int rowsPerThread = SummedRows;
        RowGrid grid = new(rows, pitch, rowsPerThread, ownedChannels);
        while (rowsPerThread > FewestSummedRows && grid.BlocksX * grid.Slabs < EnoughBlocks)
        {
            rowsPerThread /= 2;
            grid = new RowGrid(rows, pitch, rowsPerThread, ownedChannels);
        }

        return grid;
    }

    /// <summary>Blocks in y.</summary>
    public int Slabs => (int)Math.Clamp(((long)rows + (long)ThreadsY * rowsPerThread - 1) / ((long)ThreadsY * rowsPerThread), 1, MaximumSlabs);

    /// <summary>Rows of a slab, where slabs are contiguous.</summary>
    public int RowsOfSlab => (rows + Slabs - 1) / Slabs;

    /// <summary>The launch.</summary>
    public LaunchGeometry Geometry => new((uint)BlocksX, (uint)Slabs, 1, (uint)ThreadsX, (uint)ThreadsY);
}
