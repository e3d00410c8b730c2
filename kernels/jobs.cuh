// Many arrays in one launch: the argument struct carries a table of jobs, each cut into chunks of one size; a block does one chunk and finds its job by the number of
// the job's first chunk.
//
// A kernel may take 4,096 bytes of arguments; from CUDA 12.1 on, driver and compiler, 32,764 bytes. Kernels with a table exist in both sizes.
#pragma once
#include "common.cuh"

#if __CUDACC_VER_MAJOR__ > 12 || (__CUDACC_VER_MAJOR__ == 12 && __CUDACC_VER_MINOR__ >= 1)
#define LARGE_ARGUMENTS 1
#endif

// The last job whose first chunk is not above this one.
template <class Arguments>
__device__ inline int32 findJob(const Arguments& arguments, int32 chunk)
{
    int32 low = 0;
    int32 high = arguments.jobCount - 1;
    while (low < high)
    {
        int32 middle = (low + high + 1) / 2;
        if (arguments.jobs[middle].firstChunk <= chunk)
        {
            low = middle;
        }
        else
        {
            high = middle - 1;
        }
    }

    return low;
}
