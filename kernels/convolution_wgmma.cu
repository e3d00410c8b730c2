// Convolution of bf16 images with float32 sums on Hopper's tensor cores (sm_90a), and its data gradient with stride 1:
//   y[n, p, q, o] = bias[o] + Σ_{r,s,i} x[n, p·stride + r·dilation − padding, q·stride + s·dilation − padding, i]·w[o, r, s, i]
//   dx[n, h, w, i] (+)= Σ_{r,s,o} dy[n, h + padding − r·dilation, w + padding − s·dilation, o]·w[o, r, s, i]
// The second is the first on the flipped filter, with padding' = (kernel − 1)·dilation − padding, and w[o, r, s, i] read with o as depth.
//
// Where statistics are wanted, the forward pass also leaves mean, Σ(y − mean)², maximum and minimum of each channel's stored values over the pixels of every tile, as convolution_tensor.cu does.
// To the gradient the output's own values are added, or what a mapped shortcut brings: its gradient at the residual sum, through the inverse map.
//
// Layout: images [n, row, column, channel] and filters [o, r, s, i] in bf16, pitched to multiples of 8 channels; bias float32. The padding of the output is written as zero.
// As a product: C[pixel, channel] = Σ_depth A[pixel, depth]·B[depth, channel], depth = (tap, channel of the source), a tap's channels in blocks of 64.
//
// A block of nine warps computes 128 pixels × 64, 128 or 256 channels; grid: tiles, those of the same pixels side by side. The last warp is the producer: one thread has the tensor memory accelerator
// copy 64 depths of the image and 64 depths of the filter at a time into one of several stages. Two warpgroups consume: each multiplies its 64 pixels with all channels of the tile, 16 depths an
// instruction, a stage's instructions as one group, the next group begun before the last one ends. A stage's full barrier counts bytes, its empty barrier the warps that are done. What lies outside of
// the images, behind the last image, beyond the depth or the channels arrives as zero; depths beyond the last multiple of 16 are not multiplied.
//
//   forward…, gradient…         any filter: 128 pixels in their order, copied once a tap (im2col: the hardware walks over pixels, steps and image edges). Order of sums: tap, depth.
//   …Patches…                   filters of three rows without steps or dilation, output sides multiples of 8: two patches of 8 × 8 pixels, copied once a column of taps as 8 × 10, eight pixels a piece
//                               of 1024 bytes; the taps of a column begin a piece apart. Filters have stages of their own. Order of sums: block of 64 depths, column of taps, row of taps.
//
// Bytes: X + Y + W from memory. From the second-level cache, a tap's 64 depths of a tile of N channels: 16 KB of pixels, among patches 6.7 KB, and N·128 of filters.
//
// Limits of a multiprocessor for these 64 depths of a tile, in clocks, predicted and not measured: products (N / 2 an instruction of 64 × N × 16); shared memory at 128 bytes a clock (an instruction reads
// 2 KB + N·32, and what arrives is written once); the second-level cache at 39 bytes a clock, a multiprocessor's share of 5,120.
//                products    shared memory, patches    second-level cache, patches
//   N = 64            256              448 to 373                    630 to 385
//   N = 128           512              640 to 565                    840 to 595
//   N = 256          1024             1024 to 949                   1260 to 1015
// So patches are limited by products at 256 channels, and at 128 almost. Below, filters that stay in shared memory from tile to tile would help, and 256 pixels a tile; neither is written.
// Two blocks a multiprocessor (64 and 128 channels) overlap one's epilogue with the other's products. The same input gives the same bits.
#include "bulk_copy.cuh"
#include "tensor_core.cuh"
#include "warpgroup.cuh"

struct WarpgroupConvolutionArguments
{
    TensorMap image;      // of x or dy: boxes of 128 pixels × 64 channels; of patches 64 channels × 8 columns × 10 rows
    TensorMap filter;     // [o, tap, i]: boxes of 64 i × 1 tap × the tile's channels of o; for the gradient 64 i × 1 tap × 64 o
    uint16* output;
    const float* bias;    // or null
    float* statistics;    // [tiles of pixels][4][pitch] mean, Σ(y − mean)², maximum and minimum of the stored values; or null
    const uint16* residual; // of the gradient: that of a mapped shortcut's sum; or null
    const int32* map;       // the residual's channel for each of the output, negative for none
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
    int32 residualPitch;
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
    patchSide = 8,
    patchRows = patchSide + 2,          // with what three rows of taps reach
    patchTaps = 3,
};

