// Matrix products C = α·op(A)·op(B) + β·C, float32, row-major, any pitch, in batches.
//
//   op(A) is rows × depth, stored rows × depth or, transposed, depth × rows; op(B) is depth × columns, stored depth × columns or, transposed, columns × depth.
//   C's columns from `columns` to min(outputPitch, columns rounded up to 8) are written as zero.
//
// Launch: one block of 128 threads a tile of C (128 × 64 with 8 × 8 sums a thread, or 64 × 32 with 4 × 4 where C is small), tiles of a row next to each other in x,
// the batch in z. Operands whose rows start on 16 bytes are copied in fours, others float by float.
//
// Moved: A once a column of tiles, B once a row of tiles, mostly out of the second-level cache; C once (twice with β). Large products are limited by arithmetic
// (2·rows·columns·depth floating-point operations), products with a vector by the larger operand's bytes.
#include "matrix_operands.cuh"

template <class T>
struct MatrixSource
{
    MatrixCopy<T::left, T::rows, T::threads> leftCopy;
    MatrixCopy<T::right, T::columns, T::threads> rightCopy;

    __device__ void copy(float* left, float* right)
    {
        leftCopy.copy(left);
        rightCopy.copy(right);
    }
};

template <class T>
__device__ inline void multiply(const MultiplyArguments& arguments)
{
    __shared__ __align__(16) float shared[T::sharedFloats];
    int32 firstRow = blockIdx.x / arguments.columnTiles * T::rows;
    int32 firstColumn = blockIdx.x % arguments.columnTiles * T::columns;
    int64 batch = blockIdx.z;
    MatrixSource<T> source{
        {arguments.left + batch * arguments.leftBatchStride, arguments.leftPitch, firstRow, arguments.rows, arguments.depth, 0, arguments.leftAligned != 0},
        {arguments.right + batch * arguments.rightBatchStride, arguments.rightPitch, firstColumn, arguments.columns, arguments.depth, 0, arguments.rightAligned != 0}};
    T tile;
    tile.multiply(source, divideUp<int32>(arguments.depth, depthStep), shared);

    Scaled result{arguments.beta != 0, arguments.alpha, arguments.beta};
    float* output = arguments.output + batch * arguments.outputBatchStride;
    int32 written = min(arguments.outputPitch, divideUp(arguments.columns, 8) * 8);
#pragma unroll
    for (int i = 0; i < T::Left::owned; i++)
    {
        int32 row = firstRow + T::row(i);
        if (row >= arguments.rows)
        {
            continue;
        }

        float* target = output + static_cast<int64>(row) * arguments.outputPitch;
        storeRow(tile, i, target, firstColumn, arguments.columns, written, arguments.outputAligned != 0, result);
    }
}

// A large and a small tile for each combination of transpositions: N for a matrix stored as it stands in the product, T for a transposed one.
#define ENTRY_POINTS(name, left, right)                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128) name##Large(const __grid_constant__ MultiplyArguments arguments)                   \
    {                                                                                                                                    \
        multiply<Tile<left, right, 128, 64, 8, 8>>(arguments);                                                                           \
    }                                                                                                                                    \
    extern "C" __global__ void __launch_bounds__(128) name##Small(const __grid_constant__ MultiplyArguments arguments)                   \
    {                                                                                                                                    \
        multiply<Tile<left, right, 64, 32, 4, 4>>(arguments);                                                                            \
    }

ENTRY_POINTS(multiplyNN, Layout::depthInner, Layout::depthOuter)
ENTRY_POINTS(multiplyTN, Layout::depthOuter, Layout::depthOuter)
ENTRY_POINTS(multiplyNT, Layout::depthInner, Layout::depthInner)
ENTRY_POINTS(multiplyTT, Layout::depthOuter, Layout::depthInner)
