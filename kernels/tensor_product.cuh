// The product of one block on tensor cores: C[rows, columns] += Σ over depth of A[row, depth]·B[depth, column], float32 sums.
//
// A block walks along the depth in steps of 64 bytes an element: 32 depths of bf16, 16 of float32. The share of A and B of a step is copied to shared memory in the
// background; four shares are under way. A warp owns a rectangle of C, e.g. 64 × 64: 128 sums a thread, and reads of 4 KB of shared memory feed 32 instructions. The sum
// of an element runs over ascending depth in the instruction's portions, whatever the tile, so all tiles give the same bits.
//
// An operand in shared memory, with extent elements:
//   Bf16Outer   [32 depths][extent]      16-byte chunks of a row exchanged (chunk XOR depth), so that the eight rows of an ldmatrix lie in different banks
//   Tf32Outer   [16 depths][extent]      a lane reads four neighbouring elements of a depth at once; chunks are exchanged (chunk XOR 2·depth), so that the four depths of a
//                                        warp's read lie in different banks. Neighbours belong to different fragments, see NeighbourOrder.
//   Tf32Inner   [extent][16 depths + 4]  as global memory has a matrix with contiguous depth; read by ldmatrix
// A warp's reads of a step differ from the share's beginning by a constant of the thread, by immediates, and for Bf16Outer by an exclusive or: rowsOffset, columnsOffset and load….
// Operands of tf32 are rounded to nearest when they are read from shared memory.
#pragma once
#include "tensor_core.cuh"
#include "tile.cuh"

using uint16 = unsigned short;

__device__ inline int32 laneGroup() { return threadIdx.x % lanes / 4; }
__device__ inline int32 lanePlace() { return threadIdx.x % 4; }

// Elements of C in the order of the instruction's fragments. A run is what a thread holds of neighbouring columns: run r of a row is sums[fragment(r, i)][2·half + place(r, i)].
struct FragmentOrder
{
    enum
    {
        runLength = 2,
        runsOfFour = 4, // in four fragments
    };

    __device__ static int32 row(int fragment, int half) { return 16 * fragment + 8 * half + laneGroup(); }
    __device__ static int32 runColumn(int run) { return 8 * run + 2 * lanePlace(); }
    __device__ static constexpr int fragment(int run, int) { return run; }
    __device__ static constexpr int place(int, int i) { return i; }
};

// The same where a lane's four neighbouring elements are of four fragments (of columns) or of both halves of two (of rows).
struct NeighbourOrder
{
    enum
    {
        runLength = 4,
        runsOfFour = 2,
    };

    __device__ static int32 row(int fragment, int half) { return 32 * (fragment / 2) + 4 * laneGroup() + 2 * (fragment % 2) + half; }
    __device__ static int32 runColumn(int run) { return 32 * (run / 2) + 4 * (2 * lanePlace() + run % 2); }
    __device__ static constexpr int fragment(int run, int i) { return run / 2 * 4 + i; }
    __device__ static constexpr int place(int run, int) { return run % 2; }
};

template <int elements>
struct Bf16Outer
{
    using Element = uint16;
    using Order = FragmentOrder;

    enum
    {
        extent = elements,
        depths = 32,           // of a step
        instructionDepths = 16,
        chunks = elements / 8, // of a row
        rowBytes = elements * 2,
        bytes = depths * rowBytes,
    };

    static_assert(chunks % 4 == 0, "rows of 64 bytes at least");

    // Where the chunk of eight elements lies.
    __device__ static int32 offset(int32 depth, int32 chunk)
    {
        int32 exchanged = chunks >= 8 ? chunk ^ (depth & 7) : chunk ^ ((depth >> 1) & 3);
        return depth * rowBytes + exchanged * 16;
    }

    // Two chunks further on are 32 bytes exclusive-ored to the address: a warp's elements begin at a multiple of the chunks that it reads, and 16 depths later the exchange is the same.
    __device__ static int32 rowsOffset(int32 first)
    {
        int32 matrix = threadIdx.x % lanes / 8;
        return offset(threadIdx.x % 8 + 8 * (matrix / 2), first / 8 + matrix % 2);
    }

    __device__ static int32 columnsOffset(int32 first)
    {
        int32 matrix = threadIdx.x % lanes / 8;
        return offset(threadIdx.x % 8 + 8 * (matrix % 2), first / 8 + matrix / 2);
    }

    template <int fragments>
    __device__ static void loadRows(uint32 address, int depth, uint32 (&a)[fragments][4])
    {
        static_assert(fragments <= 4, "the exclusive or stays within eight chunks");
#pragma unroll
        for (int i = 0; i < fragments; i++)
        {
            loadMatricesTransposed(a[i], (address ^ i * 32) + depth * rowBytes);
        }
    }

