// The tile of products on tensor cores: C[rows, columns] += Σ over depth of A[row, depth]·B[depth, column], float32 sums in registers, by one block of threads.
//
// Depth comes in chunks of 16 bytes: 8 bf16 or 4 float32 elements. Two chunks are the depth of one mma.sync. A step of 4 or 8 chunks is copied to shared memory in the background while earlier
// steps are multiplied; `stages` steps are under way, and the fragments of the next two chunks are loaded while those of these two are multiplied. Every element's sum runs over ascending pairs of
// chunks, whatever the tile, so all tiles give the same bits.
//
// In shared memory, in chunks:
//   left                 [rows][chunks of the step]       chunk c of row r lies at c ^ spread(r): ldmatrix, which reads a chunk of eight rows, meets all banks once
//   right, depthInner    [columns][chunks of the step]    the same
//   right, depthOuter    [depth of the step][columns]     as filters lie in memory when the sum runs over their first dimension. bf16: ldmatrix transposes. float32: read element by element.
//
// A block may use fewer columns than the tile has (`width`, a multiple of 16): the others are zeros in shared memory, neither read from memory nor multiplied. The warps side by side share the width evenly.
#pragma once
#include "async_copy.cuh"
#include "channels.cuh"
#include "tensor_core.cuh"

// float32 in memory, rounded to TF32 on the way to the tensor cores.
struct Tf32
{
    using Stored = float;

    enum
    {
        bytes = 4,
        ofChunk = 4,
    };

    __device__ static uint32 operand(uint32 bits) { return roundToTf32(__uint_as_float(bits)); }

    __device__ static void multiply(float (&sums)[4], const uint32 (&a)[4], const uint32 (&b)[2]) { multiplyTf32(sums, a, b); }
};

struct Bf16
{
    using Stored = BFloat16;

    enum
    {
        bytes = 2,
        ofChunk = 8,
    };

    __device__ static uint32 operand(uint32 bits) { return bits; }

    __device__ static void multiply(float (&sums)[4], const uint32 (&a)[4], const uint32 (&b)[2]) { multiplyBf16(sums, a, b); }
};

enum class Right
{
    depthInner,
    depthOuter,
};

// An address that the compiler shall keep: else it finds it anew wherever something is added to it.
__device__ inline const char* kept(const char* address)
{
    asm volatile("" : "+l"(address));
    return address;
}

template <class elementType, Right rightLayout, int tileRows, int tileColumns, int warpsDown, int warpsAcross, int stepChunks, int tileStages>
struct TensorTile
{
    using Element = elementType;
    static constexpr Right right = rightLayout;

    enum
    {
        rows = tileRows,
        columns = tileColumns,
        chunks = stepChunks,
        threads = lanes * warpsDown * warpsAcross,
        warps = warpsDown * warpsAcross,
        warpRows = tileRows / warpsDown,
        rowBlocks = warpRows / 16,                 // of the mma
        pairs = tileColumns / warpsAcross / 16,    // of blocks of 8 columns
        rowBytes = stepChunks * 16,                // of the left side, and of the right one with depth inside
        leftBytes = tileRows * rowBytes,
        columnChunks = tileColumns / Element::ofChunk, // of the right side with depth outside
        outerRowBytes = columnChunks * 16,
        stageBytes = leftBytes + tileColumns * rowBytes,
        pipelineBytes = tileStages * stageBytes,
        linesAtOnce = threads / stepChunks, // rows whose chunks all threads copy at once, a chunk each
        stagedPitch = tileColumns + 8,      // floats: eight rows of a fragment meet all banks
        stagedBytes = tileRows * stagedPitch * 4,
    };

    static_assert(stepChunks == 4 || stepChunks == 8, "a step has 4 or 8 chunks");
    static_assert(linesAtOnce % 8 == 0, "a thread's lines have the same spread");
    static_assert((pairs & (pairs - 1)) == 0 && leftBytes % 256 == 0 && stageBytes % 256 == 0, "places of a side differ by an exclusive or");
    static_assert(stagedBytes + warps * tileColumns * 16 <= pipelineBytes, "the epilogue works in the pipeline's memory");

    // Two chunks of depth: A by blocks of 16 rows, B by pairs of 8 columns.
    struct Fragments
    {
        uint32 a[rowBlocks][4];
        uint32 b[pairs][4];
    };

    float sums[rowBlocks][2 * pairs][4];
    int32 warpRow;     // the warp's first row and column of the tile
    int32 warpColumn;
    int32 pairsUsed;
    uint32 leftAt;     // where the lane reads its first row of either side, from the side's beginning; two chunks further is an exclusive or away
    uint32 rightAt;

