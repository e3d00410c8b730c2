// What becomes of a finished tile of a convolution on tensor cores. The sums have passed through shared memory, [rows][stagedPitch], so that a thread finishes 16 bytes of one pixel at a time and
// always the same channels.
#pragma once
#include "tensor_gather.cuh"

// 16 bytes of a result, as float32.
template <class Element>
struct Values
{
    float values[Element::ofChunk];

    __device__ void load(const void* address) { unpack(*static_cast<const uint4*>(address)); }

    __device__ void loadFloats(const float* address)
    {
#pragma unroll
        for (int i = 0; i < Element::ofChunk; i += 4)
        {
            float4 four = *reinterpret_cast<const float4*>(address + i);
            values[i] = four.x;
            values[i + 1] = four.y;
            values[i + 2] = four.z;
            values[i + 3] = four.w;
        }
    }

    // Elements of a row through a channel map; zero where the map is negative.
    __device__ void gather(const char* row, const int32 (&map)[Element::ofChunk])
    {
#pragma unroll
        for (int i = 0; i < Element::ofChunk; i++)
        {
            values[i] = map[i] < 0                ? 0.0f
                : Element::bytes == 4 ? reinterpret_cast<const float*>(row)[map[i]]
                                      : lowerBf16(reinterpret_cast<const unsigned short*>(row)[map[i]]);
        }
    }

    // As stored.
    __device__ uint4 pack() const
    {
        return Element::bytes == 2 ? make_uint4(
                                         packBf16(values[0], values[1]), packBf16(values[2], values[3]), packBf16(values[Element::ofChunk - 4], values[Element::ofChunk - 3]),
                                         packBf16(values[Element::ofChunk - 2], values[Element::ofChunk - 1]))
                                   : make_uint4(__float_as_uint(values[0]), __float_as_uint(values[1]), __float_as_uint(values[2]), __float_as_uint(values[3]));
    }

    __device__ void unpack(const uint4& words)
    {
        uint32 all[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
        for (int i = 0; i < Element::ofChunk; i++)
        {
            uint32 word = all[i * Element::bytes / 4];
            values[i] = Element::bytes == 4 ? __uint_as_float(word) : i % 2 == 0 ? lowerBf16(word) : upperBf16(word);
        }
    }
};

// Greater and smaller of stored values, two bfloat16 at once; of a number and NaN, the number.
template <class Element>
__device__ inline uint32 greater(uint32 a, uint32 b)
{
    return Element::bytes == 4 ? __float_as_uint(fmaxf(__uint_as_float(a), __uint_as_float(b))) : maximumBf16(a, b);
}

template <class Element>
__device__ inline uint32 smaller(uint32 a, uint32 b)
{
    return Element::bytes == 4 ? __float_as_uint(fminf(__uint_as_float(a), __uint_as_float(b))) : minimumBf16(a, b);
}

// Which part of a finished tile a thread walks through: one chunk of channels, and every `down`-th row.
template <class T>
struct Finish
{
    using Element = typename T::Element;

    enum
    {
        across = T::columns / Element::ofChunk,
        down = T::threads / across,
    };

    const TensorConvolutionArguments& arguments;
    const int32* positions; // of the rows, in pixels
    const float* staged;
    int32 column;       // of the tile
    int32 channelOfAll; // of the result
    bool writes;        // whether the channels exist, as padding at least
    int32 channels;     // of the thread's that are more than padding
    int32 pitchBytes;
    char* output;       // of pixel 0
    uint4 kept;         // ones where channels are more than padding

    __device__ Finish(const TensorConvolutionArguments& arguments, const Pixels<T>& pixels, const float* staged, int32 group, int32 firstColumn)
        : arguments(arguments), positions(pixels.positions), staged(staged), column(threadIdx.x % across * Element::ofChunk),
          channelOfAll(group * arguments.outputChannels + firstColumn + column), pitchBytes(arguments.outputPitch * Element::bytes),
          output(static_cast<char*>(arguments.output) + channelOfAll * Element::bytes)
    {
        int32 channel = firstColumn + column;
        writes = column < arguments.tileWidth && channel < written(arguments, group);
        channels = arguments.outputChannels - channel;
        kept = make_uint4(keptOf(0), keptOf(1), keptOf(2), keptOf(3));
    }

