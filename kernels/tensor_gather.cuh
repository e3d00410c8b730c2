// What the convolutions on tensor cores multiply: windows of an image, gathered while they are copied to shared memory, and the filters beside them. Both sides come in 16-byte chunks of a step
// of depth as tensor_tile.cuh wants them; depth is (tap, source channel).
#pragma once
#include "activity.cuh"
#include "axis.cuh"
#include "counter.cuh"
#include "tensor_tile.cuh"

constexpr int largestFilter = 15; // taps in each dimension: a bit of a half word each, and one for the tap that is nowhere

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
    int2 windows[T::rows];    // x: the first source position, in chunks; it may lie outside of the image. y: bit t, row t of the taps is outside or does not exist; bit 16 + t, column t
    int32 positions[T::rows]; // of the result, in pixels

    __device__ void find(const TensorConvolutionArguments& arguments, const Axis& vertical, const Axis& horizontal, int32 first, int32 pixels)
    {
        for (int32 row = threadIdx.x; row < T::rows; row += T::threads)
        {
            int32 corner = 0;
            uint32 outside = 0xFFFFFFFFu;
            int32 position = -1;
            if (first + row < pixels)
            {
                Counter place(first + row, vertical.pixels, horizontal.pixels);
                int32 y = vertical.origin + place.middle * vertical.pixelStep;
                int32 x = horizontal.origin + place.inner * horizontal.pixelStep;
                corner = ((place.outer * arguments.sourceHeight + y) * arguments.sourceWidth + x) * (arguments.sourcePitch / T::Element::ofChunk);
                outside = ~(tapsInside(y, vertical, arguments.sourceHeight) | tapsInside(x, horizontal, arguments.sourceWidth) << 16);
                position = (place.outer * arguments.outputHeight + vertical.phase + place.middle * vertical.positionStep) * arguments.outputWidth + horizontal.phase
                    + place.inner * horizontal.positionStep;
            }

            windows[row] = make_int2(corner, static_cast<int32>(outside));
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
    enum
    {
        copies = T::rows / T::linesAtOnce,
        noTap = 1 << largestFilter, // a tap that is outside of every window
    };

    const TensorConvolutionArguments& arguments;
    const Axis& vertical;
    const Axis& horizontal;
    uint32 windows;      // in shared memory, of the first pixel that the thread copies
    const char* source;  // of the group
    int32 depth;         // chunks of a tap
    Counter tap;         // row, column and chunk
    Counter step;
    int32 line;    // the first pixel, or column, that the thread copies
    uint32 target; // where in shared memory, from the side's beginning

    __device__ Gather(const TensorConvolutionArguments& arguments, const Axis& vertical, const Axis& horizontal, const Pixels<T>& pixels, int32 group)
        : arguments(arguments), vertical(vertical), horizontal(horizontal), windows(inRegister(sharedAddressOf(pixels.windows + threadIdx.x / T::chunks))),
          source(kept(static_cast<const char*>(arguments.source) + group * arguments.sourceChannels * T::Element::bytes)),
          depth(divideUp(arguments.sourceChannels, static_cast<int32>(T::Element::ofChunk))), tap(threadIdx.x % T::chunks, horizontal.taps, depth), step(T::chunks, horizontal.taps, depth),
          line(threadIdx.x / T::chunks), target(inRegister(line * T::rowBytes + ((threadIdx.x % T::chunks ^ T::spread(line)) << 4)))
    {
    }

    __device__ int32 steps() const { return divideUp<int32>(vertical.taps * horizontal.taps * depth, T::chunks); }

    __device__ bool tapExists() const { return tap.outer < vertical.taps; }

    __device__ void copy(uint32 left) const
    {
        int32 down = tap.outer * vertical.tapStep;
        int32 right = tap.middle * horizontal.tapStep;
        const char* from = kept(source + (static_cast<int64>((down * arguments.sourceWidth + right) * (arguments.sourcePitch / T::Element::ofChunk) + tap.inner) << 4));
        uint32 bits = tapExists() ? 1u << tap.outer | 0x10000u << tap.middle : noTap;
        uint32 to = left + target;

        // All windows first: between a read of shared memory and a copy into it the assembler waits.
        int2 mine[copies];
#pragma unroll
        for (int i = 0; i < copies; i++)
        {
            mine[i] = loadTwoWords(windows + i * T::linesAtOnce * 8);
        }

#pragma unroll
        for (int i = 0; i < copies; i++)
        {
            copyAsync16(to + i * (T::linesAtOnce * T::rowBytes), from + static_cast<int64>(mine[i].x) * 16, (mine[i].y & bits) == 0);
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
    int32 filterBytes;
    int32 filtersLeft; // of the block, from the thread's first on

    __device__ void copy(uint32 left, uint32 right)
    {
        gather.copy(left);
        int32 offset = (gather.tap.outer * gather.horizontal.taps + gather.tap.middle) * (gather.arguments.weightPitch / T::Element::ofChunk) + gather.tap.inner;
        const char* from = kept(filters + (static_cast<int64>(offset) << 4));
        uint32 to = right + gather.target;
        int32 exist = gather.tapExists() ? filtersLeft : 0;
#pragma unroll
        for (int i = 0; i < divideUp<int>(T::columns, T::linesAtOnce); i++)
        {
            copyAsync16(to + i * (T::linesAtOnce * T::rowBytes), from + static_cast<int64>(filterBytes) * (i * T::linesAtOnce), i * T::linesAtOnce < exist);
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
        copies = T::Element::ofChunk * across / T::linesAtOnce,
        rowsAtOnce = T::linesAtOnce >= across ? T::linesAtOnce / across : 1,
    };

    Gather<T> gather;
    const char* filters; // of the thread's first depth of the first tap and its first column
    int32 rowChunks;     // from one tap to the next one below, to the right, and to the next output channel
    int32 columnChunks;
    int32 filterChunks;
    int32 chunksLeft; // of the tile, from the thread's first column on
    uint32 target;    // where in shared memory, from the side's beginning

    __device__ GradientSource(const Gather<T>& gather, const char* filtersOfTile, int32 rowChunks, int32 columnChunks, int32 filterChunks, int32 chunksOfTile)
        : gather(gather), filters(kept(filtersOfTile + (static_cast<int64>(firstRow() * filterChunks + firstColumn()) << 4))), rowChunks(rowChunks), columnChunks(columnChunks),
          filterChunks(filterChunks), chunksLeft(chunksOfTile - firstColumn())
    {
        int32 depth = threadIdx.x % T::chunks * T::Element::ofChunk + firstRow();
        target = inRegister(depth * across + (firstColumn() ^ T::spreadOuter(depth)) << 4);
    }

    // Of a chunk's depths and of the tile's columns, what the thread copies first and how far from there its i-th copy is.
    __device__ int32 firstRow() const { return threadIdx.x / T::chunks / across; }
    __device__ int32 firstColumn() const { return threadIdx.x / T::chunks % across; }
    __device__ static constexpr int rowOf(int i) { return i * T::linesAtOnce / across / rowsAtOnce * rowsAtOnce; }
    __device__ static constexpr int columnOf(int i) { return T::linesAtOnce >= across ? 0 : i * T::linesAtOnce % across; }

    __device__ void copy(uint32 left, uint32 right)
    {
        gather.copy(left);
        int32 channel = gather.tap.inner * T::Element::ofChunk;
        int32 offset = channel * filterChunks + gather.tap.outer * rowChunks + gather.tap.middle * columnChunks;
        const char* from = kept(filters + (static_cast<int64>(offset) << 4));
        uint32 to = right + target;
        int32 rowsLeft = gather.tapExists() ? gather.arguments.sourceChannels - channel - firstRow() : 0;
#pragma unroll
        for (int i = 0; i < copies; i++)
        {
            // Depths and columns of a thread differ in bits that its first ones do not have, so that spreads and chunks combine by exclusive or.
            uint32 place = (to ^ T::spreadOuter(rowOf(i)) << 4) + (rowOf(i) * across + columnOf(i)) * 16;
            copyAsync16(place, from + static_cast<int64>(filterChunks) * (rowOf(i) * 16) + columnOf(i) * 16, (rowOf(i) < rowsLeft) & (columnOf(i) < chunksLeft));
        }

        gather.advance();
    }
};