    __device__ explicit TensorTile(int32 width)
    {
        // The same number in all lanes, which the compiler does not see of a thread's number: else it would guard every instruction of the warp.
        int32 warp = __shfl_sync(0xFFFFFFFFu, threadIdx.x / lanes, 0);
        int32 lane = threadIdx.x % lanes;
        int32 pairsOfWarp = divideUp(width / 16, static_cast<int32>(warpsAcross));
        warpRow = warp / warpsAcross * warpRows;
        warpColumn = warp % warpsAcross * pairsOfWarp * 16;
        pairsUsed = min(pairsOfWarp, (width - warpColumn) / 16);

        // Matrices of ldmatrix on the left: the lower and upper eight rows of the first chunk, then of the second.
        int32 row = warpRow + lane % 16;
        leftAt = inRegister(row * rowBytes + ((lane / 16 ^ spread(row)) << 4));
        if (rightLayout == Right::depthInner)
        {
            // The first eight columns in both chunks, then the second eight.
            int32 column = warpColumn + lane % 8 + lane / 16 * 8;
            rightAt = column * rowBytes + ((lane / 8 % 2 ^ spread(column)) << 4);
        }
        else if (Element::ofChunk == 8)
        {
            rightAt = lane % 16 * outerRowBytes + (((warpColumn / 8 + lane / 16) ^ spreadOuter(lane % 16)) << 4);
        }
        else
        {
            rightAt = lane % 4 * outerRowBytes + (((warpColumn / 4 + lane / 16) ^ spreadOuter(lane % 4)) << 4) + lane / 4 % 4 * 4;
        }

        rightAt = inRegister(rightAt);
    }

    __device__ static int32 spread(int32 row) { return stepChunks == 8 ? row & 7 : row >> 1 & 3; }

    // The same for the right side with depth outside. The threads that copy at once touch the same element of several chunks, those that read the elements of one chunk.
    __device__ static int32 spreadOuter(int32 depth)
    {
        return Element::ofChunk == 4 ? 2 * (depth & 3) ^ (depth >> 2 & 7) : columnChunks >= 8 ? (depth ^ depth >> 3) & 7 : (depth >> 1 ^ depth >> 3) & 3;
    }

    // Sums over `steps` steps of depth. The source issues the copies of its next step: source.copy(left, right), addresses in shared memory.
    template <class Source>
    __device__ void multiply(Source& source, int32 steps, uint32 shared)
    {
#pragma unroll
        for (int block = 0; block < rowBlocks; block++)
        {
#pragma unroll
            for (int n = 0; n < 2 * pairs; n++)
            {
                sums[block][n][0] = sums[block][n][1] = sums[block][n][2] = sums[block][n][3] = 0.0f;
            }
        }

        int32 issued = 0;
        uint32 reading = shared;
        uint32 writing = shared;
        uint32 last = shared + (tileStages - 1) * stageBytes;
#pragma unroll 1
        for (; issued < tileStages - 1; issued++)
        {
            if (issued < steps)
            {
                source.copy(writing, writing + leftBytes);
            }

            commitCopies();
            writing += stageBytes;
        }

#pragma unroll 1
        for (int32 step = 0; step < steps; step++)
        {
            // After the barrier all threads' copies of this step are there, and nobody reads the step before it any more: it may be overwritten.
            waitCopies<tileStages - 2>();
            __syncthreads();
            if (issued < steps)
            {
                source.copy(writing, writing + leftBytes);
            }

            issued++;
            commitCopies();
            if (pairsUsed == pairs)
            {
                accumulate<true>(reading);
            }
            else
            {
                accumulate<false>(reading);
            }

            writing = writing == last ? shared : writing + stageBytes;
            reading = reading == last ? shared : reading + stageBytes;
        }

        // The epilogue reuses the memory.
        waitCopies<0>();
        __syncthreads();
    }

    // Adds a value a column, of the tile's columns that exist.
    __device__ void add(const float* values, int32 exist)
    {
        int32 column = warpColumn + threadIdx.x % 4 * 2;
#pragma unroll
        for (int n = 0; n < 2 * pairs; n++)
        {
            float even = n / 2 < pairsUsed && column + n * 8 < exist ? values[column + n * 8] : 0.0f;
            float odd = n / 2 < pairsUsed && column + n * 8 + 1 < exist ? values[column + n * 8 + 1] : 0.0f;
#pragma unroll
            for (int block = 0; block < rowBlocks; block++)
            {
                sums[block][n][0] += even;
                sums[block][n][1] += odd;
                sums[block][n][2] += even;
                sums[block][n][3] += odd;
            }
        }
    }