// The stages in shared memory, by addresses: image tiles and filter tiles, then the barriers.
template <int tileChannels, int stages>
struct Stages
{
    static constexpr uint32 imageBytes = tilePixels * rowBytes;
    static constexpr uint32 bytes = imageBytes + tileChannels * rowBytes;
    static constexpr bool patches = false;
    uint32 base;

    __device__ void start() const
    {
        for (int32 stage = 0; stage < stages; stage++)
        {
            startBarrier(full(stage), 1);
            startBarrier(empty(stage), consumers / lanes);
        }
    }

    __device__ uint32 image(int32 stage) const { return base + stage * bytes; }
    __device__ uint32 filter(int32 stage) const { return base + stage * bytes + imageBytes; }
    __device__ uint32 full(int32 stage) const { return base + stages * bytes + stage * 8; }
    __device__ uint32 empty(int32 stage) const { return base + stages * bytes + (stages + stage) * 8; }
};

// The same for patches: two patches are one stage, and a tap of the filter one of another ring.
template <int tileChannels, int imageStages, int filterStages>
struct PatchStages
{
    static constexpr uint32 patchBytes = patchRows * patchSide * rowBytes;
    static constexpr uint32 imageBytes = consumers / 128 * patchBytes;
    static constexpr uint32 filterBytes = tileChannels * rowBytes;
    static constexpr uint32 barriers = imageStages * imageBytes + filterStages * filterBytes;
    static constexpr bool patches = true;
    uint32 base;

    __device__ void start() const
    {
        for (int32 stage = 0; stage < imageStages; stage++)
        {
            startBarrier(fullImage(stage), 1);
            startBarrier(emptyImage(stage), consumers / lanes);
        }

        for (int32 stage = 0; stage < filterStages; stage++)
        {
            startBarrier(fullFilter(stage), 1);
            startBarrier(emptyFilter(stage), consumers / lanes);
        }
    }

    __device__ uint32 image(int32 stage) const { return base + stage * imageBytes; }
    __device__ uint32 filter(int32 stage) const { return base + imageStages * imageBytes + stage * filterBytes; }
    __device__ uint32 fullImage(int32 stage) const { return base + barriers + stage * 8; }
    __device__ uint32 emptyImage(int32 stage) const { return base + barriers + (imageStages + stage) * 8; }
    __device__ uint32 fullFilter(int32 stage) const { return base + barriers + (2 * imageStages + stage) * 8; }
    __device__ uint32 emptyFilter(int32 stage) const { return base + barriers + (2 * imageStages + filterStages + stage) * 8; }
};

// Patches are counted along a row of the image, then downwards, then from image to image. The last one of a tile may lie behind the last image.
struct Patch
{
    int32 image;
    int32 row;
    int32 column;

    __device__ Patch(const WarpgroupConvolutionArguments& arguments, int32 number)
    {
        int32 across = arguments.width / patchSide;
        int32 down = arguments.height / patchSide;
        int32 line = number / across;
        image = line / down;
        row = (line - image * down) * patchSide;
        column = (number - line * across) * patchSide;
    }
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

// A tap's filters, 64 depths of them. The gradient sees the taps in reverse.
template <bool gradient, int tileChannels>
__device__ inline void copyFilter(const WarpgroupConvolutionArguments& arguments, uint32 shared, int32 depth, int32 tap, int32 firstChannel, uint32 full)
{
    if (gradient)
    {
        int32 lastTap = arguments.kernelHeight * arguments.kernelWidth - 1;
#pragma unroll
        for (int32 part = 0; part < tileChannels; part += tileDepth)
        {
            copyBox(shared + part * rowBytes, arguments.filter, firstChannel + part, lastTap - tap, depth, full);
        }
    }
    else
    {
        copyBox(shared, arguments.filter, depth, tap, firstChannel, full);
    }
}

template <bool gradient, int tileChannels, int stages>
__device__ inline void produce(const WarpgroupConvolutionArguments& arguments, const Stages<tileChannels, stages>& memory, int32 firstPixel, int32 firstChannel)
{
    int32 line = firstPixel / arguments.width;
    int32 image = line / arguments.height;
    int32 column = arguments.firstColumn + (firstPixel - line * arguments.width) * arguments.strideWidth;
    int32 row = arguments.firstRow + (line - image * arguments.height) * arguments.strideHeight;
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
                copyFilter<gradient, tileChannels>(arguments, memory.filter(cursor.stage), depth, tap, firstChannel, full);
            }
        }
    }
}

