// Sums over rows by slabs: each block of 256 threads takes one slab of consecutive rows and leaves two float64 sums a channel, [slabs][2][pitch], which another kernel merges in order.
#pragma once
#include "channels.cuh"

// Blocks of 256 threads hold the sums of a slab: [channel of those that a thread owns][thread]. Rows of 264 keep the 32 banks apart where few threads lie side by side.
template <int owned>
struct SlabSums
{
    float first[owned][264];
    float second[owned][264];
};

// Adds the sums of all threads with the same channels in float64, in order of their rows, and calls function(channel, sum of first, sum of second) for each channel below the pitch. Many threads take
// part: the sum over a column of threads is a chain of additions that wait for each other.
template <int owned, class Function>
__device__ inline void addThreads(SlabSums<owned>& sums, const float (&first)[owned], const float (&second)[owned], int32 pitch, Function function)
{
    int32 thread = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int i = 0; i < owned; i++)
    {
        sums.first[i][thread] = first[i];
        sums.second[i][thread] = second[i];
    }

    __syncthreads();
    int32 channel = firstChannel<owned>();
    if (channel >= pitch)
    {
        return;
    }

    for (int32 i = threadIdx.y; i < owned; i += blockDim.y)
    {
        const float* firsts = sums.first[i] + threadIdx.x;
        const float* seconds = sums.second[i] + threadIdx.x;
        double totalFirst = *firsts;
        double totalSecond = *seconds;
#pragma unroll 8
        for (int32 y = 1; y < blockDim.y; y++)
        {
            totalFirst += firsts[y * blockDim.x];
            totalSecond += seconds[y * blockDim.x];
        }

        function(channel + i, totalFirst, totalSecond);
    }
}
