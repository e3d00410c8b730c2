// The tile that matrix products and convolutions are made of: C[rows, columns] += Σ over depth of A[row, depth]·B[depth, column], for one block of threads.
//
// A block walks along the depth in steps of 16. Each step's share of A and B is copied from global to shared memory in the background (cp.async) while the
// share of an earlier step is multiplied; three shares are under way. A thread keeps a rectangle of sums in registers, e.g. 8 × 8: 16 reads of 16 bytes of
// shared memory feed 256 multiply-adds. The sum of an element runs over ascending depth, whatever the tile, so all tiles give the same bits.
//
// An operand lies in shared memory the way it lies in global memory:
//   depthInner  [element][20]       depth is contiguous; four floats of slack a row spread the rows over all banks
//   depthOuter  [16][elements]      elements are contiguous
#pragma once
#include "async_copy.cuh"
#include "counter.cuh"

enum
{
    depthStep = 16,
    depthQuads = depthStep / 4,
    depthPitch = depthStep + 4,
    stages = 3,
};

enum class Layout
{
    depthInner,
    depthOuter,
};

// One operand's side of a tile: extent elements, shared among `threads` threads of which each owns `owned` elements.
template <Layout layout, int extent, int threads>
struct Side
{
    enum
    {
        owned = extent / threads,
        floats = layout == Layout::depthInner ? extent * depthPitch : depthStep * extent,
    };

    // The element of the tile that is the thread's i-th.
    __device__ static int32 element(int32 thread, int i)
    {
        return layout == Layout::depthInner ? thread + threads * i : (i / 4) * (4 * threads) + 4 * thread + i % 4;
    }

    // Where in shared memory the thread's elements begin, and how far it is to the next four depths.
    __device__ static int32 start(int32 thread) { return layout == Layout::depthInner ? thread * depthPitch : 4 * thread; }

    static constexpr int quadFloats = layout == Layout::depthInner ? 4 : 4 * extent;

    // One of the thread's elements at four consecutive depths, in a tile with the depth contiguous.
    __device__ static float4 depths(const float* mine, int i) { return *reinterpret_cast<const float4*>(mine + threads * i * depthPitch); }

    // All of the thread's elements at four consecutive depths.
    __device__ static void load(const float* mine, float (&values)[4][owned])
    {
        if (layout == Layout::depthInner)
        {
#pragma unroll
            for (int i = 0; i < owned; i++)
            {
                float4 value = depths(mine, i);
                values[0][i] = value.x;
                values[1][i] = value.y;
                values[2][i] = value.z;
                values[3][i] = value.w;
            }
        }
        else
        {
#pragma unroll
            for (int depth = 0; depth < 4; depth++)
            {
#pragma unroll
                for (int i = 0; i + 3 < owned; i += 4)
                {
                    float4 value = *reinterpret_cast<const float4*>(mine + depth * extent + i * threads);
                    values[depth][i] = value.x;
                    values[depth][i + 1] = value.y;
                    values[depth][i + 2] = value.z;
                    values[depth][i + 3] = value.w;
                }
            }
        }
    }
};

// Sizes of a tile of tileRows × tileColumns whose threads own threadRows × threadColumns sums each.
template <Layout leftLayout, Layout rightLayout, int tileRows, int tileColumns, int threadRows, int threadColumns>
struct Tile
{
    enum
    {
        rows = tileRows,
        columns = tileColumns,
        rowThreads = tileRows / threadRows,
        columnThreads = tileColumns / threadColumns,
        threads = rowThreads * columnThreads,
    };

    static constexpr Layout left = leftLayout;
    static constexpr Layout right = rightLayout;

    using Left = Side<left, tileRows, rowThreads>;
    using Right = Side<right, tileColumns, columnThreads>;

    enum
    {
        stageFloats = Left::floats + Right::floats,
        sharedFloats = stages * stageFloats,
    };

    float sums[threadRows][threadColumns];

    __device__ static int32 rowThread() { return threadIdx.x / columnThreads; }
    __device__ static int32 columnThread() { return threadIdx.x % columnThreads; }
    __device__ static int32 row(int i) { return Left::element(rowThread(), i); }
    __device__ static int32 column(int j) { return Right::element(columnThread(), j); }

