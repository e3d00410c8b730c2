// Convolutions on tensor cores: forward pass and data gradient as implicit matrix products, images NHWC, filters [out, kernelHeight, kernelWidth, in/groups]; formulas as in convolution.cu.
//
//   …Bf16   images, filters and results bfloat16 in memory
//   …Tf32   float32 in memory, operands rounded to TF32 on the way to the tensor cores
//
// Both are products C[pixels, channels] whose left side is gathered from an image while it is copied to shared memory, 16 bytes at a time. Depth is (tap, source channel), a tap's channels rounded up
// to 8 bf16 or 4 float32: 37 channels cost 40. Where a pixel's window begins and which of its taps lie inside the image is found once, two words a pixel in shared memory; the loop adds an offset and
// tests two bits. In the data gradient the pixels fall into stride·stride classes that meet the same taps everywhere.
//
// The finished tile passes through shared memory, so that a thread finishes 16 bytes of one pixel at a time and always the same channels:
//   forward          y = sum + bias; where statistics are wanted, also mean, Σ(x − mean)², maximum and minimum over the tile's pixels of each channel of the stored values, [tiles][4][pitch]
//   forward, folded  y = f(scale·(sum + bias) + shift + residual), with activity: a whole convolution, normalization by running statistics, sum and activation
//   data gradient    ∂x = sum, or ∂x + sum, or sum + what a mapped shortcut brings: its gradient at the residual sum, through the inverse map
//
// Launch: a block of 128 threads a tile (tensor_tile.cuh), tiles of the same pixels next to each other in x, (class, group) in z. Groups must be multiples of 8 channels; a filter at most 16 × 16.
//
// Moved: the source from the second-level cache once a tap and a column of tiles, from memory about once; the filters once a row of tiles, cached; the result once. Limits of a multiprocessor per 32
// bytes of depth, in clocks, on a device with 2,560 operations of mma.sync (bf16) and 128 bytes of shared memory a clock: 128 × 128 and 256 × 64 tiles multiply for 205 and move shared memory for 192
// and 208; 128 × 64 multiply for 102 and move for 144. From about 64 channels on the large tiles are limited by arithmetic, below by shared memory, 1 × 1 filters by memory.
#include "activity.cuh"
#include "axis.cuh"
#include "counter.cuh"
#include "extent.cuh"
#include "tensor_tile.cuh"

struct TensorConvolutionArguments
{
    const void* source; // x, or ∂y
    const void* weight;
    const float* bias; // or null
    void* output;      // y, or ∂x
    float* statistics; // [tiles][4][pitch], or null
    const float* saved;   // [4][pitch] of a normalization that is folded in, or null
    const void* residual; // or null; in the data gradient a mapped shortcut's gradient
    const int32* map;     // the residual's channel for each of the output, negative for none; null for the identity
    Activity activity;
    int32 batch;
    int32 sourceHeight;
    int32 sourceWidth;
    int32 sourcePitch;
    int32 sourceChannels; // of a group
    int32 outputHeight;
    int32 outputWidth;
    int32 outputPitch;
    int32 outputChannels; // of a group
    int32 groups;
    int32 kernelHeight;
    int32 kernelWidth;
    int32 weightPitch;
    int32 strideHeight;
    int32 strideWidth;
    int32 paddingHeight;
    int32 paddingWidth;
    int32 dilationHeight;
    int32 dilationWidth;
    int32 columnTiles;
    int32 tileWidth; // columns of a block
    int32 accumulate;
    int32 residualPitch;
    int32 rectifies; // 1: negative values are multiplied by the slope (0 for ReLU)
    float slope;
};

// What a block must know of its pixels. Beyond the last pixel no tap is inside and the position is negative.
template <class T>
struct Pixels
{
    int2 windows[T::rows];    // x: the first source position, in chunks; it may lie outside of the image. y: bit t, row t of the taps is inside; bit 16 + t, column t
    int32 positions[T::rows]; // of the result, in pixels

