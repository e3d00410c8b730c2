// Filter and bias gradients of a convolution, float32, images NHWC, filters [out, kernelHeight, kernelWidth, in/groups].
//
//   ∂w[o, r, s, i] = Σ_{n,oh,ow} ∂y[n, oh, ow, o]·x[n, oh·stride + r·dilation − padding, ow·stride + s·dilation − padding, i]
//   ∂b[o]          = Σ_{n,oh,ow} ∂y[n, oh, ow, o]
//
// filterGradient: a product C[o, (tap, i)] with the output's pixels as depth. Both sides have their elements contiguous in memory, so 16-byte copies fill the
//   tiles. There are few tiles of C but many pixels, so the pixels are divided into splits, a number of the sizes only; every split writes partial sums
//   [split][out][taps·depth] (depth: the input channels of a group, rounded up to 4). One block a tile of 64 × 128 (8 × 8 sums a thread), 32 × 64 or
//   16 × 64 (4 × 4) of one split; tiles in x, splits in y, groups in z. Groups must start on multiples of 4 channels; convolution_grouped.cu has the others.
// combineFilterGradient: adds the splits in ascending order, also those of convolution_filter_tensor.cu; one thread four floats of ∂w.
// biasGradient, biasGradientBf16 (∂y in bf16): partial sums in float64 over slabs of pixels; a thread adds up to 64 rows of four channels in float32 first. combineBiasGradient adds the slabs.
//
// Moved: x once a tap and 64 output channels, ∂y once 128 columns of C, mostly out of the second-level cache; the partial sums twice. Limited by arithmetic
// (2·pixels·taps·in·out operations) from about 32 channels on. The bias gradient reads ∂y once and is limited by memory.
#include "filter_gradient.cuh"
#include "tensor_core.cuh"
#include "tile.cuh"

using Bf16 = unsigned short;

// A side of the tile in shared memory: [depthStep][extent].
template <int extent>
struct Plain
{
    enum
    {
        chunks = extent / 4,
        rowBytes = extent * 4,
    };

    __device__ static int32 offset(int32 pixel, int32 chunk) { return pixel * rowBytes + chunk * 16; }
};

template <class T>
__device__ inline void filterGradient(const FilterGradientArguments& arguments)
{
    __shared__ __align__(16) float shared[T::sharedFloats];
    FilterGradientPart<T::rows, T::columns> part(arguments);
    __shared__ FilterGradientPixels<T::threads> pixels;
    FilterGradientSource<float, Plain<T::rows>, Plain<T::columns>, depthStep, T::threads> source(arguments, part, pixels);
    T tile;
    tile.multiply(source, divideUp<int32>(part.pixels, depthStep), shared);

    float* partials = part.partials(arguments);
#pragma unroll
    for (int i = 0; i < T::Left::owned; i++)
    {
        int32 output = part.firstRow + T::row(i);
        if (output < arguments.outputChannels)
        {
#pragma unroll
            for (int j = 0; j < T::Right::owned; j += 4)
            {
                int32 element = part.firstColumn + T::column(j);
                if (element < part.totalColumns)
                {
                    float4 value = {tile.sums[i][j], tile.sums[i][j + 1], tile.sums[i][j + 2], tile.sums[i][j + 3]};
                    *reinterpret_cast<float4*>(partials + static_cast<int64>(output) * part.totalColumns + element) = value;
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

extern "C" __global__ void __launch_bounds__(64) filterGradientNarrow(const __grid_constant__ FilterGradientArguments arguments)
{
    filterGradient<Tile<Layout::depthOuter, Layout::depthOuter, 16, 64, 4, 4>>(arguments);
}

struct CombineFilterArguments
{
    const float* partials;
    float* weightGradient;
    int64 splitFloats;
    int32 splits;
    int32 rows; // out · taps
    int32 channels;
    int32 partialPitch; // floats of a tap in the partial sums
    int32 weightPitch;
    int32 accumulate;
};

extern "C" __global__ void __launch_bounds__(256) combineFilterGradient(const __grid_constant__ CombineFilterArguments arguments)
{
    uint32 fours = arguments.weightPitch / 4;
    uint32 items = arguments.rows * fours;
    for (uint32 item = blockIdx.x * blockDim.x + threadIdx.x; item < items; item += gridDim.x * blockDim.x)
    {
        uint32 row = item / fours;
        int32 channel = (item - row * fours) * 4;
        float4 sum{};
        if (channel < arguments.partialPitch)
        {
            // The first part, not zero and the first part: a sum of negative zeros is one, as where the optimizer adds the parts.
            const float* partial = arguments.partials + static_cast<int64>(row) * arguments.partialPitch + channel;
            sum = *reinterpret_cast<const float4*>(partial);
#pragma unroll 4
            for (int32 split = 1; split < arguments.splits; split++)
            {
                partial += arguments.splitFloats;
                float4 value = *reinterpret_cast<const float4*>(partial);
                sum.x += value.x;
                sum.y += value.y;
                sum.z += value.z;
                sum.w += value.w;
            }
        }

        float4* target = reinterpret_cast<float4*>(arguments.weightGradient) + item;
        if (arguments.accumulate)
        {
            float4 old = *target;
            sum.x = old.x + sum.x;
            sum.y = old.y + sum.y;
            sum.z = old.z + sum.z;
            sum.w = old.w + sum.w;
        }

        sum.x = channel < arguments.channels ? sum.x : 0;
        sum.y = channel + 1 < arguments.channels ? sum.y : 0;
        sum.z = channel + 2 < arguments.channels ? sum.z : 0;
        sum.w = channel + 3 < arguments.channels ? sum.w : 0;
        *target = sum;
    }
}

struct BiasGradientArguments
{
    const void* outputGradient;
    double* partials; // [slab][pitch]
    int32 rows;
    int32 rowsPerSlab;
    int32 pitch;
};

__device__ inline float4 loadFour(const float* source)
{
    return *reinterpret_cast<const float4*>(source);
}

__device__ inline float4 loadFour(const Bf16* source)
{
    uint2 pairs = *reinterpret_cast<const uint2*>(source);
    return {lowerBf16(pairs.x), upperBf16(pairs.x), lowerBf16(pairs.y), upperBf16(pairs.y)};
}

// One block of 8 fours of channels × 32 rows a slab (y) and 32 channels (x). Shared memory brings a four's 32 rows together, in order.
template <class Element>
__device__ inline void sumSlab(const BiasGradientArguments& arguments)
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
        const Element* source = static_cast<const Element*>(arguments.outputGradient) + static_cast<int64>(first + line) * arguments.pitch + channel;
#pragma unroll 4
        for (int32 row = first + line; row < last; row += 32)
        {
            float4 value = loadFour(source);
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

extern "C" __global__ void __launch_bounds__(256) biasGradient(const __grid_constant__ BiasGradientArguments arguments)
{
    sumSlab<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) biasGradientBf16(const __grid_constant__ BiasGradientArguments arguments)
{
    sumSlab<Bf16>(arguments);
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
