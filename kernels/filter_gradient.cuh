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

// Issues the copies of a tile's next step: every thread the same 16 bytes of channels, of some pixels of each side. A side says where in shared memory a chunk of 16 bytes of
// a pixel goes: Side::offset(pixel, chunk), regular from one of the thread's pixels to its next.
template <class Element, class Left, class Right, int depths, int threads>
struct FilterGradientSource
{
    enum
    {
        chunkElements = 16 / sizeof(Element),
        leftAtOnce = threads / Left::chunks,
        leftOwned = depths / leftAtOnce,
        rightAtOnce = threads / Right::chunks,
        rightOwned = depths / rightAtOnce,
    };

    static_assert(leftOwned * leftAtOnce == depths && rightOwned * rightAtOnce == depths, "all threads copy the same number of chunks");
    static_assert(leftAtOnce % 8 == 0 || sizeof(Element) == 4, "exchanged chunks repeat after eight pixels");

    const FilterGradientArguments& arguments;
    int32 pixelsLeft;         // of the split, from the next step's first on
    const Element* gradients; // ∂y at this thread's first pixel of the next step and its channels
    bool leftInside;
    const Element* values; // x at this thread's channels, image 0, the position that its tap reads for output (0, 0)
    bool rightInside;
    int32 down; // that position
    int32 across;
    int32 leftOffset; // of the thread's first chunk in shared memory
    int32 rightOffset;
    int32 imageElements; // from one image to the next, and from one output row and column to what the next one reads
    int32 rowElements;
    int32 columnElements;
    Counter step;
    Counter pixels[rightOwned]; // that this thread copies next

    template <class Part>
    __device__ FilterGradientSource(const FilterGradientArguments& arguments, const Part& part) : arguments(arguments), pixelsLeft(part.pixels)
    {
        int32 leftLine = threadIdx.x / Left::chunks;
        int32 leftChunk = threadIdx.x % Left::chunks;
        int32 row = part.firstRow + leftChunk * chunkElements;
        gradients = static_cast<const Element*>(arguments.outputGradient) + static_cast<int64>(part.firstPixel + leftLine) * arguments.outputPitch
            + part.group * arguments.outputChannels + row;
        leftInside = row < arguments.outputChannels;
        leftOffset = Left::offset(leftLine, leftChunk);

        int32 rightLine = threadIdx.x / Right::chunks;
        int32 rightChunk = threadIdx.x % Right::chunks;
        int32 column = part.firstColumn + rightChunk * chunkElements;
        Counter tap(column, arguments.kernelWidth, arguments.depth);
        down = tap.outer * arguments.dilationHeight - arguments.paddingHeight;
        across = tap.middle * arguments.dilationWidth - arguments.paddingWidth;
        int64 corner = (static_cast<int64>(down) * arguments.inputWidth + across) * arguments.inputPitch + part.group * arguments.inputChannels + tap.inner;
        values = static_cast<const Element*>(arguments.input) + corner;
        rightInside = column < part.totalColumns;
        rightOffset = Right::offset(rightLine, rightChunk);

        imageElements = arguments.inputHeight * arguments.inputWidth * arguments.inputPitch;
        rowElements = arguments.strideHeight * arguments.inputWidth * arguments.inputPitch;
        columnElements = arguments.strideWidth * arguments.inputPitch;
        step = Counter(depths, arguments.outputHeight, arguments.outputWidth);
#pragma unroll
        for (int i = 0; i < rightOwned; i++)
        {
            pixels[i] = Counter(part.firstPixel + rightLine + i * rightAtOnce, arguments.outputHeight, arguments.outputWidth);
        }
    }

    __device__ void copy(void* left, void* right)
    {
        int32 line = threadIdx.x / Left::chunks;
        char* target = static_cast<char*>(left) + leftOffset;
#pragma unroll
        for (int i = 0; i < leftOwned; i++)
        {
            bool valid = leftInside & (line + i * leftAtOnce < pixelsLeft);
            copyAsync16(target + i * leftAtOnce * Left::rowBytes, gradients + i * leftAtOnce * arguments.outputPitch, valid);
        }

        gradients += depths * arguments.outputPitch;
        line = threadIdx.x / Right::chunks;
        target = static_cast<char*>(right) + rightOffset;
#pragma unroll
        for (int i = 0; i < rightOwned; i++)
        {
            // Without && there are no branches.
            Counter& pixel = pixels[i];
            bool valid = rightInside & (line + i * rightAtOnce < pixelsLeft)
                & (static_cast<uint32>(down + pixel.middle * arguments.strideHeight) < static_cast<uint32>(arguments.inputHeight))
                & (static_cast<uint32>(across + pixel.inner * arguments.strideWidth) < static_cast<uint32>(arguments.inputWidth));
            const Element* source = values + static_cast<int64>(pixel.outer) * imageElements + (pixel.middle * rowElements + pixel.inner * columnElements);
            copyAsync16(target + i * rightAtOnce * Right::rowBytes, source, valid);
            pixel.advance(step, arguments.outputHeight, arguments.outputWidth);
        }

        pixelsLeft -= depths;
    }
};
