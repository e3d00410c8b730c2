// Matrix products C = α·op(A)·op(B) + β·C on tensor cores, operands float32 in memory and rounded to tf32 (10 bits of mantissa, to nearest) in the kernel, sums float32;
// row-major, any pitch, in batches. Layout, padding and transposition are those of matrix.cu.
//
// Launch: one block of 128 threads a tile of C, 128 × 128 with a warp for 64 × 64, or 64 × 64 with 32 × 32 where C is small; tiles of a row next to each other in x, the batch
// in z. Dynamic shared memory for four shares of 16 depths: 64 · elements + 512 bytes a share of an operand with contiguous elements, 80 · elements with contiguous depth.
// Operands whose rows start on 16 bytes are copied in fours, others float by float.
//
// Moved: A once a column of tiles, B once a row of tiles, mostly out of the second-level cache; C once (twice with β). Limits, predicted and not measured: large products by
// the tensor cores, 2·rows·columns·depth operations at about 65 % of the rate that wgmma reaches on compute capability 9.0; products with fewer than about 100 rows or
// columns by the larger operand's bytes.
#include "matrix_operands.cuh"
#include "tensor_product.cuh"

// An operand of a tile as it is stored.
template <Layout layout, int extent>
struct Operand
{
    using Type = Tf32Inner<extent>;
};

template <int extent>
struct Operand<Layout::depthOuter, extent>
{
    using Type = Tf32Outer<extent>;
};

template <class Product, Layout left, Layout right>
struct MatrixSource
{
    MatrixCopy<left, Product::rows, Product::threads, Product::Left::pitch> leftCopy;
    MatrixCopy<right, Product::columns, Product::threads, Product::Right::pitch> rightCopy;

    __device__ void copy(float* leftShare, float* rightShare)
    {
        leftCopy.copy(leftShare);
        rightCopy.copy(rightShare);
    }
};

template <Layout left, Layout right, int extent>
__device__ inline void multiply(const MultiplyArguments& arguments)
{
    using Product = TensorProduct<typename Operand<left, extent>::Type, typename Operand<right, extent>::Type, 2, 2>;
    extern __shared__ __align__(128) char shared[];
    int32 firstRow = blockIdx.x / arguments.columnTiles * Product::rows;
    int32 firstColumn = blockIdx.x % arguments.columnTiles * Product::columns;
    int64 batch = blockIdx.z;
    MatrixSource<Product, left, right> source{
        {arguments.left + batch * arguments.leftBatchStride, arguments.leftPitch, firstRow, arguments.rows, arguments.depth, 0, arguments.leftAligned != 0},
        {arguments.right + batch * arguments.rightBatchStride, arguments.rightPitch, firstColumn, arguments.columns, arguments.depth, 0, arguments.rightAligned != 0}};
    Product product;
    product.multiply(source, divideUp<int32>(arguments.depth, depthStep), shared);

    Scaled result{arguments.beta != 0, arguments.alpha, arguments.beta};
    float* output = arguments.output + batch * arguments.outputBatchStride;
    int32 written = min(arguments.outputPitch, divideUp(arguments.columns, 8) * 8);
    bool aligned = arguments.outputAligned != 0;
#pragma unroll
    for (int i = 0; i < Product::rowFragments; i++)
    {
#pragma unroll
        for (int half = 0; half < 2; half++)
        {
            int32 row = firstRow + Product::row(i, half);
            if (row >= arguments.rows)
            {
                continue;
            }

            float* target = output + static_cast<int64>(row) * arguments.outputPitch;
#pragma unroll
            for (int run = 0; run < Product::runs; run++)
            {
                int32 column = firstColumn + Product::column(run);
                float values[Product::runLength];
#pragma unroll
                for (int j = 0; j < Product::runLength; j++)
                {
                    bool exists = column + j < arguments.columns;
                    float old = exists && result.readsOld ? target[column + j] : 0.0f;
                    values[j] = exists ? result(product.sum(i, half, run, j), column + j, old) : 0.0f;
                }

                if (aligned && column < written)
                {
                    storeRun(target + column, values);
                }
                else
                {
#pragma unroll
                    for (int j = 0; j < Product::runLength; j++)
                    {
                        if (column + j < written)
                        {
                            target[column + j] = values[j];
                        }
                    }
                }
            }
        }
    }
}

// A large and a small tile for each combination of transpositions: N for a matrix stored as it stands in the product, T for a transposed one.
#define ENTRY_POINTS(name, left, right)                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128) name##Large(const __grid_constant__ MultiplyArguments arguments)                   \
    {                                                                                                                                    \
        multiply<left, right, 128>(arguments);                                                                                           \
    }                                                                                                                                    \
    extern "C" __global__ void __launch_bounds__(128) name##Small(const __grid_constant__ MultiplyArguments arguments)                   \
    {                                                                                                                                    \
        multiply<left, right, 64>(arguments);                                                                                            \
    }

ENTRY_POINTS(tensorMultiplyNN, Layout::depthInner, Layout::depthOuter)
ENTRY_POINTS(tensorMultiplyTN, Layout::depthOuter, Layout::depthOuter)
ENTRY_POINTS(tensorMultiplyNT, Layout::depthInner, Layout::depthInner)
ENTRY_POINTS(tensorMultiplyTT, Layout::depthOuter, Layout::depthInner)
