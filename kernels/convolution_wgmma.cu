// Convolution of bf16 images with float32 sums on Hopper's tensor cores (sm_90a), and its data gradient with stride 1:
//   y[n, p, q, o] = bias[o] + Σ_{r,s,i} x[n, p·stride + r·dilation − padding, q·stride + s·dilation − padding, i]·w[o, r, s, i]
//   dx[n, h, w, i] (+)= Σ_{r,s,o} dy[n, h + padding − r·dilation, w + padding − s·dilation, o]·w[o, r, s, i]
// The second is the first on the flipped filter, with padding' = (kernel − 1)·dilation − padding, and w[o, r, s, i] read with o as depth.
//
// Where statistics are wanted, the forward pass also leaves mean, Σ(y − mean)², maximum and minimum of each channel's stored values over the pixels of every tile, as convolution_tensor.cu does.
//
// Layout: images [n, row, column, channel] and filters [o, r, s, i] in bf16, pitched to multiples of 8 channels; bias float32. The padding of the output is written as zero.
// As a product: C[pixel, channel] = Σ_depth A[pixel, depth]·B[depth, channel], depth = (tap, channel of the source), a tap's channels in blocks of 64.
//
// A block of nine warps computes 128 pixels × 64, 128 or 256 channels; grid: tiles, those of the same pixels side by side. The last warp is the producer: one thread has the tensor memory accelerator
// copy 128 pixels × 64 depths of the image (im2col: the hardware walks over pixels, steps and image edges) and 64 depths of the filter into one of several stages. Two warpgroups consume: each
// multiplies its 64 pixels with all channels of the tile, 16 depths an instruction. A stage's full barrier counts bytes, its empty barrier the warps that are done. What lies outside of the
// images, behind the last image, beyond the depth or the channels arrives as zero; depths beyond the last multiple of 16 are not multiplied.
//
// Bytes: X + Y + W from memory; X once a tap, and W once a tile, from the second-level cache.
// Limit, predicted and not measured: an instruction of 64 × N × 16 takes N / 2 cycles of the tensor cores and reads 64·32 + N·32 bytes of shared memory at 128 a cycle. N = 64: 32 against 32
// cycles, so that shared memory, which the copies share, is the limit; N = 128: 48 against 64; N = 256: 80 against 128. Sixty-four channels would gain from filters as rows and 256 pixels as columns,
// which is not written.
// Two blocks a multiprocessor (64 and 128 channels) overlap one's epilogue with the other's products. Sums are added in the order of depth: the same input gives the same bits.
#include "bulk_copy.cuh"
#include "extent.cuh"
#include "tensor_core.cuh"
#include "warpgroup.cuh"

struct WarpgroupConvolutionArguments
{
    TensorMap image;      // pixels of x or dy: boxes of 128 pixels × 64 channels
    TensorMap filter;     // [o, tap, i]: boxes of 64 i × 1 tap × the tile's channels of o; for the gradient 64 i × 1 tap × 64 o
    uint16* output;
    const float* bias;    // or null
    float* statistics;    // [tiles of pixels][4][pitch] mean, Σ(y − mean)², maximum and minimum of the stored values; or null
    int32 pixels;         // of the output: n·height·width
    int32 height;         // of the output
    int32 width;
    int32 channels;       // of the output
    int32 pitch;
    int32 depth;          // channels of the source
    int32 kernelHeight;
    int32 kernelWidth;
    int32 strideHeight;
    int32 strideWidth;
    int32 firstRow;       // of the source, where the filter begins for output row 0: −padding
    int32 firstColumn;
    int32 dilationHeight;
    int32 dilationWidth;
    int32 columnTiles;
    int32 accumulate;     // add to what the output holds
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

enum
{
    tilePixels = 128,
    tileDepth = 64,
    stepDepth = 16,
    rowBytes = tileDepth * 2,           // the swizzle's span
    pieceBytes = 8 * rowBytes,          // its period
    warpgroupPixels = 64,
    warpPixels = 16,
    consumers = 256,
    blockThreads = consumers + lanes,
    consumerBarrier = 1,                // a named barrier: 0 is the block's
};

// The stages in shared memory, by addresses: image tiles and filter tiles, then the barriers.
template <int tileChannels, int stages>
struct Stages
{
    static constexpr uint32 imageBytes = tilePixels * rowBytes;
    static constexpr uint32 bytes = imageBytes + tileChannels * rowBytes;
    uint32 base;

