// What the matrix kernels have in common: arguments, copies of operands to shared memory, and α and β.
#pragma once
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

// Copies one operand's share of a step: all threads take part, each always the same four columns of the stored matrix's share. In shared memory it lies as in global memory,
// rows depthPitch floats apart where the depth is contiguous.
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
            bool inside = (element < elements) & (atDepth < depths);
            int32 left = layout == Layout::depthInner ? depths - atDepth : elements - element;
            int32 valid = inside ? min(left, 4) : 0;
            float* target = share + row * sharedPitch + 4 * four;
            if (aligned)
            {
                copyPartAsync16(target, source, valid * 4);
            }
            else
            {
#pragma unroll
                for (int i = 0; i < 4; i++)
                {
                    copyAsync4(target + i, source + i, i < valid);
                }
            }
        }

        depth += depthStep;
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