    // Channels of a group that are written: the last one writes the zeros of the padding.
    __device__ static int32 written(const TensorConvolutionArguments& arguments, int32 group)
    {
        return group == arguments.groups - 1 ? arguments.outputPitch - group * arguments.outputChannels : arguments.outputChannels;
    }

    // The mask of a word.
    __device__ uint32 keptOf(int word) const
    {
        return Element::bytes == 4 ? (word < channels ? 0xFFFFFFFFu : 0) : (2 * word < channels ? 0xFFFFu : 0) | (2 * word + 1 < channels ? 0xFFFF0000u : 0);
    }

    __device__ static int32 firstRow() { return threadIdx.x / across; }

    // Channel values of a per-channel array, zero in the padding.
    __device__ void ofChannels(float (&values)[Element::ofChunk], const float* array) const
    {
#pragma unroll
        for (int i = 0; i < Element::ofChunk; i++)
        {
            values[i] = writes && i < channels ? array[channelOfAll + i] : 0.0f;
        }
    }

    __device__ void load(Values<Element>& value, int32 row) const { value.loadFloats(staged + row * T::stagedPitch + column); }

    // What is written, zero in the padding whatever the sums are.
    __device__ uint4 words(const Values<Element>& value) const
    {
        uint4 words = value.pack();
        return make_uint4(words.x & kept.x, words.y & kept.y, words.z & kept.z, words.w & kept.w);
    }

    // The residual's channels for the thread's; −1 for none, and in the padding.
    __device__ void residualChannels(int32 (&map)[Element::ofChunk]) const
    {
#pragma unroll
        for (int i = 0; i < Element::ofChunk; i++)
        {
            map[i] = arguments.map != nullptr && writes && i < channels ? arguments.map[channelOfAll + i] : -1;
        }
    }

    __device__ const char* residual(int32 position) const
    {
        return static_cast<const char*>(arguments.residual) + static_cast<int64>(position) * arguments.residualPitch * Element::bytes;
    }

    __device__ uint4* target(int32 row) const { return reinterpret_cast<uint4*>(output + static_cast<int64>(positions[row]) * pitchBytes); }
};

// Moments and extrema of some values; the moments are sums of differences from a pivot, and of their squares.
struct Extent
{
    float sum;
    float squares;
    float maximum;
    float minimum;

    __device__ void merge(const Extent& other)
    {
        sum += other.sum;
        squares += other.squares;
        maximum = fmaxf(maximum, other.maximum);
        minimum = fminf(minimum, other.minimum);
    }
};

// Moments and extrema of a thread's channels over its rows.
template <class Element>
struct ChunkExtents
{
    float sums[Element::ofChunk];
    float squares[Element::ofChunk];
    uint32 maxima[4]; // as stored
    uint32 minima[4];

    __device__ ChunkExtents()
    {
#pragma unroll
        for (int i = 0; i < Element::ofChunk; i++)
        {
            sums[i] = squares[i] = 0;
        }

#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            maxima[i] = Element::bytes == 4 ? 0xFF800000u : 0xFF80FF80u;
            minima[i] = Element::bytes == 4 ? 0x7F800000u : 0x7F807F80u;
        }
    }

    __device__ void add(const uint4& words, const Values<Element>& pivot)
    {
        Values<Element> stored;
        stored.unpack(words);
#pragma unroll
        for (int i = 0; i < Element::ofChunk; i++)
        {
            float difference = stored.values[i] - pivot.values[i];
            sums[i] += difference;
            squares[i] = fmaf(difference, difference, squares[i]);
        }

        uint32 all[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            maxima[i] = greater<Element>(maxima[i], all[i]);
            minima[i] = smaller<Element>(minima[i], all[i]);
        }
    }

