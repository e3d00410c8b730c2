using System.Collections.Immutable;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// The tiles of <c>kernels/convolution_tensor.cu</c> and the choice among them: pure arithmetic on the sizes. The accumulation order of a product is the same in all tiles, but batch statistics are
/// kept by tiles, so the choice counts the multiprocessors of a nominal device and never asks the real one.
/// </summary>
/// <param name="Name">The name in the kernels' names.</param>
/// <param name="Rows">Pixels of a block.</param>
/// <param name="Columns">Channels of a block, at most.</param>
/// <param name="WarpsDown">Warps that divide the rows.</param>
/// <param name="WarpsAcross">Warps that divide the columns.</param>
/// <param name="SharedBytes">Dynamic shared memory of a block.</param>
internal sealed record TensorConvolutionTile(string Name, int Rows, int Columns, int WarpsDown, int WarpsAcross, int SharedBytes)
{
    /// <summary>Threads of a block, in every tile.</summary>
    public const int Threads = 128;

    /// <summary>Channels by which the width of a block can grow: two blocks of the tensor cores' eight columns.</summary>
    private const int WidthStep = 16;

    /// <summary>Multiprocessors of an H100 or H200.</summary>
    private const int NominalMultiprocessors = 132;

    /// <summary>Products a clock that <c>mma.sync</c> reaches on such a multiprocessor, in rows × columns of 32 bytes of depth.</summary>
    private const int ProductsPerClock = 80;

    /// <summary>All tiles, the largest first; of equal ones the first is chosen.</summary>
    public static ImmutableArray<TensorConvolutionTile> All { get; } =
    [
        Of("Square", 128, 128, 2, 2, 8, 3),
        Of("Tall", 256, 64, 4, 1, 4, 4),
        Of("Medium", 128, 64, 4, 1, 8, 3),
        Of("Small", 64, 64, 2, 2, 8, 3),
        Of("Narrow", 128, 32, 4, 1, 8, 3),
    ];

    /// <summary>The tile that should finish an output first, and how wide its blocks are.</summary>
    /// <param name="rows">Pixels of the output, of one class and group.</param>
    /// <param name="columns">Channels of the output, of one group.</param>
    /// <param name="independent">Classes times groups: outputs of this size in one launch.</param>
    /// <param name="rowsOfTile">If not 0, only tiles of so many pixels: 64, 128 or 256.</param>
    public static TensorConvolutionChoice Choose(long rows, int columns, int independent, int rowsOfTile = 0)
    {
        TensorConvolutionTile best = All[^1];
        long bestClocks = long.MaxValue;
        foreach (TensorConvolutionTile tile in All)
        {
            if (rowsOfTile != 0 && tile.Rows != rowsOfTile)
            {
                continue;
            }

            // Half of such a tile would stay empty, and its registers keep other blocks away.
            if (tile.Columns > 32 && columns <= tile.Columns / 2)
            {
                continue;
            }

            long blocks = tile.Down(rows) * tile.Across(columns) * independent;
            long clocks = DivideUp(blocks, NominalMultiprocessors) * tile.Clocks(tile.Width(columns));
            if (clocks < bestClocks)
            {
                (best, bestClocks) = (tile, clocks);
            }
        }

        return best.Cover(All.IndexOf(best), rows, columns);
    }

    /// <summary>How an output is divided among this tile's blocks.</summary>
    /// <param name="number">The tile's number in <see cref="All"/>.</param>
    /// <param name="rows">As in <see cref="Choose"/>.</param>
    /// <param name="columns">As in <see cref="Choose"/>.</param>
    public TensorConvolutionChoice Cover(int number, long rows, int columns) => new(number, Down(rows), Across(columns), Width(columns));

    /// <summary>Tiles that cover so many pixels.</summary>
    private long Down(long rows) => DivideUp(rows, Rows);

    private int Across(int columns) => (columns + Columns - 1) / Columns;

    /// <summary>Channels of a block when the tiles side by side share them evenly.</summary>
    private int Width(int columns) => (int)DivideUp(DivideUp(columns, Across(columns)), WidthStep) * WidthStep;

    /// <summary>
    /// Clocks of a multiprocessor for one block and 32 bytes of depth, as <c>convolution_tensor.cu</c> counts them: the busiest warp's products, or what passes through shared memory at 128 bytes a clock
    /// (every warp reads its rows and columns, four clocks for sixteen of them; both sides are written once).
    /// </summary>
    private int Clocks(int width)
    {
        int widthOfWarp = (int)DivideUp(width, WarpsAcross * WidthStep) * WidthStep;
        int warpsAcross = (int)DivideUp(width, widthOfWarp);
        int products = Rows * widthOfWarp * WarpsAcross / ProductsPerClock;
        int moved = (warpsAcross * Rows + WarpsDown * width + Rows + width) / 4;
        return Math.Max(products, moved);
    }

    private static long DivideUp(long value, long divisor) => (value + divisor - 1) / divisor;

    private static TensorConvolutionTile Of(string name, int rows, int columns, int warpsDown, int warpsAcross, int stepChunks, int stages) =>
        new(name, rows, columns, warpsDown, warpsAcross, (rows + columns) * stepChunks * 16 * stages);
}

/// <summary>How an output is divided among blocks.</summary>
/// <param name="Tile">The tile's number among <see cref="TensorConvolutionTile.All"/>.</param>
/// <param name="Down">Tiles of pixels.</param>
/// <param name="Across">Tiles of channels.</param>
/// <param name="Width">Channels of a block, a multiple of 16.</param>
internal readonly record struct TensorConvolutionChoice(int Tile, long Down, int Across, int Width);