template <bool gradient, int tileChannels, int imageStages, int filterStages>
__device__ inline void produce(
    const WarpgroupConvolutionArguments& arguments, const PatchStages<tileChannels, imageStages, filterStages>& memory, int32 firstPixel, int32 firstChannel)
{
    int32 firstPatch = firstPixel / (patchSide * patchSide);
    Patch first(arguments, firstPatch);
    Patch second(arguments, firstPatch + 1);
    Cursor<imageStages> images{0, 1};
    Cursor<filterStages> filters{0, 1};
    for (int32 depth = 0; depth < arguments.depth; depth += tileDepth)
    {
        for (int32 tapColumn = 0; tapColumn < arguments.kernelWidth; tapColumn++, images.advance())
        {
            uint32 full = memory.fullImage(images.stage);
            int32 column = arguments.firstColumn + tapColumn;
            waitFor(memory.emptyImage(images.stage), images.parity);
            arriveExpecting(full, memory.imageBytes);
            copyBox(memory.image(images.stage), arguments.image, depth, column + first.column, arguments.firstRow + first.row, first.image, full);
            copyBox(memory.image(images.stage) + memory.patchBytes, arguments.image, depth, column + second.column, arguments.firstRow + second.row, second.image, full);
            for (int32 tapRow = 0; tapRow < patchTaps; tapRow++, filters.advance())
            {
                full = memory.fullFilter(filters.stage);
                waitFor(memory.emptyFilter(filters.stage), filters.parity);
                arriveExpecting(full, memory.filterBytes);
                copyFilter<gradient, tileChannels>(arguments, memory.filter(filters.stage), depth, tapRow * arguments.kernelWidth + tapColumn, firstChannel, full);
            }
        }
    }
}

// The products of one stage, so many times 16 depths, as a group.
template <bool gradient, int steps, int tileSums>
__device__ inline void multiplySteps(float (&sums)[tileSums], MatrixOperand image, MatrixOperand filter)
{
    constexpr uint32 filterStep = gradient ? stepDepth * rowBytes : stepDepth * 2;
    fenceSums();
#pragma unroll
    for (int32 step = 0; step < steps; step++)
    {
        multiplyWarpgroup<gradient>(sums, image.at(step * stepDepth * 2), filter.at(step * filterStep));
    }

    commitProducts();
}

// As many as the depth that is left asks for. Then this warp's products before these are done, and with them its reads of their stage.
template <bool gradient, int tileSums>
__device__ inline void multiplyStage(float (&sums)[tileSums], MatrixOperand image, MatrixOperand filter, int32 depth)
{
    // A group stands in one branch: where branches divide one, the assembler waits after every product.
    if (depth > 3 * stepDepth)
    {
        multiplySteps<gradient, 4>(sums, image, filter);
    }
    else if (depth > 2 * stepDepth)
    {
        multiplySteps<gradient, 3>(sums, image, filter);
    }
    else if (depth > stepDepth)
    {
        multiplySteps<gradient, 2>(sums, image, filter);
    }
    else
    {
        multiplySteps<gradient, 1>(sums, image, filter);
    }

    waitProducts<1>();
}

// Of the filter's tile: a row a channel with depths side by side; for the gradient a row a depth, 64 channels side by side.
template <bool gradient>
__device__ inline MatrixOperand filterOperand(uint32 shared)
{
    return MatrixOperand(shared, gradient ? tileDepth * rowBytes : 16, pieceBytes);
}