    // Sums over `steps` steps of depth. The source issues the copies of its next step: source.copy(left, right).
    template <class Source>
    __device__ void multiply(Source& source, int32 steps, float* shared)
    {
#pragma unroll
        for (int i = 0; i < threadRows; i++)
        {
#pragma unroll
            for (int j = 0; j < threadColumns; j++)
            {
                sums[i][j] = 0;
            }
        }

        int32 issued = 0;
#pragma unroll
        for (int stage = 0; stage < stages - 1; stage++)
        {
            if (issued < steps)
            {
                source.copy(shared + stage * stageFloats, shared + stage * stageFloats + Left::floats);
            }

            issued++;
            commitCopies();
        }

        float* reading = shared;
        float* writing = shared + (stages - 1) * stageFloats;
        float* last = shared + (stages - 1) * stageFloats;
#pragma unroll 1
        for (int32 step = 0; step < steps; step++)
        {
            // After the barrier all threads' copies of this step are there, and nobody reads the share before it any more: it may be overwritten.
            waitCopies<stages - 2>();
            __syncthreads();
            if (issued < steps)
            {
                source.copy(writing, writing + Left::floats);
            }

            issued++;
            commitCopies();
            writing = writing == last ? shared : writing + stageFloats;
            const float* ofRows = reading + Left::start(rowThread());
            const float* ofColumns = reading + Left::floats + Right::start(columnThread());
#pragma unroll 1
            for (int quad = 0; quad < depthQuads; quad++)
            {
                accumulate(ofRows, ofColumns);
                ofRows += Left::quadFloats;
                ofColumns += Right::quadFloats;
            }

            reading = reading == last ? shared : reading + stageFloats;
        }
    }

    // Four depths of the thread's rows and columns.
    __device__ void accumulate(const float* rowsHere, const float* columnsHere)
    {
        float ofRows[4][threadRows];
        Left::load(rowsHere, ofRows);
        if (right == Layout::depthInner)
        {
            // Column by column, so that only four depths of one column take registers.
#pragma unroll
            for (int j = 0; j < threadColumns; j++)
            {
                float4 ofColumn = Right::depths(columnsHere, j);
                float depths[4] = {ofColumn.x, ofColumn.y, ofColumn.z, ofColumn.w};
#pragma unroll
                for (int depth = 0; depth < 4; depth++)
                {
#pragma unroll
                    for (int i = 0; i < threadRows; i++)
                    {
                        sums[i][j] = fmaf(ofRows[depth][i], depths[depth], sums[i][j]);
                    }
                }
            }
        }
        else
        {
            float ofColumns[4][threadColumns];
            Right::load(columnsHere, ofColumns);
#pragma unroll
            for (int depth = 0; depth < 4; depth++)
            {
#pragma unroll
                for (int i = 0; i < threadRows; i++)
                {
#pragma unroll
                    for (int j = 0; j < threadColumns; j++)
                    {
                        sums[i][j] = fmaf(ofRows[depth][i], ofColumns[depth][j], sums[i][j]);
                    }
                }
            }
        }
    }
};

// Writes the thread's i-th row of a tile: result(sum, column, old) for the columns below `columns`, zero for the padding below `written`. Where the thread owns
// neighbouring columns and the rows start on 16 bytes (`aligned`; `written` is then a multiple of 4), it writes them in fours.
template <class T, class Result>
__device__ inline void storeRow(const T& tile, int i, float* target, int32 firstColumn, int32 columns, int32 written, bool aligned, const Result& result)
{
    if (T::right == Layout::depthOuter && aligned)
    {
#pragma unroll
        for (int j = 0; j + 3 < T::Right::owned; j += 4)
        {
            int32 column = firstColumn + T::column(j);
            if (column < written)
            {
                float4* four = reinterpret_cast<float4*>(target + column);
                float4 old = result.readsOld ? *four : float4{};
                float4 value;
                value.x = column < columns ? result(tile.sums[i][j], column, old.x) : 0;
                value.y = column + 1 < columns ? result(tile.sums[i][j + 1], column + 1, old.y) : 0;
                value.z = column + 2 < columns ? result(tile.sums[i][j + 2], column + 2, old.z) : 0;
                value.w = column + 3 < columns ? result(tile.sums[i][j + 3], column + 3, old.w) : 0;
                *four = value;
            }
        }

        return;
    }

#pragma unroll
    for (int j = 0; j < T::Right::owned; j++)
    {
        int32 column = firstColumn + T::column(j);
        if (column < columns)
        {
            target[column] = result(tile.sums[i][j], column, result.readsOld ? target[column] : 0.0f);
        }
        else if (column < written)
        {
            target[column] = 0;
        }
    }
}
