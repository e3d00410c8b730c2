// Sums over rows by slabs: each block of 256 threads takes one slab of consecutive rows and leaves two float64 sums a channel, [slabs][2][pitch], which another kernel merges in order.
#pragma once
#include "rows.cuh"

// Blocks of 256 threads hold the sums of a slab: [channel of four][thread].
struct SlabSums
{
    double first[4][256];
    double second[4][256];
};

// Adds the sums of all threads with the same channels, in order of their rows; threads with y = 0 return true and hold the result.
__device__ inline bool addThreads(SlabSums& sums, double first[4], double second[4])
{
    int32 thread = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int i = 0; i < 4; i++)
    {
        sums.first[i][thread] = first[i];
        sums.second[i][thread] = second[i];
    }

    __syncthreads();
    if (threadIdx.y != 0)
    {
        return false;
    }

#pragma unroll
    for (int i = 0; i < 4; i++)
    {
        for (int32 y = 1; y < blockDim.y; y++)
        {
            first[i] += sums.first[i][y * blockDim.x + threadIdx.x];
            second[i] += sums.second[i][y * blockDim.x + threadIdx.x];
        }
    }

    return true;
}

__device__ inline void storeFour(double* target, const double values[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++)
    {
        target[i] = values[i];
    }
}