template <bool gradient, int tileChannels, int stages>
__device__ inline void consume(const WarpgroupConvolutionArguments& arguments, const Stages<tileChannels, stages>& memory, int32 warpgroup, float (&sums)[tileChannels / 2])
{
    MatrixOperand images(memory.image(0) + warpgroup * warpgroupPixels * rowBytes, 16, pieceBytes);
    MatrixOperand filters = filterOperand<gradient>(memory.filter(0));
    int32 blocks = arguments.kernelHeight * arguments.kernelWidth * divideUp<int32>(arguments.depth, tileDepth);
    int32 depth = arguments.depth;
    int32 released = -1;
    Cursor<stages> cursor{0, 0};
    do
    {
        waitFor(memory.full(cursor.stage), cursor.parity);
        multiplyStage<gradient>(sums, images.further(cursor.stage * memory.bytes), filters.further(cursor.stage * memory.bytes), depth);
        if (released >= 0 && threadIdx.x % lanes == 0)
        {
            arrive(memory.empty(released));
        }

        released = cursor.stage;
        depth = depth > tileDepth ? depth - tileDepth : arguments.depth;
        cursor.advance();
    } while (--blocks > 0);

    waitProducts<0>();
}

// A warpgroup's patch lies there a row of eight pixels after the other, so that the next row of taps begins a piece further.
template <bool gradient, int tileChannels, int imageStages, int filterStages>
__device__ inline void consume(
    const WarpgroupConvolutionArguments& arguments, const PatchStages<tileChannels, imageStages, filterStages>& memory, int32 warpgroup, float (&sums)[tileChannels / 2])
{
    MatrixOperand patches(memory.image(0) + warpgroup * memory.patchBytes, 16, pieceBytes);
    MatrixOperand taps = filterOperand<gradient>(memory.filter(0));
    int32 blocks = patchTaps * arguments.kernelWidth * divideUp<int32>(arguments.depth, tileDepth);
    int32 depth = arguments.depth;
    int32 tapRow = 0;
    int32 tapColumn = 0;
    int32 releasedImage = -1;
    int32 released = -1;
    Cursor<imageStages> images{0, 0};
    Cursor<filterStages> filters{0, 0};
    do
    {
        if (tapRow == 0)
        {
            waitFor(memory.fullImage(images.stage), images.parity);
        }

        waitFor(memory.fullFilter(filters.stage), filters.parity);
        multiplyStage<gradient>(sums, patches.further(images.stage * memory.imageBytes + tapRow * pieceBytes), taps.further(filters.stage * memory.filterBytes), depth);
        if (released >= 0 && threadIdx.x % lanes == 0)
        {
            arrive(memory.emptyFilter(released));
            if (tapRow == 0)
            {
                arrive(memory.emptyImage(releasedImage));
            }
        }

        released = filters.stage;
        filters.advance();
        if (++tapRow == patchTaps)
        {
            tapRow = 0;
            releasedImage = images.stage;
            images.advance();
            if (++tapColumn == arguments.kernelWidth)
            {
                tapColumn = 0;
                depth -= tileDepth;
            }
        }
    } while (--blocks > 0);

    waitProducts<0>();
}

// All threads but the producer's.
__device__ inline void synchronizeConsumers()
{
    asm volatile("bar.sync %0, %1;" ::"n"(static_cast<int32>(consumerBarrier)), "n"(static_cast<int32>(consumers)) : "memory");
}

// A finished tile in shared memory: rows of bf16 channels, each four banks further than the one before. A warp's 16 rows are its own; there a thread takes 16 bytes of one column, every so many rows.
template <int tileChannels>
struct Staged
{
    static constexpr int32 rowBytes = tileChannels * 2 + 16;
    static constexpr int32 across = tileChannels / 8;
    static constexpr int32 down = lanes / across;
    static constexpr int32 chunks = warpPixels / down; // of a thread
    unsigned char* memory;

    __device__ unsigned char* at(int32 row, int32 channel) const { return memory + row * rowBytes + channel * 2; }
    __device__ uint32& pair(int32 row, int32 channel) const { return *reinterpret_cast<uint32*>(at(row, channel)); }
    __device__ uint4& chunk(int32 row, int32 channel) const { return *reinterpret_cast<uint4*>(at(row, channel)); }
    __device__ static int32 row() { return threadIdx.x / lanes * warpPixels + threadIdx.x % lanes / across; }
    __device__ static int32 channel() { return threadIdx.x % across * 8; }
};

// Which pixels of the output a thread's rows are: the first one, and how far the others, whole columns of chunks further, are from it.
template <bool patches>
struct Positions
{
    int32 first; // of the tile, or of the warp's patch
    int32 width;