    __device__ uint32 image(int32 stage) const { return base + stage * bytes; }
    __device__ uint32 filter(int32 stage) const { return base + stage * bytes + imageBytes; }
    __device__ uint32 full(int32 stage) const { return base + stages * bytes + stage * 8; }
    __device__ uint32 empty(int32 stage) const { return base + stages * bytes + (stages + stage) * 8; }
};

// Goes around the stages. The parity is that of the phase to wait for.
template <int stages>
struct Cursor
{
    int32 stage;
    uint32 parity;

    __device__ void advance()
    {
        if (++stage == stages)
        {
            stage = 0;
            parity ^= 1;
        }
    }
};

template <bool gradient, int tileChannels, int stages>
__device__ inline void produce(const WarpgroupConvolutionArguments& arguments, const Stages<tileChannels, stages>& memory, int32 firstPixel, int32 firstChannel)
{
    int32 line = firstPixel / arguments.width;
    int32 image = line / arguments.height;
    int32 column = arguments.firstColumn + (firstPixel - line * arguments.width) * arguments.strideWidth;
    int32 row = arguments.firstRow + (line - image * arguments.height) * arguments.strideHeight;
    int32 lastTap = arguments.kernelHeight * arguments.kernelWidth - 1;
    int32 tap = 0;

    // The stages are empty at first: the phase before the first counts as ended.
    Cursor<stages> cursor{0, 1};
    for (int32 tapRow = 0; tapRow < arguments.kernelHeight; tapRow++)
    {
        for (int32 tapColumn = 0; tapColumn < arguments.kernelWidth; tapColumn++, tap++)
        {
            for (int32 depth = 0; depth < arguments.depth; depth += tileDepth, cursor.advance())
            {
                uint32 full = memory.full(cursor.stage);
                waitFor(memory.empty(cursor.stage), cursor.parity);
                arriveExpecting(full, memory.bytes);
                copyPixels(
                    memory.image(cursor.stage), arguments.image, depth, column, row, image, static_cast<uint16>(tapColumn * arguments.dilationWidth),
                    static_cast<uint16>(tapRow * arguments.dilationHeight), full);
                if (gradient)
                {
                    for (int32 part = 0; part < tileChannels; part += tileDepth)
                    {
                        copyBox(memory.filter(cursor.stage) + part * rowBytes, arguments.filter, firstChannel + part, lastTap - tap, depth, full);
                    }
                }
                else
                {
                    copyBox(memory.filter(cursor.stage), arguments.filter, depth, tap, firstChannel, full);
                }
            }
        }
    }
}

template <bool gradient, int tileChannels, int stages>
__device__ inline void consume(const WarpgroupConvolutionArguments& arguments, const Stages<tileChannels, stages>& memory, int32 warpgroup, float (&sums)[tileChannels / 2])
{
    // The filter's tile: a row a channel with depths side by side; for the gradient a row a depth, 64 channels side by side.
    constexpr uint32 leading = gradient ? tileDepth * rowBytes : 16;
    constexpr uint32 filterStep = gradient ? stepDepth * rowBytes : stepDepth * 2;
    constexpr int32 steps = tileDepth / stepDepth;
    int32 blocks = arguments.kernelHeight * arguments.kernelWidth * divideUp<int32>(arguments.depth, tileDepth);
    int32 depth = arguments.depth;
    int32 released = -1;
    Cursor<stages> cursor{0, 0};
    for (int32 block = 0; block < blocks; block++, cursor.advance())
    {
        waitFor(memory.full(cursor.stage), cursor.parity);
        int32 usedSteps = divideUp<int32>(depth, stepDepth);
        uint64 a = matrixDescriptor(memory.image(cursor.stage) + warpgroup * warpgroupPixels * rowBytes, 16, pieceBytes);
        uint64 b = matrixDescriptor(memory.filter(cursor.stage), leading, pieceBytes);
        fenceSums();
        #pragma unroll
        for (int32 step = 0; step < steps; step++)
        {
            if (step < usedSteps)
            {
                multiplyWarpgroup<gradient>(sums, a + (step * stepDepth * 2 >> 4), b + (step * filterStep >> 4));
            }
        }

        commitProducts();

        // This warp's products before these are done, and with them its reads of their stage.
        waitProducts<1>();
        if (released >= 0 && threadIdx.x % lanes == 0)
        {
            arrive(memory.empty(released));
        }

        released = cursor.stage;
        depth = depth > tileDepth ? depth - tileDepth : arguments.depth;
    }

    waitProducts<0>();
}

// What the sums begin with: what the gradient is added to, or nothing. (The bias comes last: sums that begin with equal values share a register, and the assembler then serialises the products.)
template <bool gradient, int tileChannels>
__device__ inline void begin(const WarpgroupConvolutionArguments& arguments, int32 firstPixel, int32 firstChannel, float (&sums)[tileChannels / 2])
{
    int32 lane = threadIdx.x % lanes;
    int32 pixel = firstPixel + static_cast<int32>(threadIdx.x / lanes) * warpPixels + lane / 4;
    #pragma unroll
    for (int32 i = 0; i < tileChannels / 4; i++)
    {
        int32 channel = firstChannel + i / 2 * 8 + 2 * (lane % 4);
        float value = 0;
        float next = 0;
        if (gradient)
        {
            int32 row = pixel + i % 2 * 8;
            if (arguments.accumulate && row < arguments.pixels && channel < arguments.channels)
            {
                uint32 before = *reinterpret_cast<const uint32*>(arguments.output + static_cast<int64>(row) * arguments.pitch + channel);
                value = lowerBf16(before);
                next = upperBf16(before);
            }
        }

        sums[2 * i] = value;
        sums[2 * i + 1] = next;
    }
}

// All threads but the producer's.
__device__ inline void synchronizeConsumers()
{
    asm volatile("bar.sync %0, %1;" ::"n"(static_cast<int32>(consumerBarrier)), "n"(static_cast<int32>(consumers)) : "memory");
}

// A finished tile in shared memory: rows of bf16 channels, each four banks further than the one before.
template <int tileChannels>
struct Staged
{
    static constexpr int32 rowBytes = tileChannels * 2 + 16;
    unsigned char* memory;

