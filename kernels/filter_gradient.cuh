// What the kernels of the filter gradient have in common: the product C[o, (tap, i)] = Σ over output pixels of ∂y[pixel, o]·x[the pixel that the tap reads, i].
// Pixels are the depth. Both sides have their elements contiguous in memory, so 16-byte copies fill the tiles.
#pragma once
#include "async_copy.cuh"
#include "counter.cuh"

struct FilterGradientArguments
{
    const void* input;
    const void* outputGradient;
    float* partials; // [split][out][taps·depth]
    int32 inputHeight;
    int32 inputWidth;
    int32 inputPitch;
    int32 inputChannels; // of a group
    int32 outputHeight;
    int32 outputWidth;
    int32 outputPitch;
    int32 outputChannels; // of a group
    int32 groups;
    int32 kernelHeight;
    int32 kernelWidth;
    int32 strideHeight;
    int32 strideWidth;
    int32 paddingHeight;
    int32 paddingWidth;
    int32 dilationHeight;
    int32 dilationWidth;
    int32 depth;          // input channels of a group, rounded up to the elements that are copied at once, or to the weight's pitch
    int32 pixels;         // of all output images
    int32 pixelsPerSplit; // a multiple of the tile's step
    int32 columnTiles;
};

// Which part of C a block computes: tiles in x, splits of the pixels in y, groups in z.
template <int rows, int columns>
struct FilterGradientPart
{
    int32 group;
    int32 split;
    int32 firstRow;
    int32 firstColumn;
    int32 totalColumns;
    int32 firstPixel;
    int32 pixels;

    __device__ explicit FilterGradientPart(const FilterGradientArguments& arguments)
        : group(blockIdx.z),
          split(blockIdx.y),
          firstRow(blockIdx.x / arguments.columnTiles * rows),
          firstColumn(blockIdx.x % arguments.columnTiles * columns),
          totalColumns(arguments.kernelHeight * arguments.kernelWidth * arguments.depth),
          firstPixel(split * arguments.pixelsPerSplit),
          pixels(min(arguments.pixelsPerSplit, arguments.pixels - firstPixel))
    {
    }

    // This group's rows of this split.
    __device__ float* partials(const FilterGradientArguments& arguments) const
    {
        int32 outputs = arguments.groups * arguments.outputChannels;
        return arguments.partials + (static_cast<int64>(split) * outputs + group * arguments.outputChannels) * totalColumns;
    }
};

// What a block must know of the next output pixels of its split: where each one's window begins, and which taps of the block's columns lie outside of the image. A pixel a thread is found, for many
// steps; in the loop a copy loads two words, tests a bit and adds an offset.
//
// There are two tables: when a step has used up one of them, its threads write the pixels to come over the other one, which was used up before. A product's loop has a barrier a step, and a table lasts
// longer than the copies that are issued before the first barrier; so barriers lie between these writes, the readings before and the readings after.
template <int threads>
struct FilterGradientPixels
{
    enum
    {
        mostTaps = 32, // columns of a tile in fours, each of a tap of its own
    };

    int2 windows[2][threads]; // x: chunks of 16 bytes from the image's beginning to what tap (0, 0) reads without padding; y: bit t, the block's tap t is outside, or is none
    int2 taps[mostTaps];      // rows and columns from there to what a tap reads
    int4 step;                // x, y, z: images, rows and columns from one of a thread's pixels to its next; w: taps of the block's columns
};

// Issues the copies of a tile's next step: every thread the same 16 bytes of channels, of some pixels of each side. A side says where in shared memory a chunk of 16 bytes of
// a pixel goes: Side::offset(pixel, chunk), regular from one of the thread's pixels to its next.
template <class Element, class Left, class Right, int depths, int threads>
struct FilterGradientSource
{
    using Pixels = FilterGradientPixels<threads>;

    enum
    {
        chunkElements = 16 / sizeof(Element),
        leftAtOnce = threads / Left::chunks,
        leftOwned = depths / leftAtOnce,
        rightAtOnce = threads / Right::chunks,
        rightOwned = depths / rightAtOnce,
        windowBytes = sizeof(int2),
        stepBytes = depths * windowBytes,
        refillBytes = threads * windowBytes,
    };

    static_assert(leftOwned * leftAtOnce == depths && rightOwned * rightAtOnce == depths, "all threads copy the same number of chunks");
    static_assert(leftAtOnce % 8 == 0 || sizeof(Element) == 4, "exchanged chunks repeat after eight pixels");
    static_assert(leftAtOnce % 4 == 0 && rightAtOnce % 4 == 0, "exchanged chunks repeat after four pixels");
    static_assert(threads % depths == 0 && threads / depths >= 4, "the table outlasts the steps under way");
    static_assert(Right::chunks <= Pixels::mostTaps, "a bit for each tap");

    const FilterGradientArguments& arguments;
    Pixels& shared;
    const char* gradients; // ∂y at this thread's first pixel of the next step and its channels
    const char* values;    // x at this thread's channels and what its tap reads for output (0, 0) of image 0
    uint32 tapBit;
    int32 pixelsLeft;   // of the split, from the next step's first on
    int32 leftLine;     // of its pixels of ∂y the first; beyond all where its channels do not exist
    int64 leftStep;     // bytes from one of them to the next
    uint32 leftOffset;  // of its first chunk in shared memory
    uint32 rightOffset;
    uint32 windows;     // of its first pixel in the table
    uint32 place;       // of the next step in the table, in bytes
    Counter pixel;      // that the thread finds next

