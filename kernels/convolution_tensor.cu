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
// Launch: a block of 128 threads a tile (tensor_tile.cuh), tiles of the same pixels next to each other in x, (class, group) in z. Groups must be multiples of 8 channels; a filter at most 15 × 15.
//
// Moved: the source from the second-level cache once a tap and a column of tiles, from memory about once; the filters once a row of tiles, cached; the result once. Limits of a multiprocessor per 32
// bytes of depth, in clocks, on a device with 2,560 operations of mma.sync (bf16) and 128 bytes of shared memory a clock: 128 × 128 and 256 × 64 tiles multiply for 205 and move shared memory for 192
// and 208; 128 × 64 multiply for 102 and move for 144. From about 64 channels on the large tiles are limited by arithmetic, below by shared memory, 1 × 1 filters by memory.
// Every product keeps the tensor cores of a scheduler busy for 6.4 clocks, so the loop must not issue more than about five instructions for each: 2.2 to 3.3 in the three largest tiles and about 4.7 in
// the small ones (bf16), 3.2 to 5.7 and 6.4 to 7.8 (tf32, whose operands are rounded; ./saturn kernels loops). The epilogue with statistics issues 62 for eight values.
#include "tensor_epilogue.cuh"

extern __shared__ __align__(256) float sharedMemory[]; // the places of a row of 64 floats differ by an exclusive or

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
    int32 filterBytes = arguments.kernelHeight * arguments.kernelWidth * arguments.weightPitch * T::Element::bytes;
    int32 steps = gather.steps();
    ForwardSource<T> source{
        gather, kept(static_cast<const char*>(arguments.weight) + static_cast<int64>(group * arguments.outputChannels + filter) * filterBytes), filterBytes,
        min(arguments.outputChannels - firstColumn, arguments.tileWidth) - gather.line};
    T tile(arguments.tileWidth);
    tile.multiply(source, steps, sharedAddressOf(sharedMemory));
    if (arguments.bias != nullptr)
    {
        tile.add(arguments.bias + group * arguments.outputChannels + firstColumn, arguments.outputChannels - firstColumn);
    }

    tile.stage(sharedMemory);
    Finish<T> finish(arguments, pixelsHere, sharedMemory, group, firstColumn);
    float* scratch = sharedMemory + T::rows * T::stagedPitch;
    int32 rowsHere = min(static_cast<int32>(T::rows), pixels - first);
    if (arguments.saved != nullptr)
    {
        finishFolded(finish, reinterpret_cast<uint32*>(scratch), rowsHere);
    }
    else if (arguments.statistics != nullptr)
    {
        finishObserved(finish, reinterpret_cast<float4*>(scratch), rowsHere);
        finishStatistics<T>(arguments, sharedMemory, reinterpret_cast<const float4*>(scratch), group, firstColumn, tileOfRows, rowsHere);
    }
    else
    {
        finishForward(finish, rowsHere);
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
    GradientSource<T> source(
        gather, static_cast<const char*>(arguments.weight) + ((static_cast<int64>(group * arguments.sourceChannels) * filterChunks + firstTap * pitchChunks + firstChunk) << 4),
        vertical.tapStride * arguments.kernelWidth * pitchChunks, horizontal.tapStride * pitchChunks, filterChunks, pitchChunks - firstChunk);
    T tile(arguments.tileWidth);
    tile.multiply(source, steps, sharedAddressOf(sharedMemory));
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
