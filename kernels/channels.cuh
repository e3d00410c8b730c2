// The neighbouring channels of a row that one thread owns: 16 bytes of the array, which are four float32 or eight bfloat16. Arithmetic is float32 whatever is stored; a result that is
// stored as bfloat16 is rounded once, to nearest even.
//
// Kernels over such arrays are templates over the stored type. A piece is what a thread loads and stores, `Channels` holds its values; arrays that are float32 under every policy, such as saved statistics, are read for
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

// The 16 bytes of a thread as they are stored: a word holds one float32, or two bfloat16.
__device__ inline uint4 loadPiece(const void* address)
{
    return *static_cast<const uint4*>(address);
}

__device__ inline void storePiece(void* address, uint4 piece)
{
    *static_cast<uint4*>(address) = piece;
}

__device__ inline uint4 fillPiece(uint32 word)
{
    return make_uint4(word, word, word, word);
}

// f(0), f(1), f(2), f(3), as the words of a piece.
template <class Function>
__device__ inline uint4 eachWord(Function function)
{
    return make_uint4(function(0), function(1), function(2), function(3));
}

__device__ inline uint32 wordOf(uint4 piece, int i)
{
    return i == 0 ? piece.x : i == 1 ? piece.y : i == 2 ? piece.z : piece.w;
}

template <class Stored>
__device__ inline Channels<ownedChannels<Stored>> unpackPiece(uint4 piece)
{
    constexpr int ofWord = ownedChannels<Stored> / 4;
    return eachChannel<ownedChannels<Stored>>([&](int i) {
        uint32 word = wordOf(piece, i / ofWord);
        return ofWord == 1 ? __uint_as_float(word) : i % 2 == 0 ? lowerBf16(word) : upperBf16(word);
    });
}

__device__ inline uint4 packPiece(const Channels<4>& values)
{
    return eachWord([&](int i) { return __float_as_uint(values.at[i]); });
}

__device__ inline uint4 packPiece(const Channels<8>& values)
{
    return eachWord([&](int i) { return packBf16(values.at[2 * i], values.at[2 * i + 1]); });
}

// The larger values of two pieces; what is not a number wins, and +0 wins against −0.
template <class Stored>
__device__ inline uint4 largerPiece(uint4 a, uint4 b)
{
    return eachWord([&](int i) {
        uint32 larger;
        if (sizeof(Stored) == 4)
        {
            asm("max.NaN.f32 %0, %1, %2;" : "=r"(larger) : "r"(wordOf(a, i)), "r"(wordOf(b, i)));
        }
        else
        {
            asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(larger) : "r"(wordOf(a, i)), "r"(wordOf(b, i)));
        }

        return larger;
    });
}

// A value in every channel of a piece; it must be one that bfloat16 holds.
template <class Stored>
__device__ inline uint4 fillPiece(float value)
{
    uint32 bits = __float_as_uint(value);
    return fillPiece(sizeof(Stored) == 4 ? bits : bits | bits >> 16);
}

// A thread's channels of all rows of an array.
template <class Stored>
struct Column
{
    const Stored* start;
    int32 rowBytes;

    __device__ Column(const void* array, int32 channel, int32 pitch) : start(static_cast<const Stored*>(array) + channel), rowBytes(pitch * static_cast<int32>(sizeof(Stored))) {}
    __device__ const Stored* at(int32 row) const { return advance(start, row, rowBytes); }
    __device__ uint4 load(int32 row) const { return loadPiece(at(row)); }
    __device__ void store(int32 row, uint4 piece) const { storePiece(const_cast<Stored*>(at(row)), piece); }
};

__device__ inline Channels<4> loadChannels(const float* address)
{
    return loadFloats<4>(address);
}

__device__ inline void storeChannels(float* address, const Channels<4>& values)
{
    storeFloats(address, values);
}

__device__ inline Channels<8> loadChannels(const BFloat16* address)
{
    return unpackPiece<BFloat16>(loadPiece(address));
}

__device__ inline void storeChannels(BFloat16* address, const Channels<8>& values)
{
    storePiece(address, packPiece(values));
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

// Where a map sends a thread's channels: nowhere beyond its end and where it is negative.
template <class Stored>
struct ChannelMap
{
    static constexpr int owned = ownedChannels<Stored>;

    int32 at[owned];  // 0 for nowhere
    uint32 masks[4];  // of the words of a piece: zeros for nowhere

    __device__ ChannelMap(const int32* map, int32 channel, int32 channels)
    {
        constexpr int ofWord = owned / 4;
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            masks[i] = 0;
        }

#pragma unroll
        for (int i = 0; i < owned; i++)
        {
            int32 to = map != nullptr && channel + i < channels ? map[channel + i] : -1;
            at[i] = max(to, 0);
            masks[i / ofWord] |= to < 0 ? 0 : ofWord == 1 ? 0xFFFFFFFF : 0xFFFFu << (i % ofWord * 16);
        }
    }

    // A piece of elements of a row, which has at least one, through the map; zero for nowhere.
    __device__ uint4 gather(const Stored* row) const
    {
        return eachWord([&](int i) { return gatherWord(row, i) & masks[i]; });
    }

private:
    __device__ uint32 gatherWord(const float* row, int i) const { return __float_as_uint(*advance(row, at[i], 4)); }
    __device__ uint32 gatherWord(const BFloat16* row, int i) const { return element(row, 2 * i) | static_cast<uint32>(element(row, 2 * i + 1)) << 16; }
    __device__ unsigned short element(const BFloat16* row, int i) const { return advance(row, at[i], 2)->bits; }
};
