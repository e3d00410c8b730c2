// header later
#include "bulk_copy.cuh"
#include "tensor_core.cuh"
#include "warpgroup.cuh"

struct WarpgroupConvolutionArguments
{
    TensorMap image;
    TensorMap filter;
    uint16* output;
    const float* bias;
    int32 pixels;
    int32 height;
    int32 width;
    int32 pitch;
    int32 channels;
    int32 depth;
    int32 kernelHeight;
    int32 kernelWidth;
    int32 strideHeight;
    int32 strideWidth;
    int32 firstRow;
    int32 firstColumn;
    int32 dilationHeight;
    int32 dilationWidth;
    int32 columnTiles;
    int32 accumulate;
};

enum
{
    tilePixels = 128,
    tileDepth = 64,
    stepDepth = 16,
    rowBytes = tileDepth * 2,
    imageBytes = tilePixels * rowBytes,
    consumers = 256,
    threads = consumers + lanes,
    pieceBytes = 1024, // eight rows: the swizzle's period
    allConsumers = 1,  // number of the consumers' barrier
};

// A tile's place in shared memory.
template <int tileChannels, int stages>
struct Stages
{
    static constexpr uint32 filterBytes = tileChannels * rowBytes;
    static constexpr uint32 stageBytes = imageBytes + filterBytes;
    uint32 base;

    __device__ uint32 image(int32 stage) const { return base + stage * stageBytes; }
    __device__ uint32 filter(int32 stage) const { return base + stage * stageBytes + imageBytes; }
    __device__ uint32 full(int32 stage) const { return base + stages * stageBytes + stage * 8; }
    __device__ uint32 empty(int32 stage) const { return base + stages * stageBytes + stages * 8 + stage * 8; }
};

template <bool gradient, int tileChannels, int stages>
__device__ inline void produce(const WarpgroupConvolutionArguments& arguments, Stages<tileChannels, stages> memory, int32 firstPixel, int32 firstChannel)
{
    int32 image = firstPixel / arguments.width;
    int32 column = firstPixel - image * arguments.width;
    int32 row = image % arguments.height;
    image /= arguments.height;
    column = arguments.firstColumn + column * arguments.strideWidth;
    row = arguments.firstRow + row * arguments.strideHeight;
    int32 taps = arguments.kernelHeight * arguments.kernelWidth;
    int32 stage = 0;
    uint32 parity = 1;
    int32 tap = 0;
    for (int32 tapRow = 0; tapRow < arguments.kernelHeight; tapRow++)
    {
        for (int32 tapColumn = 0; tapColumn < arguments.kernelWidth; tapColumn++, tap++)
        {
            for (int32 depth = 0; depth < arguments.depth; depth += tileDepth)
            {
                waitFor(memory.empty(stage), parity);
                arriveExpecting(memory.full(stage), memory.stageBytes);
                copyPixels(memory.image(stage), arguments.image, depth, column, row, image, static_cast<uint16>(tapColumn * arguments.dilationWidth), static_cast<uint16>(tapRow * arguments.dilationHeight), memory.full(stage));
                if (gradient)
                {
                    for (int32 part = 0; part < tileChannels / 64; part++)
                    {
                        copyBox(memory.filter(stage) + part * (tileDepth * 128), arguments.filter, firstChannel + 64 * part, taps - 1 - tap, depth, memory.full(stage));
                    }
                }
                else
                {
                    copyBox(memory.filter(stage), arguments.filter, depth, tap, firstChannel, memory.full(stage));
                }

                if (++stage == stages)
                {
                    stage = 0;
                    parity ^= 1;
                }
            }
        }
    }
}