    __device__ Positions(const WarpgroupConvolutionArguments& arguments, int32 firstPixel) : first(firstPixel), width(arguments.width)
    {
        if (patches)
        {
            Patch patch(arguments, firstPixel / (patchSide * patchSide) + threadIdx.x / 128);
            first = (patch.image * arguments.height + patch.row) * width + patch.column;
        }
    }

    __device__ int64 of(int32 row) const { return patches ? first + row / patchSide % patchSide * width + row % patchSide : first + row; }
    __device__ int64 further(int32 rows) const { return patches ? rows / patchSide * width + rows % patchSide : rows; }
};

// What the gradient is added to, into the warp's rows: what the output holds, or what a mapped shortcut brings.
template <bool mapped, bool patches, int tileChannels>
__device__ inline void fetch(const WarpgroupConvolutionArguments& arguments, Staged<tileChannels> staged, Positions<patches> positions, int32 firstPixel, int32 firstChannel)
{
    int32 row = staged.row();
    int32 channel = firstChannel + staged.channel();
    int32 left = channel < arguments.pitch ? arguments.pixels - firstPixel - row : 0;
    int32 pitch = mapped ? arguments.residualPitch : arguments.pitch;
    const uint16* from = (mapped ? arguments.residual : arguments.output + channel) + positions.of(row) * pitch;
    int32 map[8];
#pragma unroll
    for (int32 i = 0; i < 8; i++)
    {
        map[i] = mapped && channel + i < arguments.channels ? arguments.map[channel + i] : -1;
    }

#pragma unroll(mapped ? 2 : 4)
    for (int32 i = 0; i < staged.chunks; i++)
    {
        uint4 values = make_uint4(0, 0, 0, 0);
        if (i * staged.down < left)
        {
            const uint16* pixel = from + positions.further(i * staged.down) * pitch;
            auto mappedPair = [&](int32 first) {
                uint32 low = map[first] < 0 ? 0 : pixel[map[first]];
                uint32 high = map[first + 1] < 0 ? 0 : pixel[map[first + 1]];
                return low | high << 16;
            };
            values = mapped ? make_uint4(mappedPair(0), mappedPair(2), mappedPair(4), mappedPair(6)) : *reinterpret_cast<const uint4*>(pixel);
        }

        staged.chunk(row + i * staged.down, staged.channel()) = values;
    }

    __syncwarp();
}

// What a tile's sums are added to before they are rounded.
enum class Addend
{
    nothing, // and no channel of the tile lies in the padding
    bias,    // or none
    fetched, // what lies where the results will
};

// Fragments, rounded, to the warp's rows. What belongs to the padding becomes zero, whatever was multiplied.
template <Addend addend, int tileChannels>
__device__ inline void stage(const WarpgroupConvolutionArguments& arguments, Staged<tileChannels> staged, int32 firstChannel, const float (&sums)[tileChannels / 2])
{
    int32 lane = threadIdx.x % lanes;
    int32 row = threadIdx.x / lanes * warpPixels + lane / 4;
    int32 place = 2 * (lane % 4);
    int32 valid = arguments.channels - firstChannel - place;
    const float* biases = arguments.bias + firstChannel + place;
    bool biased = addend == Addend::bias && arguments.bias != nullptr;
#pragma unroll
    for (int32 j = 0; j < tileChannels / 8; j++)
    {
        int32 channel = 8 * j;
        uint32 kept = addend == Addend::nothing || channel + 1 < valid ? 0xFFFFFFFFu : channel < valid ? 0xFFFFu : 0;
        float bias = biased && channel < valid ? biases[channel] : 0;
        float next = biased && channel + 1 < valid ? biases[channel + 1] : 0;
#pragma unroll
        for (int32 h = 0; h < 2; h++)
        {
            uint32& pair = staged.pair(row + 8 * h, place + channel);
            if (addend == Addend::fetched)
            {
                bias = lowerBf16(pair);
                next = upperBf16(pair);
            }

            const float* both = sums + 4 * j + 2 * h;
            pair = addend == Addend::nothing ? packBf16(both[0], both[1]) : packBf16(both[0] + bias, both[1] + next) & kept;
        }
    }

    __syncwarp();
}

