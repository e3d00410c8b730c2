// Filter and bias gradients of a convolution, float32, images NHWC, filters [out, kernelHeight, kernelWidth, in/groups].
//
//   ∂w[o, r, s, i] = Σ_{n,oh,ow} ∂y[n, oh, ow, o]·x[n, oh·stride + r·dilation − padding, ow·stride + s·dilation − padding, i]
//   ∂b[o]          = Σ_{n,oh,ow} ∂y[n, oh, ow, o]
//
// filterGradient: a product C[o, (tap, i)] with the output's pixels as depth. Both sides have their elements contiguous in memory, so 16-byte copies fill the
//   tiles. There are few tiles of C but many pixels, so the pixels are divided into splits, a number of the sizes only; every split writes partial sums
//   [split][out][taps·depth] (depth: the input channels of a group, rounded up to 4). One block of 128 threads a tile of 64 × 128 (8 × 8 sums a thread) or
//   32 × 64 (4 × 4) of one split; tiles in x, splits in y, groups in z. Groups must start on multiples of 4 channels; convolution_grouped.cu has the others.
// combineFilterGradient: adds the splits in ascending order; one thread four floats of ∂w.
// biasGradient: partial sums in float64 over slabs of pixels; a thread adds up to 64 rows of four channels in float32 first. combineBiasGradient adds the slabs.
//
// Moved: x once a tap and 64 output channels, ∂y once 128 columns of C, mostly out of the second-level cache; the partial sums twice. Limited by arithmetic
// (2·pixels·taps·in·out operations) from about 32 channels on. The bias gradient reads ∂y once and is limited by memory.
#include "tile.cuh"

struct FilterGradientArguments
{
    const float* input;
    const float* outputGradient;
    float* partials;
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
    int32 pixels;         // of all output images
    int32 pixelsPerSplit; // a multiple of 16
    int32 columnTiles;
};

template <class T>
struct FilterGradientSource
{
    enum
    {
        leftFours = T::rows / 4,
        leftAtOnce = T::threads / leftFours,
        leftOwned = depthStep / leftAtOnce,
        rightFours = T::columns / 4,
        rightAtOnce = T::threads / rightFours,
        rightOwned = depthStep / rightAtOnce,
    };

    const FilterGradientArguments& arguments;
    int32 pixel; // the first of the next step
    int32 last;  // the end of the split
    const float* gradients; // ∂y at this thread's four channels
    bool leftInside;
    const float* values; // x at this thread's channels, image 0, the position that its tap reads for output (0, 0)
    bool rightInside;
    int32 down; // that position
    int32 across;
    Counter step;
    Counter pixels[rightOwned]; // of the rows that this thread copies

    __device__ void copy(float* left, float* right)
    {
        int32 line = threadIdx.x / leftFours;
        float* target = left + threadIdx.x * 4;
#pragma unroll
        for (int i = 0; i < leftOwned; i++)
        {
            int32 row = pixel + line + i * leftAtOnce;
            bool valid = leftInside && row < last;
            const float* source = gradients + static_cast<int64>(row) * arguments.outputPitch;
            copyAsync16(target + i * leftAtOnce * T::rows, valid ? source : arguments.outputGradient, valid ? 16 : 0);
        }

        line = threadIdx.x / rightFours;
        target = right + threadIdx.x * 4;
#pragma unroll
        for (int i = 0; i < rightOwned; i++)
        {
            Counter& place = pixels[i];
            int32 y = place.middle * arguments.strideHeight;
            int32 x = place.inner * arguments.strideWidth;
            bool valid = rightInside && pixel + line + i * rightAtOnce < last && static_cast<uint32>(down + y) < static_cast<uint32>(arguments.inputHeight)
                && static_cast<uint32>(across + x) < static_cast<uint32>(arguments.inputWidth);
            int64 row = static_cast<int64>(place.outer) * arguments.inputHeight + y;
            const float* source = values + (row * arguments.inputWidth + x) * arguments.inputPitch;
            copyAsync16(target + i * rightAtOnce * T::columns, valid ? source : arguments.input, valid ? 16 : 0);
            place.advance(step, arguments.outputHeight, arguments.outputWidth);
        }

        pixel += depthStep;
    }
};