template <bool gradient, int tileChannels, int stages>
__device__ inline void consume(const WarpgroupConvolutionArguments& arguments, Stages<tileChannels, stages> memory, int32 group, float (&sums)[tileChannels / 2])
{
    int32 blocks = arguments.kernelHeight * arguments.kernelWidth * divideUp<int32>(arguments.depth, tileDepth);
    int32 stage = 0;
    uint32 parity = 0;
    int32 depth = 0;
    int32 previous = -1;
    for (int i = 0; i < tileChannels / 2; i++) sums[i] = 0;
    for (int32 block = 0; block < blocks; block++)
    {
        waitFor(memory.full(stage), parity);
        int32 steps = min(divideUp<int32>(arguments.depth - depth, stepDepth), tileDepth / stepDepth);
        uint64 a = matrixDescriptor(memory.image(stage) + group * (64 * rowBytes), 16, pieceBytes);
        uint64 b = gradient ? matrixDescriptor(memory.filter(stage), tileDepth * 128, pieceBytes) : matrixDescriptor(memory.filter(stage), 16, pieceBytes);
        fenceSums();
        #pragma unroll
        for (int32 step = 0; step < tileDepth / stepDepth; step++)
        {
            if (step < steps)
            {
                multiplyWarpgroup<gradient ? 1 : 0>(sums, a + (step * stepDepth * 2 >> 4), b + (gradient ? step * 2 * pieceBytes >> 4 : step * stepDepth * 2 >> 4));
            }
        }

        commitProducts();
        waitProducts<1>();
        if (previous >= 0 && threadIdx.x % 128 == 0)
        {
            arrive(memory.empty(previous));
        }

        previous = stage;
        depth += tileDepth;
        if (depth >= arguments.depth)
        {
            depth = 0;
        }

        if (++stage == stages)
        {
            stage = 0;
            parity ^= 1;
        }
    }

    waitProducts<0>();
}

template <bool gradient, int tileChannels, int stages>
__device__ inline void convolve(const WarpgroupConvolutionArguments& arguments)
{
    extern __shared__ unsigned char storage[];
    Stages<tileChannels, stages> memory{(sharedAddress(storage) + pieceBytes - 1) / pieceBytes * pieceBytes};
    int32 warp = threadIdx.x / lanes;
    if (threadIdx.x == 0)
    {
        for (int32 stage = 0; stage < stages; stage++)
        {
            startBarrier(memory.full(stage));
            startBarrier(memory.empty(stage), consumers / 128);
        }

        publishBarriers();
    }

    __syncthreads();
    int32 firstPixel = static_cast<int32>(blockIdx.x / arguments.columnTiles) * tilePixels;
    int32 firstChannel = static_cast<int32>(blockIdx.x % arguments.columnTiles) * tileChannels;
    if (warp == consumers / lanes)
    {
        if (threadIdx.x % lanes == 0)
        {
            produce<gradient>(arguments, memory, firstPixel, firstChannel);
        }

        return;
    }

    float sums[tileChannels / 2];
    consume<gradient>(arguments, memory, warp / 4, sums);
    int32 lane = threadIdx.x % lanes;
    for (int j = 0; j < tileChannels / 8; j++)
      for (int h = 0; h < 2; h++)
      {
         int32 row = firstPixel + warp * 16 + lane / 4 + 8 * h;
         int32 c = firstChannel + 8 * j + 2 * (lane % 4);
         if (row < arguments.pixels && c < arguments.pitch)
           *(uint32*)(arguments.output + (int64)row * arguments.pitch + c) = packBf16(sums[4*j+2*h], sums[4*j+2*h+1]);
      }
}

extern "C" __global__ void __launch_bounds__(threads, 2) forward64(const __grid_constant__ WarpgroupConvolutionArguments arguments) { convolve<false, 64, 4>(arguments); }
extern "C" __global__ void __launch_bounds__(threads, 2) forward128(const __grid_constant__ WarpgroupConvolutionArguments arguments) { convolve<false, 128, 3>(arguments); }
extern "C" __global__ void __launch_bounds__(threads, 1) forward256(const __grid_constant__ WarpgroupConvolutionArguments arguments) { convolve<false, 256, 4>(arguments); }
extern "C" __global__ void __launch_bounds__(threads, 2) gradient64(const __grid_constant__ WarpgroupConvolutionArguments arguments) { convolve<true, 64, 4>(arguments); }
extern "C" __global__ void __launch_bounds__(threads, 2) gradient128(const __grid_constant__ WarpgroupConvolutionArguments arguments) { convolve<true, 128, 3>(arguments); }
extern "C" __global__ void __launch_bounds__(threads, 1) gradient256(const __grid_constant__ WarpgroupConvolutionArguments arguments) { convolve<true, 256, 4>(arguments); }