    template <int fragments>
    __device__ static void loadColumns(uint32 address, int depth, uint32 (&b)[fragments][2])
    {
        static_assert(fragments <= 8, "the exclusive or stays within eight chunks");
#pragma unroll
        for (int i = 0; i < fragments; i += 2)
        {
            uint32 pair[4];
            loadMatricesTransposed(pair, (address ^ i * 16) + depth * rowBytes);
            b[i][0] = pair[0];
            b[i][1] = pair[1];
            b[i + 1][0] = pair[2];
            b[i + 1][1] = pair[3];
        }
    }

    __device__ static void multiply(float (&sums)[4], const uint32 (&a)[4], const uint32 (&b)[2]) { multiplyBf16(sums, a, b); }
};

struct Tf32
{
    using Element = float;

    enum
    {
        depths = 16,
        instructionDepths = 8,
    };

    __device__ static void multiply(float (&sums)[4], const uint32 (&a)[4], const uint32 (&b)[2]) { multiplyTf32(sums, a, b); }
};

template <int elements>
struct Tf32Outer : Tf32
{
    using Order = NeighbourOrder;

    enum
    {
        extent = elements,
        chunks = elements / 4,
        rowBytes = elements * 4,
        bytes = depths * rowBytes,
    };

    static_assert(elements % 32 == 0, "eight chunks at a time are exchanged");

    __device__ static int32 offset(int32 depth, int32 chunk) { return depth * rowBytes + (chunk ^ 2 * (depth & 3)) * 16; }

    // Elements 4·group to 4·group + 3 of the first 32, at the first of the two depths of this lane. The exchange is the same for all that it reads.
    __device__ static int32 rowsOffset(int32 first) { return offset(lanePlace(), first / 4 + laneGroup()); }
    __device__ static int32 columnsOffset(int32 first) { return rowsOffset(first); }

    template <int fragments>
    __device__ static void loadRows(uint32 address, int depth, uint32 (&a)[fragments][4])
    {
#pragma unroll
        for (int i = 0; i < fragments; i += 2)
        {
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                uint4 values = loadFourWords(address + 16 * i * 4 + (depth + 4 * half) * rowBytes);
                a[i][2 * half] = roundToTf32(__uint_as_float(values.x));
                a[i][2 * half + 1] = roundToTf32(__uint_as_float(values.y));
                a[i + 1][2 * half] = roundToTf32(__uint_as_float(values.z));
                a[i + 1][2 * half + 1] = roundToTf32(__uint_as_float(values.w));
            }
        }
    }

    template <int fragments>
    __device__ static void loadColumns(uint32 address, int depth, uint32 (&b)[fragments][2])
    {
#pragma unroll
        for (int i = 0; i < fragments; i += 4)
        {
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                uint4 values = loadFourWords(address + 8 * i * 4 + (depth + 4 * half) * rowBytes);
                b[i][half] = roundToTf32(__uint_as_float(values.x));
                b[i + 1][half] = roundToTf32(__uint_as_float(values.y));
                b[i + 2][half] = roundToTf32(__uint_as_float(values.z));
                b[i + 3][half] = roundToTf32(__uint_as_float(values.w));
            }
        }
    }
};

template <int elements>
struct Tf32Inner : Tf32
{
    using Order = FragmentOrder;

    enum
    {
        extent = elements,
        chunks = depths / 4, // of a row
        rowBytes = depthPitch * 4,
        bytes = elements * rowBytes,
    };

    // Where the chunk of four depths lies.
    __device__ static int32 offset(int32 element, int32 chunk) { return element * rowBytes + chunk * 16; }

    __device__ static int32 rowsOffset(int32 first)
    {
        int32 matrix = threadIdx.x % lanes / 8;
        return offset(first + threadIdx.x % 8 + 8 * (matrix % 2), matrix / 2);
    }

    __device__ static int32 columnsOffset(int32 first)
    {
        int32 matrix = threadIdx.x % lanes / 8;
        return offset(first + threadIdx.x % 8 + 8 * (matrix / 2), matrix % 2);
    }

    template <int fragments>
    __device__ static void loadRows(uint32 address, int depth, uint32 (&a)[fragments][4])
    {
#pragma unroll
        for (int i = 0; i < fragments; i++)
        {
            uint32 values[4];
            loadMatrices(values, address + 16 * i * rowBytes + depth * 4);
#pragma unroll
            for (int j = 0; j < 4; j++)
            {
                a[i][j] = roundToTf32(__uint_as_float(values[j]));
            }
        }
    }