    // Leaves the sums in shared memory as [rows][stagedPitch] for the threads to finish in another order.
    __device__ void stage(float* staged) const
    {
        int32 group = threadIdx.x % lanes / 4;
        int32 place = threadIdx.x % 4;
#pragma unroll
        for (int block = 0; block < rowBlocks; block++)
        {
            float* target = staged + (warpRow + block * 16 + group) * stagedPitch + warpColumn + 2 * place;
#pragma unroll
            for (int n = 0; n < 2 * pairs; n++)
            {
                if (n / 2 < pairsUsed)
                {
                    *reinterpret_cast<float2*>(target + n * 8) = make_float2(sums[block][n][0], sums[block][n][1]);
                    *reinterpret_cast<float2*>(target + 8 * stagedPitch + n * 8) = make_float2(sums[block][n][2], sums[block][n][3]);
                }
            }
        }

        __syncthreads();
    }

private:
    // One step. Where all of the warp's columns are used, nothing stands between its instructions and they overlap.
    template <bool all>
    __device__ void accumulate(uint32 stage)
    {
        uint32 left = stage + leftAt;
        uint32 right = stage + leftBytes + rightAt;
        Fragments fragments[2];
        loadLeft(fragments[0], left, 0);
#pragma unroll
        for (int pair = 0; pair < pairs; pair++)
        {
            if (all || pair < pairsUsed)
            {
                loadRight<all>(fragments[0].b[pair], right, 0, pair);
            }
        }

#pragma unroll
        for (int two = 0; two < stepChunks / 2; two++)
        {
            Fragments& next = fragments[(two + 1) % 2];
            Fragments& current = fragments[two % 2];
            bool more = two + 1 < stepChunks / 2;
            if (more)
            {
                loadLeft(next, left, two + 1);
            }

#pragma unroll
            for (int block = 0; block < rowBlocks; block++)
            {
#pragma unroll
                for (int i = 0; i < 4; i++)
                {
                    current.a[block][i] = Element::operand(current.a[block][i]);
                }
            }

#pragma unroll
            for (int pair = 0; pair < pairs; pair++)
            {
                if (all || pair < pairsUsed)
                {
                    if (more)
                    {
                        loadRight<all>(next.b[pair], right, two + 1, pair);
                    }

                    uint32(&b)[4] = current.b[pair];
                    uint32 first[2] = {Element::operand(b[0]), Element::operand(b[1])};
                    uint32 second[2] = {Element::operand(b[2]), Element::operand(b[3])};
#pragma unroll
                    for (int block = 0; block < rowBlocks; block++)
                    {
                        Element::multiply(sums[block][2 * pair], current.a[block], first);
                        Element::multiply(sums[block][2 * pair + 1], current.a[block], second);
                    }
                }
            }
        }
    }

    __device__ void loadLeft(Fragments& fragments, uint32 left, int two) const
    {
        uint32 address = left ^ two << 5;
#pragma unroll
        for (int block = 0; block < rowBlocks; block++)
        {
            loadMatrices(fragments.a[block], address + block * 16 * rowBytes);
        }
    }

    template <bool all>
    __device__ void loadRight(uint32 (&b)[4], uint32 right, int two, int pair) const
    {
        if (rightLayout == Right::depthInner)
        {
            loadMatrices(b, (right ^ two << 5) + pair * 16 * rowBytes);
        }
        else if (Element::ofChunk == 8)
        {
            uint32 address = outer<all>(right, spreadOuter(two * 16), 2 * pair);
            loadMatricesTransposed(b, address + two * 16 * outerRowBytes);
        }
        else
        {
#pragma unroll
            for (int i = 0; i < 4; i++)
            {
                // i: lower and upper depths of the first eight columns, then of the second.
                int depth = two * 8 + i % 2 * 4;
                b[i] = loadWord(outer<all>(right, spreadOuter(depth), 4 * pair + i / 2 * 2) + depth * outerRowBytes);
            }
        }
    }

    // The place of the lane's first chunk plus so many, in the row whose spread differs by this much. A warp that has all of its columns, or is the first, begins at a multiple of its chunks: there
    // adding is an exclusive or.
    template <bool all>
    __device__ uint32 outer(uint32 right, int spread, int chunks) const
    {
        if (all || warpsAcross == 1)
        {
            return right ^ (spread ^ chunks) << 4;
        }

        int32 own = spreadOuter(Element::ofChunk == 8 ? threadIdx.x % 16 : threadIdx.x % 4);
        int32 first = (warpColumn * Element::bytes / 16) + threadIdx.x % lanes / 16;
        return right + (((first + chunks) ^ own ^ spread) - (first ^ own)) * 16;
    }
};
