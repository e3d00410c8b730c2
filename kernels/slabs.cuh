// Sums over rows by slabs: each block of 256 threads takes one slab of consecutive rows and leaves two float64 sums a channel, [slabs][2][pitch], which another kernel merges in order.
#pragma once
#include "rows.cuh"

// Blocks of 256 threads hold the sums of a slab: [channel of those that a thread owns][thread].
template <int owned>
struct SlabSums
{
    double first[owned][256];
    double second[owned][256];
};

// Adds the sums of all threads with the same channels, in order of their rows; threads with y = 0 return true and hold the result.
template <int owned>
__device__ inline bool addThreads(SlabSums<owned>& sums, double (&first)[owned], double (&second)[owned])
{
    int32 thread = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int i = 0; i < owned; i++)
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
    for (int i = 0; i < owned; i++)
    {
        for (int32 y = 1; y < blockDim.y; y++)
        {
            first[i] += sums.first[i][y * blockDim.x + threadIdx.x];
            second[i] += sums.second[i][y * blockDim.x + threadIdx.x];
        }
    }

    return true;
}

template <int owned>
__device__ inline void storeSums(double* target, const double (&values)[owned])
{
#pragma unroll
    for (int i = 0; i < owned; i++)
    {
        target[i] = values[i];
    }
}