    template <int fragments>
    __device__ static void loadColumns(uint32 address, int depth, uint32 (&b)[fragments][2])
    {
#pragma unroll
        for (int i = 0; i < fragments; i += 2)
        {
            uint32 values[4];
            loadMatrices(values, address + 8 * i * rowBytes + depth * 4);
#pragma unroll
            for (int j = 0; j < 4; j++)
            {
                b[i + j / 2][j % 2] = roundToTf32(__uint_as_float(values[j]));
            }
        }
    }
};

// Neighbouring floats in one store; the address is a multiple of their bytes.
__device__ inline void storeRun(float* target, const float (&values)[2])
{
    *reinterpret_cast<float2*>(target) = {values[0], values[1]};
}

__device__ inline void storeRun(float* target, const float (&values)[4])
{
    *reinterpret_cast<float4*>(target) = {values[0], values[1], values[2], values[3]};
}

// A block of rowWarps × columnWarps warps on operands as above.
template <class LeftOperand, class RightOperand, int rowWarps, int columnWarps>
struct TensorProduct
{
    using Left = LeftOperand;
    using Right = RightOperand;

    enum
    {
        rows = Left::extent,
        columns = Right::extent,
        depths = Left::depths,
        threads = rowWarps * columnWarps * lanes,
        warpRows = rows / rowWarps,
        warpColumns = columns / columnWarps,
        rowFragments = warpRows / 16,
        columnFragments = warpColumns / 8,
        runs = columnFragments / 4 * Right::Order::runsOfFour,
        runLength = Right::Order::runLength,
        sharesUnderWay = 4,
        stageBytes = Left::bytes + Right::bytes,
        sharedBytes = sharesUnderWay * stageBytes,
    };

    static_assert(warpRows % 32 == 0 && warpColumns % 32 == 0, "whole fragments in either order");

    float sums[rowFragments][columnFragments][4];

    __device__ static int32 warpRow() { return threadIdx.x / lanes / columnWarps * warpRows; }
    __device__ static int32 warpColumn() { return threadIdx.x / lanes % columnWarps * warpColumns; }

    // Of the tile: the row of a fragment's half, and the first column of a run.
    __device__ static int32 row(int fragment, int half) { return warpRow() + Left::Order::row(fragment, half); }
    __device__ static int32 column(int run) { return warpColumn() + Right::Order::runColumn(run); }

    // The i-th sum of a run in a row.
    __device__ float sum(int rowFragment, int half, int run, int i) const
    {
        return sums[rowFragment][Right::Order::fragment(run, i)][2 * half + Right::Order::place(run, i)];
    }

    // Sums over `steps` steps of depth. The source issues the copies of its next step, source.copy(left, right) with addresses in shared memory; beyond the last step it is asked for three more, which
    // nobody reads.
    template <class Source>
    __device__ void multiply(Source& source, int32 steps, char* shared)
    {
#pragma unroll
        for (int i = 0; i < rowFragments; i++)
        {
#pragma unroll
            for (int j = 0; j < columnFragments; j++)
            {
#pragma unroll
                for (int k = 0; k < 4; k++)
                {
                    sums[i][j][k] = 0;
                }
            }
        }

        uint32 reading = sharedAddressOf(shared);
        uint32 writing = reading;
        uint32 last = reading + (sharesUnderWay - 1) * stageBytes;
#pragma unroll 1
        for (; writing != last; writing += stageBytes)
        {
            source.copy(writing, writing + Left::bytes);
            commitCopies();
        }

        uint32 leftOffset = inRegister(Left::rowsOffset(warpRow()));
        uint32 rightOffset = inRegister(Left::bytes + Right::columnsOffset(warpColumn()));
#pragma unroll 1
        for (int32 step = 0; step < steps; step++)
        {
            // After the barrier all threads' copies of this step are there, and nobody reads the share before it any more: it may be overwritten.
            waitCopies<sharesUnderWay - 2>();
            __syncthreads();
            source.copy(writing, writing + Left::bytes);
            commitCopies();
#pragma unroll
            for (int depth = 0; depth < depths; depth += Left::instructionDepths)
            {
                accumulate(reading + leftOffset, reading + rightOffset, depth);
            }

            writing = reading;
            reading = reading == last ? last - (sharesUnderWay - 1) * stageBytes : reading + stageBytes;
        }

        waitCopies<0>();
    }

private:
    __device__ void accumulate(uint32 left, uint32 right, int depth)
    {
        uint32 a[rowFragments][4];
        uint32 b[columnFragments][2];
        Left::loadRows(left, depth, a);
        Right::loadColumns(right, depth, b);
#pragma unroll
        for (int i = 0; i < rowFragments; i++)
        {
#pragma unroll
            for (int j = 0; j < columnFragments; j++)
            {
                Left::multiply(sums[i][j], a[i], b[j]);
            }
        }
    }
};
