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
#include "tile.cuh"

struct MultiplyArguments
{
    const float* left;
    const float* right;
    float* output;
    int64 leftBatchStride;
    int64 rightBatchStride;
    int64 outputBatchStride;
    int32 rows;
    int32 columns;
    int32 depth;
    int32 leftPitch;
    int32 rightPitch;
    int32 outputPitch;
    int32 columnTiles;
    int32 leftAligned;
    int32 rightAligned;
    int32 outputAligned;
    float alpha;
    float beta;
};

// Copies one operand's share of a step: all threads take part, each always the same four columns of the stored matrix's share.
template <Layout layout, int extent, int threads>
struct MatrixCopy
{
    enum
    {
        // Fours of a stored row's share, and the stored rows that all threads together cover at a time.
        fours = layout == Layout::depthInner ? depthQuads : extent / 4,
        sharedPitch = layout == Layout::depthInner ? depthPitch : extent,
        rowsAtOnce = threads / fours,
        storedRows = layout == Layout::depthInner ? extent : depthStep,
    };

    const float* matrix;
    int64 pitch;
    int32 first; // element of the tile's start
    int32 elements;
    int32 depths;
    int32 depth; // of the next step
    bool aligned;

    __device__ void copy(float* share)
    {
        int32 four = threadIdx.x % fours;
        int32 line = threadIdx.x / fours;
#pragma unroll
        for (int stored = 0; stored < storedRows; stored += rowsAtOnce)
        {
            int32 row = line + stored;
            if (storedRows % rowsAtOnce != 0 && row >= storedRows)
            {
                break;
            }

            int32 element = layout == Layout::depthInner ? first + row : first + 4 * four;
            int32 atDepth = layout == Layout::depthInner ? depth + 4 * four : depth + row;
            const float* source = layout == Layout::depthInner ? matrix + element * pitch + atDepth : matrix + atDepth * pitch + element;
            bool inside = element < elements && atDepth < depths;
            int32 left = layout == Layout::depthInner ? depths - atDepth : elements - element;
            int32 valid = inside ? (left < 4 ? left : 4) : 0;
            float* target = share + row * sharedPitch + 4 * four;
            if (aligned)
            {
                copyAsync16(target, valid == 0 ? matrix : source, valid * 4);
            }
            else
            {
#pragma unroll
                for (int i = 0; i < 4; i++)
                {
                    copyAsync4(target + i, i < valid ? source + i : matrix, i < valid);
                }
            }
        }

        depth += depthStep;
    }
};

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

// α·sum + β·old, where old is not looked at for β = 0.
struct Scaled
{
    bool readsOld;
    float alpha;
    float beta;

    __device__ float operator()(float sum, int32, float old) const { return readsOld ? fmaf(beta, old, alpha * sum) : alpha * sum; }
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