    // With the lane that far away.
    __device__ void merge(int distance)
    {
#pragma unroll
        for (int i = 0; i < Element::ofChunk; i++)
        {
            sums[i] += __shfl_xor_sync(0xFFFFFFFFu, sums[i], distance);
            squares[i] += __shfl_xor_sync(0xFFFFFFFFu, squares[i], distance);
        }

#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            maxima[i] = greater<Element>(maxima[i], __shfl_xor_sync(0xFFFFFFFFu, maxima[i], distance));
            minima[i] = smaller<Element>(minima[i], __shfl_xor_sync(0xFFFFFFFFu, minima[i], distance));
        }
    }

    __device__ Extent at(int i) const
    {
        uint32 maximum = maxima[i * Element::bytes / 4];
        uint32 minimum = minima[i * Element::bytes / 4];
        return Element::bytes == 4 ? Extent{sums[i], squares[i], __uint_as_float(maximum), __uint_as_float(minimum)}
            : i % 2 == 0           ? Extent{sums[i], squares[i], lowerBf16(maximum), lowerBf16(minimum)}
                                   : Extent{sums[i], squares[i], upperBf16(maximum), upperBf16(minimum)};
    }
};

// Statistics of a tile's channels, from what its warps have left in the scratch memory: a thread a channel.
template <class T>
__device__ inline void finishStatistics(const TensorConvolutionArguments& arguments, const float* staged, const float4* scratch, int32 group, int32 firstColumn, int32 tileOfRows, int32 rowsHere)
{
    int32 channel = firstColumn + threadIdx.x;
    if (threadIdx.x >= arguments.tileWidth || channel >= Finish<T>::written(arguments, group))
    {
        return;
    }

    Extent all = {0.0f, 0.0f, -__int_as_float(0x7F800000), __int_as_float(0x7F800000)};
#pragma unroll
    for (int warp = 0; warp < T::warps; warp++)
    {
        float4 part = scratch[warp * T::columns + threadIdx.x];
        all.merge({part.x, part.y, part.z, part.w});
    }

    float pivot = T::Element::bytes == 2 ? lowerBf16(packBf16(staged[threadIdx.x], 0.0f)) : staged[threadIdx.x];
    double mean = static_cast<double>(all.sum) / rowsHere;
    float* target = arguments.statistics + static_cast<int64>(tileOfRows) * 4 * arguments.outputPitch + group * arguments.outputChannels + channel;
    target[0] = static_cast<float>(pivot + mean);
    target[arguments.outputPitch] = static_cast<float>(all.squares - all.sum * mean);
    target[2 * arguments.outputPitch] = all.maximum;
    target[3 * arguments.outputPitch] = all.minimum;
}

template <class T>
__device__ inline void finishForward(const Finish<T>& finish, int32 rowsHere)
{
    if (!finish.writes)
    {
        return;
    }

#pragma unroll 4
    for (int32 row = finish.firstRow(); row < rowsHere; row += Finish<T>::down)
    {
        Values<typename T::Element> value;
        finish.load(value, row);
        *finish.target(row) = finish.words(value);
    }
}

// The same with the statistics of what is stored. The scratch memory, [warps][columns], is there for all threads when this returns.
template <class T>
__device__ inline void finishObserved(const Finish<T>& finish, float4* scratch, int32 rowsHere)
{
    using Element = typename T::Element;
    ChunkExtents<Element> extents;
    if (finish.writes)
    {
        Values<Element> pivot;
        finish.load(pivot, 0);
        pivot.unpack(finish.words(pivot));
#pragma unroll 2
        for (int32 row = finish.firstRow(); row < rowsHere; row += Finish<T>::down)
        {
            Values<Element> value;
            finish.load(value, row);
            uint4 words = finish.words(value);
            *finish.target(row) = words;
            extents.add(words, pivot);
        }
    }

    // Lanes with the same channels first, then warps, in order.
#pragma unroll
    for (int distance = Finish<T>::across; distance < lanes; distance *= 2)
    {
        extents.merge(distance);
    }

    if (finish.writes && threadIdx.x % lanes < Finish<T>::across)
    {
#pragma unroll
        for (int i = 0; i < Element::ofChunk; i++)
        {
            Extent extent = extents.at(i);
            scratch[threadIdx.x / lanes * T::columns + finish.column + i] = make_float4(extent.sum, extent.squares, extent.maximum, extent.minimum);
        }
    }

    __syncthreads();
}

// Negative values become exactly +0 under ReLU, whose slope of 0 would give −0; the slope of the identity is 1.
__device__ inline float rectify(float value, float slope)
{
    return value < 0.0f ? (slope == 0.0f ? 0.0f : value * slope) : value;
}