template <class T>
__device__ inline void filterGradient(const FilterGradientArguments& arguments)
{
    __shared__ __align__(16) float shared[T::sharedFloats];
    using Source = FilterGradientSource<T>;
    int32 group = blockIdx.z;
    int32 split = blockIdx.y;
    int32 firstRow = blockIdx.x / arguments.columnTiles * T::rows;
    int32 firstColumn = blockIdx.x % arguments.columnTiles * T::columns;
    int32 depth = divideUp(arguments.inputChannels, 4) * 4;
    int32 columns = arguments.kernelHeight * arguments.kernelWidth * depth;
    int32 firstPixel = split * arguments.pixelsPerSplit;
    int32 lastPixel = min(firstPixel + arguments.pixelsPerSplit, arguments.pixels);

    int32 row = firstRow + threadIdx.x % Source::leftFours * 4;
    int32 column = firstColumn + threadIdx.x % Source::rightFours * 4;
    Counter tap(column, arguments.kernelWidth, depth);
    int32 down = tap.outer * arguments.dilationHeight - arguments.paddingHeight;
    int32 across = tap.middle * arguments.dilationWidth - arguments.paddingWidth;
    int64 corner = (static_cast<int64>(down) * arguments.inputWidth + across) * arguments.inputPitch + group * arguments.inputChannels + tap.inner;
    Source source{
        arguments,
        firstPixel,
        lastPixel,
        arguments.outputGradient + group * arguments.outputChannels + row,
        row < arguments.outputChannels,
        arguments.input + corner,
        column < columns,
        down,
        across,
        Counter(depthStep, arguments.outputHeight, arguments.outputWidth),
        {}};
#pragma unroll
    for (int i = 0; i < Source::rightOwned; i++)
    {
        source.pixels[i] = Counter(firstPixel + threadIdx.x / Source::rightFours + i * Source::rightAtOnce, arguments.outputHeight, arguments.outputWidth);
    }

    T tile;
    tile.multiply(source, divideUp<int32>(lastPixel - firstPixel, depthStep), shared);

    int32 outputs = arguments.groups * arguments.outputChannels;
    float* partials = arguments.partials + (static_cast<int64>(split) * outputs + group * arguments.outputChannels) * columns;
#pragma unroll
    for (int i = 0; i < T::Left::owned; i++)
    {
        int32 output = firstRow + T::row(i);
        if (output < arguments.outputChannels)
        {
#pragma unroll
            for (int j = 0; j < T::Right::owned; j += 4)
            {
                int32 element = firstColumn + T::column(j);
                if (element < columns)
                {
                    float4 value = {tile.sums[i][j], tile.sums[i][j + 1], tile.sums[i][j + 2], tile.sums[i][j + 3]};
                    *reinterpret_cast<float4*>(partials + static_cast<int64>(output) * columns + element) = value;
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 3) filterGradientLarge(const __grid_constant__ FilterGradientArguments arguments)
{
    filterGradient<Tile<Layout::depthOuter, Layout::depthOuter, 64, 128, 8, 8>>(arguments);
}

extern "C" __global__ void __launch_bounds__(128) filterGradientSmall(const __grid_constant__ FilterGradientArguments arguments)
{
    filterGradient<Tile<Layout::depthOuter, Layout::depthOuter, 32, 64, 4, 4>>(arguments);
}

struct CombineFilterArguments
{
    const float* partials;
    float* weightGradient;
    int64 splitFloats;
    int32 splits;
    int32 rows; // out · taps
    int32 channels;
    int32 weightPitch;
    int32 accumulate;
};

extern "C" __global__ void __launch_bounds__(256) combineFilterGradient(const __grid_constant__ CombineFilterArguments arguments)
{
    uint32 fours = arguments.weightPitch / 4;
    int32 depth = divideUp(arguments.channels, 4) * 4;
    uint32 items = arguments.rows * fours;
    for (uint32 item = blockIdx.x * blockDim.x + threadIdx.x; item < items; item += gridDim.x * blockDim.x)
    {
        uint32 row = item / fours;
        int32 channel = (item - row * fours) * 4;
        float4 sum{};
        if (channel < depth)
        {
            const float* partial = arguments.partials + static_cast<int64>(row) * depth + channel;
#pragma unroll 4
            for (int32 split = 0; split < arguments.splits; split++)
            {
                float4 value = *reinterpret_cast<const float4*>(partial);
                partial += arguments.splitFloats;
                sum.x += value.x;
                sum.y += value.y;
                sum.z += value.z;
                sum.w += value.w;
            }
        }

        float4* target = reinterpret_cast<float4*>(arguments.weightGradient) + item;
        float4 old = arguments.accumulate ? *target : float4{};
        sum.x = channel < arguments.channels ? old.x + sum.x : 0;
        sum.y = channel + 1 < arguments.channels ? old.y + sum.y : 0;
        sum.z = channel + 2 < arguments.channels ? old.z + sum.z : 0;
        sum.w = channel + 3 < arguments.channels ? old.w + sum.w : 0;
        *target = sum;
    }
}

struct BiasGradientArguments
{
    const float* outputGradient;
    double* partials; // [slab][pitch]
    int32 rows;
    int32 rowsPerSlab;
    int32 pitch;
};

// One block of 8 fours of channels × 32 rows a slab (y) and 32 channels (x). Shared memory brings a four's 32 rows together, in order.
extern "C" __global__ void __launch_bounds__(256) biasGradient(const __grid_constant__ BiasGradientArguments arguments)
{
    __shared__ double sums[32][33];
    int32 four = threadIdx.x % 8;
    int32 line = threadIdx.x / 8;
    int32 channel = blockIdx.x * 32 + four * 4;
    int32 first = blockIdx.y * arguments.rowsPerSlab;
    int32 last = min(first + arguments.rowsPerSlab, arguments.rows);
    float4 sum{};
    if (channel < arguments.pitch)
    {
        const float* source = arguments.outputGradient + static_cast<int64>(first + line) * arguments.pitch + channel;
#pragma unroll 4
        for (int32 row = first + line; row < last; row += 32)
        {
            float4 value = *reinterpret_cast<const float4*>(source);
            source += 32 * arguments.pitch;
            sum.x += value.x;
            sum.y += value.y;
            sum.z += value.z;
            sum.w += value.w;
        }
    }

    sums[line][four * 4] = sum.x;
    sums[line][four * 4 + 1] = sum.y;
    sums[line][four * 4 + 2] = sum.z;
    sums[line][four * 4 + 3] = sum.w;
    __syncthreads();
    channel = blockIdx.x * 32 + threadIdx.x;
    if (threadIdx.x < 32 && channel < arguments.pitch)
    {
        double total = 0;
#pragma unroll 8
        for (int i = 0; i < 32; i++)
        {
            total += sums[i][threadIdx.x];
        }

        arguments.partials[static_cast<int64>(blockIdx.y) * arguments.pitch + channel] = total;
    }
}

struct CombineBiasArguments
{
    const double* partials;
    float* biasGradient;
    int32 slabs;
    int32 channels;
    int32 pitch;
    int32 accumulate;
};

extern "C" __global__ void __launch_bounds__(256) combineBiasGradient(const __grid_constant__ CombineBiasArguments arguments)
{
    int32 channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= arguments.pitch)
    {
        return;
    }

    double sum = 0;
    const double* partial = arguments.partials + channel;
#pragma unroll 4
    for (int32 slab = 0; slab < arguments.slabs; slab++)
    {
        sum += *partial;
        partial += arguments.pitch;
    }

    float value = static_cast<float>(sum);
    float old = arguments.accumulate ? arguments.biasGradient[channel] : 0.0f;
    arguments.biasGradient[channel] = channel < arguments.channels ? old + value : 0.0f;
}