// The warp's rows to memory.
template <bool patches, int tileChannels>
__device__ inline void store(const WarpgroupConvolutionArguments& arguments, Staged<tileChannels> staged, Positions<patches> positions, int32 firstPixel, int32 firstChannel)
{
    int32 row = staged.row();
    int32 channel = staged.channel();
    int32 left = firstChannel + channel < arguments.pitch ? arguments.pixels - firstPixel - row : 0;
    uint16* target = arguments.output + positions.of(row) * arguments.pitch + (firstChannel + channel);
#pragma unroll
    for (int32 i = 0; i < staged.chunks; i++)
    {
        if (i * staged.down < left)
        {
            *reinterpret_cast<uint4*>(target + positions.further(i * staged.down) * arguments.pitch) = staged.chunk(row + i * staged.down, channel);
        }
    }
}

// Moments about pivots, and extrema, of two neighbouring channels' stored values. Extrema of bf16 values are bf16 values.
struct PairExtent
{
    float4 moments; // Σ(x − pivot) of both, Σ(x − pivot)² of both
    uint2 extrema;  // maxima, minima

    __device__ void add(uint32 pair, float pivot, float nextPivot)
    {
        float difference = lowerBf16(pair) - pivot;
        float next = upperBf16(pair) - nextPivot;
        moments.x += difference;
        moments.y += next;
        moments.z = fmaf(difference, difference, moments.z);
        moments.w = fmaf(next, next, moments.w);
        extrema = {maximumBf16(extrema.x, pair), minimumBf16(extrema.y, pair)};
    }

    __device__ void merge(const PairExtent& other)
    {
        moments.x += other.moments.x;
        moments.y += other.moments.y;
        moments.z += other.moments.z;
        moments.w += other.moments.w;
        extrema = {maximumBf16(extrema.x, other.extrema.x), minimumBf16(extrema.y, other.extrema.y)};
    }
};

// The statistics of a stored tile: a thread takes two channels and every so many rows, and one thread a pair of channels adds the parts in order.
template <int tileChannels>
__device__ inline void summarize(const WarpgroupConvolutionArguments& arguments, Staged<tileChannels> staged, int32 firstPixel, int32 firstChannel)
{
    constexpr int32 pairs = tileChannels / 2;
    constexpr int32 parts = consumers / pairs;
    float4* moments = reinterpret_cast<float4*>(staged.memory + tilePixels * staged.rowBytes);
    uint2* extrema = reinterpret_cast<uint2*>(moments + consumers);
    int32 rows = arguments.pixels - firstPixel;
    int32 channel = threadIdx.x % pairs * 2;
    int32 part = threadIdx.x / pairs;
    synchronizeConsumers();
    uint32 pivots = staged.pair(0, channel);
    float pivot = lowerBf16(pivots);
    float next = upperBf16(pivots);
    PairExtent extent{{0, 0, 0, 0}, {0xFF80FF80u, 0x7F807F80u}};
    if (rows >= tilePixels)
    {
        rows = tilePixels;
#pragma unroll 16
        for (int32 row = 0; row < tilePixels; row += parts)
        {
            extent.add(staged.pair(part + row, channel), pivot, next);
        }
    }
    else
    {
        for (int32 row = part; row < rows; row += parts)
        {
            extent.add(staged.pair(row, channel), pivot, next);
        }
    }

    moments[threadIdx.x] = extent.moments;
    extrema[threadIdx.x] = extent.extrema;
    synchronizeConsumers();
    if (part == 0 && firstChannel + channel < arguments.pitch)
    {
#pragma unroll
        for (int32 other = 1; other < parts; other++)
        {
            extent.merge({moments[other * pairs + threadIdx.x], extrema[other * pairs + threadIdx.x]});
        }

        float share = extent.moments.x / rows;
        float nextShare = extent.moments.y / rows;
        float squares = extent.moments.z - extent.moments.x * share;
        float nextSquares = extent.moments.w - extent.moments.y * nextShare;
        float* statistics = arguments.statistics + static_cast<int64>(firstPixel / tilePixels) * 4 * arguments.pitch + (firstChannel + channel);
        auto write = [&](int32 which, float low, float high) { *reinterpret_cast<float2*>(statistics + which * arguments.pitch) = make_float2(low, high); };
        write(0, pivot + share, next + nextShare);
        write(1, squares < 0 ? 0 : squares, nextSquares < 0 ? 0 : nextSquares); // what is not a number stays
        write(2, lowerBf16(extent.extrema.x), upperBf16(extent.extrema.x));
        write(3, lowerBf16(extent.extrema.y), upperBf16(extent.extrema.y));
    }
}

