// The neighbouring channels of a row that one thread owns: 16 bytes of the array, which are four float32 or eight bfloat16. Arithmetic is float32 whatever is stored; a result that is
// stored as bfloat16 is rounded once, to nearest even.
//
// Kernels over such arrays are templates over the stored type. `Channels` holds the values of a thread; arrays that are float32 under every policy, such as saved statistics, are read for
// the same channels with loadFloats.
#pragma once
#include "rows.cuh"
#include "tensor_core.cuh"

// An element of an array of bfloat16: the upper half of a float32.
struct BFloat16
{
    unsigned short bits;
};

// How many channels a thread owns.
template <class Stored>
constexpr int ownedChannels = 16 / sizeof(Stored);

template <int count>
struct Channels
{
    float at[count];
};

// f(0), f(1), …, as the values of channels.
template <int count, class Function>
__device__ inline Channels<count> eachChannel(Function function)
{
    Channels<count> result;
#pragma unroll
    for (int i = 0; i < count; i++)
    {
        result.at[i] = function(i);
    }

    return result;
}

template <int count>
__device__ inline Channels<count> fillChannels(float value)
{
    return eachChannel<count>([=](int) { return value; });
}

template <int count>
__device__ inline Channels<count> operator+(const Channels<count>& a, const Channels<count>& b)
{
    return eachChannel<count>([&](int i) { return a.at[i] + b.at[i]; });
}

template <int count>
__device__ inline Channels<count> operator-(const Channels<count>& a, const Channels<count>& b)
{
    return eachChannel<count>([&](int i) { return a.at[i] - b.at[i]; });
}

template <int count>
__device__ inline Channels<count> operator*(const Channels<count>& a, float b)
{
    return eachChannel<count>([&](int i) { return a.at[i] * b; });
}

template <int count>
__device__ inline Channels<count> fmaChannels(const Channels<count>& a, const Channels<count>& b, const Channels<count>& c)
{
    return eachChannel<count>([&](int i) { return fmaf(a.at[i], b.at[i], c.at[i]); });
}

// The channels' values in an array of float32, whatever the kernel's stored type is.
template <int count>
__device__ inline Channels<count> loadFloats(const float* address)
{
    Channels<count> values;
#pragma unroll
    for (int i = 0; i < count; i += 4)
    {
        float4 four = loadFour(address + i);
        values.at[i] = four.x;
        values.at[i + 1] = four.y;
        values.at[i + 2] = four.z;
        values.at[i + 3] = four.w;
    }

    return values;
}

template <int count>
__device__ inline void storeFloats(float* address, const Channels<count>& values)
{
#pragma unroll
    for (int i = 0; i < count; i += 4)
    {
        storeFour(address + i, make_float4(values.at[i], values.at[i + 1], values.at[i + 2], values.at[i + 3]));
    }
}

__device__ inline Channels<4> loadChannels(const float* address)
{
    return loadFloats<4>(address);
}

// Stores the values and gives them back as they then stand in the array.
__device__ inline Channels<4> storeChannels(float* address, const Channels<4>& values)
{
    storeFloats(address, values);
    return values;
}

__device__ inline Channels<8> unpackChannels(uint4 pairs)
{
    return {{lowerBf16(pairs.x), upperBf16(pairs.x), lowerBf16(pairs.y), upperBf16(pairs.y), lowerBf16(pairs.z), upperBf16(pairs.z), lowerBf16(pairs.w), upperBf16(pairs.w)}};
}

__device__ inline Channels<8> loadChannels(const BFloat16* address)
{
    return unpackChannels(*reinterpret_cast<const uint4*>(address));
}

__device__ inline Channels<8> storeChannels(BFloat16* address, const Channels<8>& values)
{
    uint4 pairs = make_uint4(
        packBf16(values.at[0], values.at[1]), packBf16(values.at[2], values.at[3]), packBf16(values.at[4], values.at[5]), packBf16(values.at[6], values.at[7]));
    *reinterpret_cast<uint4*>(address) = pairs;
    return unpackChannels(pairs);
}

// One element.
__device__ inline float loadElement(const float* address) { return *address; }
__device__ inline float loadElement(const BFloat16* address) { return lowerBf16(address->bits); }
__device__ inline void storeElement(float* address, float value) { *address = value; }
__device__ inline void storeElement(BFloat16* address, float value) { address->bits = static_cast<unsigned short>(packBf16(value, 0.0f)); }

// Zeros in place of what lies in the padding.
template <int count>
__device__ inline Channels<count> withoutPadding(const Channels<count>& values, int32 channel, int32 channels)
{
    return eachChannel<count>([&](int i) { return channel + i < channels ? values.at[i] : 0.0f; });
}

// Where a map sends the channels: −1 beyond its end.
template <int count>
struct ChannelMap
{
    int32 at[count];

    __device__ ChannelMap(const int32* map, int32 channel, int32 channels)
    {
#pragma unroll
        for (int i = 0; i < count; i++)
        {
            at[i] = map != nullptr && channel + i < channels ? map[channel + i] : -1;
        }
    }

    // Elements of a row through the map: zero where it is negative.
    template <class Stored>
    __device__ Channels<count> gather(const Stored* row) const
    {
        return eachChannel<count>([&](int i) { return at[i] < 0 ? 0.0f : loadElement(row + at[i]); });
    }
};
