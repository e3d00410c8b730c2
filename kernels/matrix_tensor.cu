// Matrix products C = α·op(A)·op(B) + β·C on tensor cores, operands float32 in memory and rounded to tf32 (10 bits of mantissa, to nearest) in the kernel, sums float32;
// row-major, any pitch, in batches. Layout, padding and transposition are those of matrix.cu.
//
// Launch: one block of 128 threads a tile of C, 128 × 128 with a warp for 64 × 64, or 64 × 64 with 32 × 32 where C is small; tiles of a row next to each other in x, the batch
// in z. Dynamic shared memory for four shares of 16 depths: 64 · elements bytes a share of an operand with contiguous elements, 80 · elements with contiguous depth.
// Where the rows of both operands start on 16 bytes, whole steps are copied in fours without conditions; the last step of a depth that is no multiple of 16 and other operands take longer.
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

// One operand's copies. A whole step, where rows start on 16 bytes, is a few copies without conditions: beyond the matrix's edge a thread copies its last elements again, whose products nobody stores
// (the last four of a row may be partly padding). Other steps go the way of MatrixCopy.
template <Layout layout, class Operand, int threads>
struct OperandSource
{
    enum
    {
        atOnce = threads / Operand::chunks,
        owned = (layout == Layout::depthInner ? static_cast<int>(Operand::extent) : static_cast<int>(Operand::depths)) / atOnce,
        offsets = layout == Layout::depthInner ? owned : 1,
    };

    const char* next; // of the thread's first copy of the next whole step
    int32 offset[offsets]; // depthInner: chunks from the next step's first in the tile's first row to the thread's
    int64 stride;          // depthOuter: bytes from one of its depths to the next
    uint32 target;         // its first chunk in shared memory

    __device__ OperandSource(const float* matrix, int32 pitch, int32 first, int32 elements)
    {
        int32 line = threadIdx.x / Operand::chunks;
        int32 chunk = threadIdx.x % Operand::chunks;
        target = inRegister(Operand::offset(line, chunk));
        if (layout == Layout::depthInner)
        {
            next = reinterpret_cast<const char*>(matrix + static_cast<int64>(first) * pitch);
#pragma unroll
            for (int i = 0; i < offsets; i++)
            {
                offset[i] = min(line + i * atOnce, elements - 1 - first) * (pitch / 4) + chunk;
            }
        }
        else
        {
            next = reinterpret_cast<const char*>(matrix + static_cast<int64>(line) * pitch + min(first + 4 * chunk, (elements - 1) / 4 * 4));
            stride = atOnce * pitch * static_cast<int64>(sizeof(float));
        }
    }

    __device__ void copy(uint32 share)
    {
        share += target;
#pragma unroll
        for (int i = 0; i < owned; i++)
        {
            uint32 address = share + i * atOnce * Operand::rowBytes;
            if (layout == Layout::depthInner)
            {
                copyAsync16(address, advance(next, offset[i % offsets], 16));
            }
            else
            {
                copyAsync16(address, next);
                next += stride;
            }
        }

        if (layout == Layout::depthInner)
        {
            next += depthStep * sizeof(float);
        }
    }
};

template <class Product, Layout left, Layout right>
struct MatrixSource
{
    const MultiplyArguments& arguments;
    const float* leftMatrix;
    const float* rightMatrix;
    int32 firstRow;
    int32 firstColumn;
    OperandSource<left, typename Product::Left, Product::threads> leftCopy;
    OperandSource<right, typename Product::Right, Product::threads> rightCopy;
    int32 depth; // of the next step
    int32 whole; // depths of whole steps

    __device__ MatrixSource(const MultiplyArguments& arguments, const float* leftMatrix, const float* rightMatrix, int32 firstRow, int32 firstColumn)
        : arguments(arguments), leftMatrix(leftMatrix), rightMatrix(rightMatrix), firstRow(firstRow), firstColumn(firstColumn),
          leftCopy(leftMatrix, arguments.leftPitch, firstRow, arguments.rows), rightCopy(rightMatrix, arguments.rightPitch, firstColumn, arguments.columns), depth(0),
          whole(arguments.leftAligned != 0 && arguments.rightAligned != 0 ? arguments.depth / depthStep * depthStep : 0)
    {
    }

    __device__ void copy(uint32 leftShare, uint32 rightShare)
    {
        if (depth < whole)
        {
            leftCopy.copy(leftShare);
            rightCopy.copy(rightShare);
        }
        else if (depth < arguments.depth)
        {
            copyStep<left, typename Product::Left>(leftShare, leftMatrix, arguments.leftPitch, firstRow, arguments.rows, arguments.leftAligned != 0);
            copyStep<right, typename Product::Right>(rightShare, rightMatrix, arguments.rightPitch, firstColumn, arguments.columns, arguments.rightAligned != 0);
        }

        depth += depthStep;
    }

private:
    // Any step of any matrix, four elements at a time or one by one, with zeros beyond the edges.
    template <Layout layout, class Operand>
    __device__ void copyStep(uint32 share, const float* matrix, int32 pitch, int32 first, int32 elements, bool aligned) const
    {
        enum
        {
            lines = layout == Layout::depthInner ? static_cast<int>(Operand::extent) : static_cast<int>(Operand::depths),
        };
        int32 chunk = threadIdx.x % Operand::chunks;
#pragma unroll 1
        for (int32 line = threadIdx.x / Operand::chunks; line < lines; line += Product::threads / Operand::chunks)
        {
            int32 element = first + (layout == Layout::depthInner ? line : 4 * chunk);
            int32 atDepth = depth + (layout == Layout::depthInner ? 4 * chunk : line);
            const float* source = matrix + (layout == Layout::depthInner ? static_cast<int64>(element) * pitch + atDepth : static_cast<int64>(atDepth) * pitch + element);
            int32 exist = layout == Layout::depthInner ? arguments.depth - atDepth : elements - element;
            int32 valid = (element < elements) & (atDepth < arguments.depth) ? min(exist, 4) : 0;
            uint32 target = share + Operand::offset(line, chunk);
            if (aligned)
            {
                copyPartAsync16(target, source, valid * 4);
            }
            else
            {
#pragma unroll
                for (int i = 0; i < 4; i++)
                {
                    copyAsync4(target + 4 * i, source + i, i < valid);
                }
            }
        }
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
    MatrixSource<Product, left, right> source(
        arguments, arguments.left + batch * arguments.leftBatchStride, arguments.right + batch * arguments.rightBatchStride, firstRow, firstColumn);
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