// The way out of a tile: fragments to rows in shared memory, and from there in stores of 16 bytes. The stages' memory must be free.
template <bool gradient, bool patches, int tileChannels>
__device__ inline void finish(const WarpgroupConvolutionArguments& arguments, Staged<tileChannels> staged, int32 firstPixel, int32 firstChannel, const float (&sums)[tileChannels / 2])
{
    Positions<patches> positions(arguments, firstPixel);
    if (gradient && (arguments.accumulate != 0 || arguments.residual != nullptr))
    {
        if (arguments.residual != nullptr)
        {
            fetch<true>(arguments, staged, positions, firstPixel, firstChannel);
        }
        else
        {
            fetch<false>(arguments, staged, positions, firstPixel, firstChannel);
        }

        stage<Addend::fetched>(arguments, staged, firstChannel, sums);
    }
    else if (arguments.bias == nullptr && firstChannel + tileChannels <= arguments.channels)
    {
        stage<Addend::nothing>(arguments, staged, firstChannel, sums);
    }
    else
    {
        stage<Addend::bias>(arguments, staged, firstChannel, sums);
    }

    store(arguments, staged, positions, firstPixel, firstChannel);
    if (!gradient && arguments.statistics != nullptr)
    {
        summarize(arguments, staged, firstPixel, firstChannel);
    }
}

template <bool gradient, int tileChannels, class Memory>
__device__ inline void convolve(const WarpgroupConvolutionArguments& arguments)
{
    extern __shared__ unsigned char storage[];
    uint32 unaligned = sharedAddressOf(storage);
    Memory memory{divideUp<uint32>(unaligned, pieceBytes) * pieceBytes};
    int32 warp = __shfl_sync(0xFFFFFFFFu, threadIdx.x / lanes, 0); // the same in all lanes, which the compiler cannot see otherwise
    bool produces = warp == consumers / lanes;
    if (produces && elect())
    {
        prefetchMap(arguments.image);
        prefetchMap(arguments.filter);
        memory.start();
        publishBarriers();
    }

    __syncthreads();
    int32 firstPixel = static_cast<int32>(blockIdx.x / arguments.columnTiles) * tilePixels;
    int32 firstChannel = static_cast<int32>(blockIdx.x % arguments.columnTiles) * tileChannels;
    if (produces)
    {
        if (elect())
        {
            produce<gradient>(arguments, memory, firstPixel, firstChannel);
        }

        return;
    }

    float sums[tileChannels / 2];
#pragma unroll
    for (int32 i = 0; i < tileChannels / 2; i++)
    {
        sums[i] = 0;
    }

    consume<gradient>(arguments, memory, warp / 4, sums);
    synchronizeConsumers();
    finish<gradient, Memory::patches, tileChannels>(arguments, Staged<tileChannels>{storage + (memory.base - unaligned)}, firstPixel, firstChannel, sums);
}

#define CONVOLUTION(name, gradient, tileChannels, blocks, ...)                                                                               \
    extern "C" __global__ void __launch_bounds__(blockThreads, blocks) name(const __grid_constant__ WarpgroupConvolutionArguments arguments) \
    {                                                                                                                                        \
        convolve<gradient, tileChannels, __VA_ARGS__>(arguments);                                                                            \
    }

#define CONVOLUTIONS(tileChannels, blocks, stages, imageStages, filterStages)                                                            \
    CONVOLUTION(forward##tileChannels, false, tileChannels, blocks, Stages<tileChannels, stages>)                                        \
    CONVOLUTION(gradient##tileChannels, true, tileChannels, blocks, Stages<tileChannels, stages>)                                        \
    CONVOLUTION(forwardPatches##tileChannels, false, tileChannels, blocks, PatchStages<tileChannels, imageStages, filterStages>)         \
    CONVOLUTION(gradientPatches##tileChannels, true, tileChannels, blocks, PatchStages<tileChannels, imageStages, filterStages>)

CONVOLUTIONS(64, 2, 4, 3, 6)
CONVOLUTIONS(128, 2, 3, 2, 4)
CONVOLUTIONS(256, 1, 4, 3, 5)

#endif