// Rows of the folded pass.
template <class T, bool mapped>
__device__ inline void finishFoldedRows(const Finish<T>& finish, LargestSeen<typename T::Element::Stored>& seen, int32 rowsHere)
{
    using Element = typename T::Element;
    const TensorConvolutionArguments& arguments = finish.arguments;
    float scale[Element::ofChunk];
    float shift[Element::ofChunk];
    int32 map[Element::ofChunk];
    finish.ofChannels(scale, arguments.saved + 2 * arguments.outputPitch);
    finish.ofChannels(shift, arguments.saved + 3 * arguments.outputPitch);
    if (mapped)
    {
        finish.residualChannels(map);
    }

    float slope = arguments.rectifies != 0 ? arguments.slope : 1.0f;
#pragma unroll 2
    for (int32 row = finish.firstRow(); row < rowsHere; row += Finish<T>::down)
    {
        Values<Element> value;
        finish.load(value, row);
        Values<Element> residual = {};
        if (arguments.residual != nullptr)
        {
            const char* from = finish.residual(finish.positions[row]);
            if (mapped)
            {
                residual.gather(from, map);
            }
            else
            {
                residual.load(from + finish.channelOfAll * Element::bytes);
            }
        }

#pragma unroll
        for (int i = 0; i < Element::ofChunk; i++)
        {
            value.values[i] = rectify(fmaf(value.values[i], scale[i], shift[i]) + residual.values[i], slope);
        }

        uint4 words = finish.words(value);
        *finish.target(row) = words;
        seen.add(words);
    }
}

template <class T>
__device__ inline void finishFolded(const Finish<T>& finish, uint32* active, int32 rowsHere)
{
    const TensorConvolutionArguments& arguments = finish.arguments;
    LargestSeen<typename T::Element::Stored> seen(arguments.activity);
    if (finish.writes && arguments.map != nullptr)
    {
        finishFoldedRows<T, true>(finish, seen, rowsHere);
    }
    else if (finish.writes)
    {
        finishFoldedRows<T, false>(finish, seen, rowsHere);
    }

    if (arguments.activity.flags == nullptr)
    {
        return;
    }

    if (threadIdx.x < Finish<T>::across)
    {
        active[threadIdx.x] = 0;
    }

    __syncthreads();
    if (finish.writes && finish.firstRow() < rowsHere)
    {
        uint32 real = (1u << max(min(finish.channels, static_cast<int32>(T::Element::ofChunk)), 0)) - 1;
        uint32 bits = seen.bits(arguments.activity) & real;
        atomicOr(active + threadIdx.x % Finish<T>::across, bits);
    }

    __syncthreads();
    if (threadIdx.x < Finish<T>::across && active[threadIdx.x] != 0)
    {
        atomicOr(arguments.activity.flags + finish.channelOfAll / 32, active[threadIdx.x] << (finish.channelOfAll % 32));
    }
}

template <class T, bool mapped>
__device__ inline void finishGradientRows(const Finish<T>& finish, int32 rowsHere)
{
    int32 map[T::Element::ofChunk];
    if (mapped)
    {
        finish.residualChannels(map);
    }

#pragma unroll(mapped ? 2 : 4)
    for (int32 row = finish.firstRow(); row < rowsHere; row += Finish<T>::down)
    {
        Values<typename T::Element> value;
        finish.load(value, row);
        uint4* target = finish.target(row);
        if (mapped || finish.arguments.accumulate != 0)
        {
            Values<typename T::Element> old;
            if (mapped)
            {
                old.gather(finish.residual(finish.positions[row]), map);
            }
            else
            {
                old.load(target);
            }

#pragma unroll
            for (int i = 0; i < T::Element::ofChunk; i++)
            {
                value.values[i] += old.values[i];
            }
        }

        *target = finish.words(value);
    }
}

template <class T>
__device__ inline void finishGradient(const Finish<T>& finish, int32 rowsHere)
{
    if (!finish.writes)
    {
        return;
    }

    if (finish.arguments.residual != nullptr)
    {
        finishGradientRows<T, true>(finish, rowsHere);
    }
    else
    {
        finishGradientRows<T, false>(finish, rowsHere);
    }
}
