using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Cuda.Cublas;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// The matrix kernels of <c>kernels/matrix.cu</c> or, on tensor cores, of <c>kernels/matrix_tensor.cu</c>: chooses a tile by the sizes. The tile never changes a bit of the result.
/// Plain large products go to cuBLAS where there is one.
/// </summary>
internal sealed class CudaMatrix : IMatrixKernels
{
    private const int Threads = 128;

    /// <summary>Fewer large tiles than this leave multiprocessors idle; then C is divided into small ones.</summary>
    private const long LargeTilesWanted = 128;

    private static readonly CudaTile LargeOnTensorCores = new(128, 128);
    private static readonly CudaTile SmallOnTensorCores = new(64, 64);

    // By transposition: 1 for the left side, 2 for the right side.
    private readonly CudaKernel<MultiplyArguments>[] large;
    private readonly CudaKernel<MultiplyArguments>[] small;
    private readonly CudaTile largeTile;
    private readonly CudaTile smallTile;
    private readonly bool tensorCores;
    private readonly CudaContext context;

    public CudaMatrix(CudaContext context, Precision precision)
    {
        this.context = context;
        tensorCores = precision != Precision.Fp32;
        (largeTile, smallTile) = tensorCores ? (LargeOnTensorCores, SmallOnTensorCores) : (CudaTile.Large, CudaTile.Small);
        CudaModule module = context.Module(KernelSource.BuiltIn(tensorCores ? "matrix_tensor.cu" : "matrix.cu", typeof(MultiplyArguments)));
        string prefix = tensorCores ? "tensorMultiply" : "multiply";
        string[] names = ["NN", "TN", "NT", "TT"];
        large = [.. names.Select((name, i) => module.Kernel<MultiplyArguments>($"{prefix}{name}Large", SharedBytes(largeTile, i)))];
        small = [.. names.Select((name, i) => module.Kernel<MultiplyArguments>($"{prefix}{name}Small", SharedBytes(smallTile, i)))];
    }

    /// <inheritdoc/>
    public void Multiply(in MatrixShape shape, DeviceBuffer left, DeviceBuffer right, DeviceBuffer output, float alpha = 1, float beta = 0)
    {
        ActivationType.RequireFloat32("matrix.Multiply", left, right, output);
        if (context.Cublas is { } cublas && CublasProduct.Takes(shape))
        {
            cublas.Multiply(shape, left, right, output, alpha, beta, tensorCores);
            return;
        }

        long largeTiles = largeTile.Count(shape.Rows, shape.Columns) * shape.Batch;
        bool useLarge = shape.Columns > smallTile.Columns && largeTiles >= LargeTilesWanted;
        CudaTile tile = useLarge ? largeTile : smallTile;
        MultiplyArguments arguments = new()
        {
            Left = left.Address,
            Right = right.Address,
            Output = output.Address,
            LeftBatchStride = shape.LeftBatchStride,
            RightBatchStride = shape.RightBatchStride,
            OutputBatchStride = shape.OutputBatchStride,
            Rows = shape.Rows,
            Columns = shape.Columns,
            Depth = shape.Depth,
            LeftPitch = shape.LeftPitch,
            RightPitch = shape.RightPitch,
            OutputPitch = shape.OutputPitch,
            ColumnTiles = tile.Across(shape.Columns),
            LeftAligned = IsAligned(left, shape.LeftPitch, shape.LeftBatchStride),
            RightAligned = IsAligned(right, shape.RightPitch, shape.RightBatchStride),
            OutputAligned = IsAligned(output, shape.OutputPitch, shape.OutputBatchStride),
            Alpha = alpha,
            Beta = beta,
        };
        int transposition = (shape.TransposeLeft ? 1 : 0) + (shape.TransposeRight ? 2 : 0);
        CudaKernel<MultiplyArguments> kernel = (useLarge ? large : small)[transposition];
        uint tiles = checked((uint)tile.Count(shape.Rows, shape.Columns));
        kernel.Launch(arguments, new LaunchGeometry(tiles, 1, (uint)shape.Batch, Threads, SharedBytes: (uint)SharedBytes(tile, transposition)));
    }

    // Dynamic shared memory: four shares of 16 depths, in rows of 20 floats where the depth is contiguous, else in rows of the tile's elements.
    private int SharedBytes(CudaTile tile, int transposition)
    {
        return tensorCores ? 4 * (Share(tile.Rows, (transposition & 1) == 0) + Share(tile.Columns, (transposition & 2) != 0)) : 0;

        static int Share(int elements, bool depthInner) => depthInner ? elements * 20 * sizeof(float) : 16 * elements * sizeof(float);
    }

    private static int IsAligned(DeviceBuffer matrix, int pitch, long batchStride) => matrix.Address % 16 == 0 && pitch % 4 == 0 && batchStride % 4 == 0 ? 1 : 0;
}

/// <summary>Extents of an output tile of one block.</summary>
internal readonly record struct CudaTile(int Rows, int Columns)
{
    /// <summary>8 × 8 sums a thread.</summary>
    public static CudaTile Large => new(128, 64);

    /// <summary>4 × 4 sums a thread, for small outputs.</summary>
    public static CudaTile Small => new(64, 32);

    /// <summary>4 × 4 sums a thread, for up to 16 columns.</summary>
    public static CudaTile Narrow => new(128, 16);

    /// <summary>Tiles side by side.</summary>
    public int Across(int columns) => (columns + Columns - 1) / Columns;

    /// <summary>All tiles of an output.</summary>
    public long Count(long rows, int columns) => (rows + Rows - 1) / Rows * Across(columns);
}

/// <summary>Arguments of the products: see <c>kernels/matrix.cu</c>.</summary>
[KernelArguments("matrix.cu")]
[KernelArguments("matrix_tensor.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct MultiplyArguments
{
    public nint Left;
    public nint Right;
    public nint Output;
    public long LeftBatchStride;
    public long RightBatchStride;
    public long OutputBatchStride;
    public int Rows;
    public int Columns;
    public int Depth;
    public int LeftPitch;
    public int RightPitch;
    public int OutputPitch;
    public int ColumnTiles;
    public int LeftAligned;
    public int RightAligned;
    public int OutputAligned;
    public float Alpha;
    public float Beta;
}
