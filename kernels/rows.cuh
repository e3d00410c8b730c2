// Walking over [rows, pitch] arrays: every thread owns 16 bytes of neighbouring channels, four of float32, and visits rows.
//
// Launch: blocks of 256 threads, x over the threads' channels (a power of two of threads, at most 64), y over rows; the grid has enough blocks in x for all channels and cuts the
// rows into slabs in y. Neighbouring threads touch neighbouring addresses where the channels fill x, and no index needs a division.
#pragma once
#include "common.cuh"

// The first of the channels that the thread owns.
template <int owned = 4>
__device__ inline int32 firstChannel()
{
    return owned * static_cast<int32>(blockIdx.x * blockDim.x + threadIdx.x);
}

// The rows of a thread that strides over the whole array.
__device__ inline int32 firstRow()
{
    return static_cast<int32>(blockIdx.y * blockDim.y + threadIdx.y);
}

__device__ inline int32 rowStep()
{
    return static_cast<int32>(gridDim.y * blockDim.y);
}

// function(i, i·step) for those of the next `count` rows of a thread that are among the `left` ones. A thread that calls it once to load and once to compute has all its loads under way at a time.
template <int count, class Function>
__device__ inline void forEachRow(int32 left, int32 step, Function function)
{
#pragma unroll
    for (int i = 0; i < count; i++)
    {
        if (i * step < left)
        {
            function(i, i * step);
        }
    }
}

// How many rows a thread has under way in most kernels: with 16 bytes a row, 512 resident threads keep 32 KB of loads in flight, twice what a multiprocessor's share of memory takes.
constexpr int rowsAtOnce = 4;

// Where a warp takes a row instead: its first row, and how many rows all warps of the grid take at once.
__device__ inline int32 warpRow()
{
    return blockIdx.x * (blockDim.x / lanes) + threadIdx.x / lanes;
}

__device__ inline int32 warpRows()
{
    return gridDim.x * (blockDim.x / lanes);
}

__device__ inline float4 loadFour(const float* address)
{
    return *reinterpret_cast<const float4*>(address);
}

__device__ inline void storeFour(float* address, float4 value)
{
    *reinterpret_cast<float4*>(address) = value;
}

__device__ inline float4 operator+(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

__device__ inline float4 operator*(float4 a, float4 b)
{
    return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}

__device__ inline float4 operator*(float4 a, float b)
{
    return make_float4(a.x * b, a.y * b, a.z * b, a.w * b);
}

__device__ inline float4 fmaFour(float4 a, float4 b, float4 c)
{
    return make_float4(fmaf(a.x, b.x, c.x), fmaf(a.y, b.y, c.y), fmaf(a.z, b.z, c.z), fmaf(a.w, b.w, c.w));
}

__device__ inline float4 fillFour(float value)
{
    return make_float4(value, value, value, value);
}

// Zeros in place of what lies in the padding.
__device__ inline float4 withoutPadding(float4 value, int32 channel, int32 channels)
{
    value.x = channel < channels ? value.x : 0.0f;
    value.y = channel + 1 < channels ? value.y : 0.0f;
    value.z = channel + 2 < channels ? value.z : 0.0f;
    value.w = channel + 3 < channels ? value.w : 0.0f;
    return value;
}