    __device__ unsigned char* at(int32 row, int32 channel) const { return memory + row * rowBytes + channel * 2; }
    __device__ uint32 pair(int32 row, int32 channel) const { return *reinterpret_cast<const uint32*>(at(row, channel)); }
};

// Bias, rounding, and the way out: fragments to rows in shared memory, and from there in 16-byte stores. The stages' memory must be free.
template <int tileChannels>
__device__ inline void store(const WarpgroupConvolutionArguments& arguments, Staged<tileChannels> staged, int32 firstPixel, int32 firstChannel, const float (&sums)[tileChannels / 2])
{
    constexpr int32 chunks = tileChannels / 8;
    int32 lane = threadIdx.x % lanes;
    int32 firstRow = threadIdx.x / lanes * warpPixels;
    int32 place = 2 * (lane % 4);
    int32 valid = arguments.channels - firstChannel - place;
    const float* bias = arguments.bias + firstChannel + place;
    bool biased = arguments.bias != nullptr;
    #pragma unroll
    for (int32 i = 0; i < tileChannels / 4; i++)
    {
        int32 channel = i / 2 * 8;
        float value = sums[2 * i] + (biased && channel < valid ? bias[channel] : 0);
        float next = sums[2 * i + 1] + (biased && channel + 1 < valid ? bias[channel + 1] : 0);
        *reinterpret_cast<uint32*>(staged.at(firstRow + lane / 4 + i % 2 * 8, channel + place)) = packBf16(channel < valid ? value : 0, channel + 1 < valid ? next : 0);
    }

    __syncwarp();
    for (int32 i = lane; i < warpPixels * chunks; i += lanes)
    {
        int32 row = firstRow + i / chunks;
        int32 channel = i % chunks * 8;
        if (firstPixel + row < arguments.pixels && firstChannel + channel < arguments.pitch)
        {
            *reinterpret_cast<uint4*>(arguments.output + static_cast<int64>(firstPixel + row) * arguments.pitch + firstChannel + channel) =
                *reinterpret_cast<const uint4*>(staged.at(row, channel));
        }
    }
}

// The statistics of a stored tile: a thread takes two channels and every so many rows, and one thread a channel adds the parts in order.
template <int tileChannels>
__device__ inline void summarize(const WarpgroupConvolutionArguments& arguments, Staged<tileChannels> staged, int32 firstPixel, int32 firstChannel)
{
    constexpr int32 parts = consumers / (tileChannels / 2);
    Extent* extents = reinterpret_cast<Extent*>(staged.memory + tilePixels * staged.rowBytes);
    int32 rows = min(arguments.pixels - firstPixel, static_cast<int32>(tilePixels));
    int32 channel = threadIdx.x % (tileChannels / 2) * 2;
    int32 part = threadIdx.x / (tileChannels / 2);
    synchronizeConsumers();
    uint32 pivots = staged.pair(0, channel);
    Extent extent{0, 0, -__int_as_float(0x7F800000), __int_as_float(0x7F800000)};
    Extent next = extent;
    for (int32 row = part; row < rows; row += parts)
    {
        uint32 values = staged.pair(row, channel);
        extent.add(lowerBf16(values), lowerBf16(pivots));
        next.add(upperBf16(values), upperBf16(pivots));
    }

    extents[part * tileChannels + channel] = extent;
    extents[part * tileChannels + channel + 1] = next;
    synchronizeConsumers();
    channel = threadIdx.x;
    if (channel < tileChannels && firstChannel + channel < arguments.pitch)
    {
        extent = extents[channel];
        for (part = 1; part < parts; part++)
        {
            extent.merge(extents[part * tileChannels + channel]);
        }

        pivots = staged.pair(0, channel & ~1);
        float pivot = channel % 2 == 0 ? lowerBf16(pivots) : upperBf16(pivots);
        float squares = extent.squares - extent.sum * (extent.sum / rows);
        float* statistics = arguments.statistics + static_cast<int64>(firstPixel / tilePixels) * 4 * arguments.pitch + firstChannel + channel;
        statistics[0] = pivot + extent.sum / rows;
        statistics[arguments.pitch] = squares < 0 ? 0 : squares; // what is not a number stays
        statistics[2 * arguments.pitch] = extent.maximum;
        statistics[3 * arguments.pitch] = extent.minimum;
    }
}

template <bool gradient, int tileChannels, int stages>
__device__ inline void convolve(const WarpgroupConvolutionArguments& arguments)
{
    extern __shared__ unsigned char storage[];
    uint32 unaligned = sharedAddress(storage);
    Stages<tileChannels, stages> memory{divideUp<uint32>(unaligned, pieceBytes) * pieceBytes};
    int32 warp = threadIdx.x / lanes;
    if (threadIdx.x == 0)
    {
        for (int32 stage = 0; stage < stages; stage++)
        {
            startBarrier(memory.full(stage), 1);
            startBarrier(memory.empty(stage), consumers / lanes);
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
            prefetchMap(arguments.image);
            prefetchMap(arguments.filter);
            produce<gradient>(arguments, memory, firstPixel, firstChannel);
        }

        return;
    }

    float sums[tileChannels / 2];
    begin<gradient, tileChannels>(arguments, firstPixel, firstChannel, sums);
    consume<gradient>(arguments, memory, warp / 4, sums);
    synchronizeConsumers();
    Staged<tileChannels> staged{storage + (memory.base - unaligned)};
    store<tileChannels>(arguments, staged, firstPixel, firstChannel, sums);
    if (!gradient && arguments.statistics != nullptr)
    {
        summarize<tileChannels>(arguments, staged, firstPixel, firstChannel);
    }
}

#define CONVOLUTION(name, gradient, tileChannels, stages, blocks)                                                                            \
    extern "C" __global__ void __launch_bounds__(blockThreads, blocks) name(const __grid_constant__ WarpgroupConvolutionArguments arguments) \
    {                                                                                                                                        \
        convolve<gradient, tileChannels, stages>(arguments);                                                                                 \
    }

CONVOLUTION(forward64, false, 64, 4, 2)
CONVOLUTION(forward128, false, 128, 3, 2)
CONVOLUTION(forward256, false, 256, 4, 1)
CONVOLUTION(gradient64, true, 64, 4, 2)
CONVOLUTION(gradient128, true, 128, 3, 2)
CONVOLUTION(gradient256, true, 256, 4, 1)

#endif