    __device__ void find(const TensorConvolutionArguments& arguments, const Axis& vertical, const Axis& horizontal, int32 first, int32 pixels)
    {
        for (int32 row = threadIdx.x; row < T::rows; row += T::threads)
        {
            int32 corner = 0;
            uint32 bits = 0;
            int32 position = -1;
            if (first + row < pixels)
            {
                Counter place(first + row, vertical.pixels, horizontal.pixels);
                int32 y = vertical.origin + place.middle * vertical.pixelStep;
                int32 x = horizontal.origin + place.inner * horizontal.pixelStep;
                corner = ((place.outer * arguments.sourceHeight + y) * arguments.sourceWidth + x) * (arguments.sourcePitch / T::Element::ofChunk);
                bits = tapsInside(y, vertical, arguments.sourceHeight) | tapsInside(x, horizontal, arguments.sourceWidth) << 16;
                position = (place.outer * arguments.outputHeight + vertical.phase + place.middle * vertical.positionStep) * arguments.outputWidth + horizontal.phase
                    + place.inner * horizontal.positionStep;
            }

            windows[row] = make_int2(corner, static_cast<int32>(bits));
            positions[row] = position;
        }

        __syncthreads();
    }

    __device__ static uint32 tapsInside(int32 origin, const Axis& axis, int32 extent)
    {
        uint32 bits = 0;
        for (int32 tap = 0; tap < axis.taps; tap++)
        {
            bits |= static_cast<uint32>(origin + tap * axis.tapStep) < static_cast<uint32>(extent) ? 1u << tap : 0u;
        }

        return bits;
    }
};

// Copies the gathered image: a thread always copies the same chunk of a step, and so walks through the taps with one counter.
template <class T>
struct Gather
{
    const TensorConvolutionArguments& arguments;
    const Axis& vertical;
    const Axis& horizontal;
    const Pixels<T>& pixels;
    const char* source; // of the group
    int32 depth;        // chunks of a tap
    Counter tap;        // row, column and chunk
    Counter step;
    int32 line;   // the first pixel, or column, that the thread copies
    int32 target; // where in shared memory, from the side's beginning

    __device__ Gather(const TensorConvolutionArguments& arguments, const Axis& vertical, const Axis& horizontal, const Pixels<T>& pixels, int32 group)
        : arguments(arguments), vertical(vertical), horizontal(horizontal), pixels(pixels),
          source(static_cast<const char*>(arguments.source) + group * arguments.sourceChannels * T::Element::bytes),
          depth(divideUp(arguments.sourceChannels, static_cast<int32>(T::Element::ofChunk))), tap(threadIdx.x % T::chunks, horizontal.taps, depth), step(T::chunks, horizontal.taps, depth),
          line(threadIdx.x / T::chunks), target(line * T::rowBytes + ((threadIdx.x % T::chunks ^ T::spread(line)) << 4))
    {
    }

    __device__ int32 steps() const { return divideUp<int32>(vertical.taps * horizontal.taps * depth, T::chunks); }

    __device__ bool tapExists() const { return tap.outer < vertical.taps; }

    __device__ void copy(uint32 left) const
    {
        int32 down = tap.outer * vertical.tapStep;
        int32 right = tap.middle * horizontal.tapStep;
        int32 offset = (down * arguments.sourceWidth + right) * (arguments.sourcePitch / T::Element::ofChunk) + tap.inner;
        uint32 bits = 1u << tap.outer | 0x10000u << tap.middle;
        bool exists = tapExists();
#pragma unroll
        for (int i = 0; i < T::rows / T::linesAtOnce; i++)
        {
            int2 window = pixels.windows[line + i * T::linesAtOnce];
            bool valid = exists & ((static_cast<uint32>(window.y) & bits) == bits);
            copyPartAsync16(left + target + i * (T::linesAtOnce * T::rowBytes), source + (static_cast<int64>(window.x + offset) << 4), valid ? 16 : 0);
        }
    }

    __device__ void advance() { tap.advance(step, horizontal.taps, depth); }
};

// Both sides of the forward pass: depth is contiguous in the filters as well.
template <class T>
struct ForwardSource
{
    Gather<T> gather;
    const char* filters; // the thread's first
    int32 filterChunks;
    int32 filtersLeft; // from the thread's first on
    int32 width;

    __device__ void copy(uint32 left, uint32 right)
    {
        gather.copy(left);
        int32 offset = (gather.tap.outer * gather.horizontal.taps + gather.tap.middle) * (gather.arguments.weightPitch / T::Element::ofChunk) + gather.tap.inner;
        bool exists = gather.tapExists();
#pragma unroll
        for (int i = 0; i < divideUp<int>(T::columns, T::linesAtOnce); i++)
        {
            if (i * T::linesAtOnce < width)
            {
                bool valid = exists & (i * T::linesAtOnce < filtersLeft);
                copyPartAsync16(
                    right + gather.target + i * (T::linesAtOnce * T::rowBytes), filters + (static_cast<int64>(i * T::linesAtOnce * filterChunks + offset) << 4), valid ? 16 : 0);
            }
        }

        gather.advance();
    }
};

