// The place of the largest element of a row.
#pragma once
#include "common.cuh"

// The first of the largest elements, found by a whole warp; all lanes get it. What is not a number never wins, but a first element that is none stays, as on the host.
__device__ inline int32 firstOfLargest(const float* row, int32 count)
{
    const int32 none = 0x7FFFFFFF;
    float largest = __int_as_float(0xFF800000);
    int32 index = none;
    for (int32 i = threadIdx.x % lanes; i < count; i += lanes)
    {
        if (row[i] > largest || (index == none && row[i] == largest))
        {
            largest = row[i];
            index = i;
        }
    }

    for (int distance = lanes / 2; distance > 0; distance /= 2)
    {
        float other = __shfl_xor_sync(0xFFFFFFFFu, largest, distance);
        int32 otherIndex = __shfl_xor_sync(0xFFFFFFFFu, index, distance);
        if (other > largest || (other == largest && otherIndex < index))
        {
            largest = other;
            index = otherIndex;
        }
    }

    return index == none || row[0] != row[0] ? 0 : index;
}
