// Which channels were active: one bit a channel, found by the thread that computes the value and combined by OR, first in the block, then in the result.
#pragma once
#include "channels.cuh"

struct Activity
{
    uint32* flags;   // one word for 32 channels; null if nobody asks
    int32 magnitude; // 1: |value| ≥ threshold counts; 0: value > threshold
    float threshold;
};

// What is not a number counts as active: the run has diverged and must be seen to, not pruned.
__device__ inline bool isActive(const Activity& activity, float value)
{
    return activity.magnitude != 0 ? !(fabsf(value) < activity.threshold) : !(value <= activity.threshold);
}

template <int count>
__device__ inline uint32 activeBits(const Activity& activity, const Channels<count>& values)
{
    uint32 bits = 0;
#pragma unroll
    for (int i = 0; i < count; i++)
    {
        bits |= isActive(activity, values.at[i]) ? 1u << i : 0u;
    }

    return bits;
}

// The largest values, or magnitudes, that a thread has seen in its channels: they are active if any value was, since what is not a number is the largest.
template <class Stored>
struct LargestSeen
{
    uint32 mask; // without the signs, where magnitudes count
    uint4 values;

    __device__ LargestSeen(const Activity& activity)
        : mask(activity.magnitude == 0 ? 0xFFFFFFFF : sizeof(Stored) == 4 ? 0x7FFFFFFF : 0x7FFF7FFF),
          values(activity.magnitude == 0 ? fillPiece<Stored>(__uint_as_float(0xFF800000)) : fillPiece(0u))
    {
    }

    __device__ void add(uint4 piece)
    {
        values = largerPiece<Stored>(values, eachWord([&](int i) { return wordOf(piece, i) & mask; }));
    }

    // After at least one piece.
    __device__ uint32 bits(const Activity& activity) const { return activeBits(activity, unpackPiece<Stored>(values)); }
};

// Called by all threads of the block with the bits of the channels they own. Integer OR gives the same bits in any order.
template <int owned>
__device__ inline void reportActivity(const Activity& activity, uint32 bits, int32 channel, int32 channels)
{
    __shared__ uint32 active[64];
    if (threadIdx.y == 0)
    {
        active[threadIdx.x] = 0;
    }

    __syncthreads();
    if (bits != 0)
    {
        atomicOr(active + threadIdx.x, bits);
    }

    __syncthreads();
    if (threadIdx.y == 0 && channel < channels)
    {
        uint32 real = (1u << min(channels - channel, owned)) - 1;
        uint32 word = (active[threadIdx.x] & real) << (channel % 32);
        if (word != 0)
        {
            atomicOr(activity.flags + channel / 32, word);
        }
    }
}