// Both sides of the data gradient: a chunk of depth is some output channels of one tap, whose filters have the columns of C contiguous.
template <class T>
struct GradientSource
{
    enum
    {
        across = T::columnChunks,
        owned = T::Element::ofChunk * across / T::linesAtOnce,
    };

    Gather<T> gather;
    const char* filters; // of the group, at the first tap and the tile's first column
    int32 rowChunks;     // from one tap to the next one below, to the right, and to the next output channel
    int32 columnChunks;
    int32 filterChunks;
    int32 chunksLeft; // columns of the tile that exist

    __device__ void copy(uint32 left, uint32 right)
    {
        gather.copy(left);
        int32 channel = gather.tap.inner * T::Element::ofChunk;
        int32 offset = channel * filterChunks + gather.tap.outer * rowChunks + gather.tap.middle * columnChunks;
        int32 channelsLeft = gather.tapExists() ? gather.arguments.sourceChannels - channel : 0;
        int32 first = threadIdx.x % T::chunks * T::Element::ofChunk;
#pragma unroll
        for (int i = 0; i < owned; i++)
        {
            int32 row = across <= T::linesAtOnce ? gather.line / across + i * (T::linesAtOnce / across) : i * T::linesAtOnce / across;
            int32 column = across <= T::linesAtOnce ? gather.line % across : gather.line + i * T::linesAtOnce % across;
            bool valid = (row < channelsLeft) & (column < chunksLeft);
            int32 depth = first + row;
            copyPartAsync16(
                right + ((depth * across + (column ^ T::spreadOuter(depth))) << 4), filters + (static_cast<int64>(offset + row * filterChunks + column) << 4), valid ? 16 : 0);
        }

        gather.advance();
    }
};

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

    // Stores the values, and keeps them as they were rounded.
    __device__ void store(void* address)
    {
        uint4 words;
        if (Element::bytes == 2)
        {
            words = make_uint4(
                packBf16(values[0], values[1]), packBf16(values[2], values[3]), packBf16(values[Element::ofChunk - 4], values[Element::ofChunk - 3]),
                packBf16(values[Element::ofChunk - 2], values[Element::ofChunk - 1]));
            unpack(words);
        }
        else
        {
            words = make_uint4(__float_as_uint(values[0]), __float_as_uint(values[1]), __float_as_uint(values[2]), __float_as_uint(values[3]));
        }

        *static_cast<uint4*>(address) = words;
    }

    __device__ void unpack(uint4 words)
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
    const Pixels<T>& pixels;
    const float* staged;
    int32 column;   // of the tile
    int32 channel;  // of the group, and of the whole result
    int32 channelOfAll;
    bool writes;    // whether the channels exist, as padding at least
    int32 channels; // of the thread's that are more than padding

    __device__ Finish(const TensorConvolutionArguments& arguments, const Pixels<T>& pixels, const float* staged, int32 group, int32 firstColumn)
        : arguments(arguments), pixels(pixels), staged(staged), column(threadIdx.x % across * Element::ofChunk), channel(firstColumn + column),
          channelOfAll(group * arguments.outputChannels + channel)
    {
        // The last group writes the zeros of the padding.
        int32 written = group == arguments.groups - 1 ? arguments.outputPitch - group * arguments.outputChannels : arguments.outputChannels;
        writes = column < arguments.tileWidth && channel < written;
        channels = arguments.outputChannels - channel;
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

    // sum + bias of a row, zero in the padding.
    __device__ void load(Values<Element>& value, int32 row, const float (&bias)[Element::ofChunk]) const
    {
        value.loadFloats(staged + row * T::stagedPitch + column);
#pragma unroll
        for (int i = 0; i < Element::ofChunk; i++)
        {
            value.values[i] = i < channels ? value.values[i] + bias[i] : 0.0f;
        }
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

    __device__ char* target(int32 position) const
    {
        return static_cast<char*>(arguments.output) + (static_cast<int64>(position) * arguments.outputPitch + channelOfAll) * Element::bytes;
    }
};

template <class T>
__device__ inline void finishForward(const Finish<T>& finish, float4* scratch, int32 tileOfRows, int32 rowsHere)
{
    using Element = typename T::Element;
    const TensorConvolutionArguments& arguments = finish.arguments;
    float bias[Element::ofChunk] = {};
    if (arguments.bias != nullptr)
    {
        finish.ofChannels(bias, arguments.bias);
    }

    if (arguments.statistics == nullptr)
    {
#pragma unroll 4
        for (int32 row = finish.firstRow(); row < rowsHere; row += Finish<T>::down)
        {
            if (finish.writes)
            {
                Values<Element> value;
                finish.load(value, row, bias);
                value.store(finish.target(finish.pixels.positions[row]));
            }
        }

        return;
    }

    Values<Element> pivot;
    Extent extents[Element::ofChunk];
    if (finish.writes)
    {
        finish.load(pivot, 0, bias);
    }

#pragma unroll
    for (int i = 0; i < Element::ofChunk; i++)
    {
        extents[i] = {0.0f, 0.0f, -__int_as_float(0x7F800000), __int_as_float(0x7F800000)};
    }

#pragma unroll 2
    for (int32 row = finish.firstRow(); row < rowsHere; row += Finish<T>::down)
    {
        if (finish.writes)
        {
            Values<Element> value;
            finish.load(value, row, bias);
            value.store(finish.target(finish.pixels.positions[row]));
#pragma unroll
            for (int i = 0; i < Element::ofChunk; i++)
            {
                extents[i].add(value.values[i], pivot.values[i]);
            }
        }
    }

    // Lanes with the same channels first, then warps, in order.
#pragma unroll
    for (int i = 0; i < Element::ofChunk; i++)
    {
#pragma unroll
        for (int distance = Finish<T>::across; distance < lanes; distance *= 2)
        {
            extents[i].merge(
                {__shfl_xor_sync(0xFFFFFFFFu, extents[i].sum, distance), __shfl_xor_sync(0xFFFFFFFFu, extents[i].squares, distance),
                 __shfl_xor_sync(0xFFFFFFFFu, extents[i].maximum, distance), __shfl_xor_sync(0xFFFFFFFFu, extents[i].minimum, distance)});
        }
    }

    if (finish.writes && threadIdx.x % lanes < Finish<T>::across)
    {
#pragma unroll
        for (int i = 0; i < Element::ofChunk; i++)
        {
            scratch[threadIdx.x / lanes * T::columns + finish.column + i] = make_float4(extents[i].sum, extents[i].squares, extents[i].maximum, extents[i].minimum);
        }
    }

    __syncthreads();
    if (finish.writes && threadIdx.x < Finish<T>::across)
    {
#pragma unroll
        for (int i = 0; i < Element::ofChunk; i++)
        {
            Extent all = {0.0f, 0.0f, -__int_as_float(0x7F800000), __int_as_float(0x7F800000)};
            for (int warp = 0; warp < T::warps; warp++)
            {
                float4 part = scratch[warp * T::columns + finish.column + i];
                all.merge({part.x, part.y, part.z, part.w});
            }

            double mean = static_cast<double>(all.sum) / rowsHere;
            float* target = arguments.statistics + static_cast<int64>(tileOfRows) * 4 * arguments.outputPitch + finish.channelOfAll + i;
            target[0] = static_cast<float>(pivot.values[i] + mean);
            target[arguments.outputPitch] = static_cast<float>(all.squares - all.sum * mean);
            target[2 * arguments.outputPitch] = all.maximum;
            target[3 * arguments.outputPitch] = all.minimum;
        }
    }
}

// Negative values become exactly +0 under ReLU, whose slope of 0 would give −0.
__device__ inline float rectify(float value, float slope)
{
    return value < 0.0f ? (slope == 0.0f ? 0.0f : value * slope) : value;
}

template <class T>
__device__ inline void finishFolded(const Finish<T>& finish, uint32* active, int32 rowsHere)
{
    using Element = typename T::Element;
    const TensorConvolutionArguments& arguments = finish.arguments;
    float bias[Element::ofChunk] = {};
    float scale[Element::ofChunk];
    float shift[Element::ofChunk];
    int32 map[Element::ofChunk];
    if (arguments.bias != nullptr)
    {
        finish.ofChannels(bias, arguments.bias);
    }

    finish.ofChannels(scale, arguments.saved + 2 * arguments.outputPitch);
    finish.ofChannels(shift, arguments.saved + 3 * arguments.outputPitch);
    finish.residualChannels(map);
    uint32 bits = 0;
#pragma unroll 2
    for (int32 row = finish.firstRow(); row < rowsHere; row += Finish<T>::down)
    {
        if (finish.writes)
        {
            int32 position = finish.pixels.positions[row];
            Values<Element> value;
            finish.load(value, row, bias);
            Values<Element> residual = {};
            if (arguments.residual != nullptr)
            {
                const char* from = finish.residual(position);
                if (arguments.map == nullptr)
                {
                    residual.load(from + finish.channelOfAll * Element::bytes);
                }
                else
                {
                    residual.gather(from, map);
                }
            }

#pragma unroll
            for (int i = 0; i < Element::ofChunk; i++)
            {
                float sum = fmaf(value.values[i], scale[i], shift[i]) + residual.values[i];
                value.values[i] = arguments.rectifies != 0 ? rectify(sum, arguments.slope) : sum;
            }

            value.store(finish.target(position));
#pragma unroll
            for (int i = 0; i < Element::ofChunk; i++)
            {
                bits |= i < finish.channels && isActive(arguments.activity, value.values[i]) ? 1u << i : 0u;
            }
        }
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
    if (bits != 0)
    {
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
    float none[T::Element::ofChunk] = {};
    int32 map[T::Element::ofChunk];
    if (mapped)
    {
        finish.residualChannels(map);
    }

#pragma unroll(mapped ? 2 : 4)
    for (int32 row = finish.firstRow(); row < rowsHere; row += Finish<T>::down)
    {
        if (finish.writes)
        {
            int32 position = finish.pixels.positions[row];
            Values<typename T::Element> value;
            finish.load(value, row, none);
            char* target = finish.target(position);
            if (mapped || finish.arguments.accumulate != 0)
            {
                Values<typename T::Element> old;
                if (mapped)
                {
                    old.gather(finish.residual(position), map);
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

            value.store(target);
        }
    }
}

template <class T>
__device__ inline void finishGradient(const Finish<T>& finish, int32 rowsHere)
{
    if (finish.arguments.residual != nullptr)
    {
        finishGradientRows<T, true>(finish, rowsHere);
    }
    else
    {
        finishGradientRows<T, false>(finish, rowsHere);
    }
}

extern __shared__ __align__(16) float sharedMemory[];

template <class T>
__device__ inline void forward(const TensorConvolutionArguments& arguments)
{
    __shared__ Pixels<T> pixelsHere;
    Axis vertical = forwardAxis(arguments.outputHeight, arguments.kernelHeight, arguments.strideHeight, arguments.paddingHeight, arguments.dilationHeight);
    Axis horizontal = forwardAxis(arguments.outputWidth, arguments.kernelWidth, arguments.strideWidth, arguments.paddingWidth, arguments.dilationWidth);
    int32 group = blockIdx.z;
    int32 tileOfRows = blockIdx.x / arguments.columnTiles;
    int32 first = tileOfRows * T::rows;
    int32 firstColumn = blockIdx.x % arguments.columnTiles * arguments.tileWidth;
    int32 pixels = arguments.batch * vertical.pixels * horizontal.pixels;
    pixelsHere.find(arguments, vertical, horizontal, first, pixels);
    Gather<T> gather(arguments, vertical, horizontal, pixelsHere, group);
    int32 filter = firstColumn + gather.line;
    int32 filterChunks = arguments.kernelHeight * arguments.kernelWidth * arguments.weightPitch / T::Element::ofChunk;
    int32 steps = gather.steps();
    ForwardSource<T> source{
        gather, static_cast<const char*>(arguments.weight) + (static_cast<int64>(group * arguments.outputChannels + filter) * filterChunks << 4), filterChunks,
        arguments.outputChannels - filter, arguments.tileWidth};
    T tile(arguments.tileWidth);
    tile.multiply(source, steps, static_cast<uint32>(__cvta_generic_to_shared(sharedMemory)));
    tile.stage(sharedMemory);
    Finish<T> finish(arguments, pixelsHere, sharedMemory, group, firstColumn);
    float* scratch = sharedMemory + T::rows * T::stagedPitch;
    int32 rowsHere = min(static_cast<int32>(T::rows), pixels - first);
    if (arguments.saved != nullptr)
    {
        finishFolded(finish, reinterpret_cast<uint32*>(scratch), rowsHere);
    }
    else
    {
        finishForward(finish, reinterpret_cast<float4*>(scratch), tileOfRows, rowsHere);
    }
}

template <class T>
__device__ inline void dataGradient(const TensorConvolutionArguments& arguments)
{
    __shared__ Pixels<T> pixelsHere;
    int32 group = blockIdx.z % arguments.groups;
    int32 phase = blockIdx.z / arguments.groups;
    Axis vertical = gradientAxis(
        arguments.outputHeight, phase / arguments.strideWidth, arguments.kernelHeight, arguments.strideHeight, arguments.paddingHeight, arguments.dilationHeight);
    Axis horizontal = gradientAxis(
        arguments.outputWidth, phase % arguments.strideWidth, arguments.kernelWidth, arguments.strideWidth, arguments.paddingWidth, arguments.dilationWidth);
    int32 first = blockIdx.x / arguments.columnTiles * T::rows;
    int32 firstColumn = blockIdx.x % arguments.columnTiles * arguments.tileWidth;
    int32 pixels = arguments.batch * vertical.pixels * horizontal.pixels;
    bool anyTap = vertical.taps * horizontal.taps > 0;
    if (first >= pixels || (!anyTap && arguments.accumulate != 0))
    {
        return;
    }

    // A class without taps, as in a strided 1 × 1 filter, has no depth; the counters still need one to divide by.
    horizontal.taps = max(horizontal.taps, 1);
    pixelsHere.find(arguments, vertical, horizontal, first, pixels);
    Gather<T> gather(arguments, vertical, horizontal, pixelsHere, group);
    int32 steps = anyTap ? gather.steps() : 0;
    int32 pitchChunks = arguments.weightPitch / T::Element::ofChunk;
    int32 filterChunks = arguments.kernelHeight * arguments.kernelWidth * pitchChunks;
    int32 firstTap = vertical.firstTap * arguments.kernelWidth + horizontal.firstTap;
    int32 firstChunk = firstColumn / T::Element::ofChunk;
    GradientSource<T> source{
        gather, static_cast<const char*>(arguments.weight) + ((static_cast<int64>(group * arguments.sourceChannels) * filterChunks + firstTap * pitchChunks + firstChunk) << 4),
        vertical.tapStride * arguments.kernelWidth * pitchChunks, horizontal.tapStride * pitchChunks, filterChunks, pitchChunks - firstChunk};
    T tile(arguments.tileWidth);
    tile.multiply(source, steps, static_cast<uint32>(__cvta_generic_to_shared(sharedMemory)));
    tile.stage(sharedMemory);
    Finish<T> finish(arguments, pixelsHere, sharedMemory, group, firstColumn);
    finishGradient(finish, min(static_cast<int32>(T::rows), pixels - first));
}

// One entry point a pass, type and tile: rows, columns, warps down and across, chunks of a step, stages; blocks on a multiprocessor.
#define ENTRY_POINT(pass, tile, element, right, blocks, ...)                                                                          \
    extern "C" __global__ void __launch_bounds__(128, blocks) pass##tile##element(const __grid_constant__ TensorConvolutionArguments arguments) \
    {                                                                                                                                 \
        pass<TensorTile<element, right, __VA_ARGS__>>(arguments);                                                                      \
    }

#define ENTRY_POINTS(tile, blocks, ...)                                                  \
    ENTRY_POINT(forward, tile, Bf16, Right::depthInner, blocks, __VA_ARGS__)            \
    ENTRY_POINT(forward, tile, Tf32, Right::depthInner, blocks, __VA_ARGS__)            \
    ENTRY_POINT(dataGradient, tile, Bf16, Right::depthOuter, blocks, __VA_ARGS__)       \
    ENTRY_POINT(dataGradient, tile, Tf32, Right::depthOuter, blocks, __VA_ARGS__)

ENTRY_POINTS(Square, 2, 128, 128, 2, 2, 8, 3)
ENTRY_POINTS(Tall, 2, 256, 64, 4, 1, 4, 4)
ENTRY_POINTS(Medium, 3, 128, 64, 4, 1, 8, 3)
ENTRY_POINTS(Small, 4, 64, 64, 2, 2, 8, 3)
ENTRY_POINTS(Narrow, 3, 128, 32, 4, 1, 8, 3)