    template <class Part>
    __device__ FilterGradientSource(const FilterGradientArguments& arguments, const Part& part, Pixels& shared) : arguments(arguments), shared(shared), pixelsLeft(part.pixels), place(0)
    {
        int32 line = threadIdx.x / Left::chunks;
        int32 leftChunk = threadIdx.x % Left::chunks;
        int32 row = part.firstRow + leftChunk * chunkElements;
        gradients = reinterpret_cast<const char*>(
            static_cast<const Element*>(arguments.outputGradient) + static_cast<int64>(part.firstPixel + line) * arguments.outputPitch + part.group * arguments.outputChannels + row);
        leftLine = inRegister(row < arguments.outputChannels ? line : 1 << 30);
        leftStep = leftAtOnce * arguments.outputPitch * static_cast<int64>(sizeof(Element));
        leftOffset = inRegister(Left::offset(line, leftChunk));

        int32 rightLine = threadIdx.x / Right::chunks;
        int32 rightChunk = threadIdx.x % Right::chunks;
        int32 column = part.firstColumn + rightChunk * chunkElements;
        Counter tap(column, arguments.kernelWidth, arguments.depth);
        int32 down = tap.outer * arguments.dilationHeight - arguments.paddingHeight;
        int32 across = tap.middle * arguments.dilationWidth - arguments.paddingWidth;
        int64 corner = (static_cast<int64>(down) * arguments.inputWidth + across) * arguments.inputPitch + part.group * arguments.inputChannels + tap.inner;
        values = reinterpret_cast<const char*>(static_cast<const Element*>(arguments.input) + corner);
        rightOffset = inRegister(Right::offset(rightLine, rightChunk));
        int32 firstTap = part.firstColumn / arguments.depth;
        tapBit = 1u << (column / arguments.depth - firstTap);
        int32 taps = min(divideUp<int32>(part.firstColumn + Right::chunks * chunkElements, arguments.depth), arguments.kernelHeight * arguments.kernelWidth) - firstTap;
        windows = inRegister(sharedAddressOf(shared.windows) + rightLine * rightOwned * windowBytes);
        pixel = Counter(part.firstPixel + threadIdx.x, arguments.outputHeight, arguments.outputWidth);
        if (threadIdx.x == 0)
        {
            Counter step(threads, arguments.outputHeight, arguments.outputWidth);
            shared.step = make_int4(step.outer, step.middle, step.inner, taps);
        }

        if (threadIdx.x < taps)
        {
            int32 tapRow = (firstTap + threadIdx.x) / arguments.kernelWidth;
            int32 tapColumn = firstTap + threadIdx.x - tapRow * arguments.kernelWidth;
            shared.taps[threadIdx.x] = make_int2(tapRow * arguments.dilationHeight - arguments.paddingHeight, tapColumn * arguments.dilationWidth - arguments.paddingWidth);
        }

        __syncthreads();
        find();
        __syncthreads();
    }

    __device__ void copy(float* left, float* right) { copy(sharedAddressOf(left), sharedAddressOf(right)); }

    __device__ void copy(uint32 left, uint32 right)
    {
        uint4 pairs[rightOwned / 2];
        uint32 address = windows + place;
#pragma unroll
        for (int i = 0; i < rightOwned / 2; i++)
        {
            pairs[i] = loadFourWords(address + i * 2 * windowBytes);
        }

        left += leftOffset;
        int32 leftPixels = pixelsLeft - leftLine;
#pragma unroll
        for (int i = 0; i < leftOwned; i++)
        {
            copyAsync16Unless(i * leftAtOnce >= leftPixels ? 1 : 0, left + i * leftAtOnce * Left::rowBytes, gradients);
            gradients += leftStep;
        }

        pixelsLeft -= depths;
        right += rightOffset;
#pragma unroll
        for (int i = 0; i < rightOwned; i++)
        {
            uint32 window = i % 2 == 0 ? pairs[i / 2].x : pairs[i / 2].z;
            uint32 outside = i % 2 == 0 ? pairs[i / 2].y : pairs[i / 2].w;
            copyAsync16Unless(outside & tapBit, right + i * rightAtOnce * Right::rowBytes, advance(values, window, 16));
        }

        place = (place + stepBytes) % (2 * refillBytes);
        if (place % refillBytes == 0)
        {
            find();
        }
    }

private:
    // The table of the next `threads` pixels. Those that a thread copies in a step lie next to each other.
    __device__ void find()
    {
        int4 step = shared.step;
        int32 y = pixel.middle * arguments.strideHeight;
        int32 x = pixel.inner * arguments.strideWidth;
        uint32 outside = ~0u;
        uint32 bit = 1;
#pragma unroll 1
        for (int32 tap = 0; tap < step.w; tap++)
        {
            int2 offset = shared.taps[tap];
            bool inside = (static_cast<uint32>(y + offset.x) < static_cast<uint32>(arguments.inputHeight)) & (static_cast<uint32>(x + offset.y) < static_cast<uint32>(arguments.inputWidth));
            outside ^= inside ? bit : 0;
            bit <<= 1;
        }

        int32 window = ((pixel.outer * arguments.inputHeight + y) * arguments.inputWidth + x) * (arguments.inputPitch / chunkElements);
        int32 line = threadIdx.x % depths;
        int32 inStep = line % rightAtOnce * rightOwned + line / rightAtOnce;
        int2* table = &shared.windows[0][0] + place / windowBytes;
        table[threadIdx.x / depths * depths + inStep] = make_int2(window, static_cast<int32>(threadIdx.x) < pixelsLeft ? outside : ~0u);
        Counter advance;
        advance.outer = step.x;
        advance.middle = step.y;
        advance.inner = step.z;
        pixel.advance(advance, arguments.outputHeight, arguments.outputWidth);
    }
};
