// Convolutions whose groups are too narrow or too oddly placed for tiles: depthwise ones above all, and grouped ones after a pruning. Float32, images NHWC, filters
// [out, kernelHeight, kernelWidth, in/groups]; the formulas stand in convolution.cu and convolution_filter.cu. Any group size is computed correctly.
//
// A lane owns a channel, so that a warp reads and writes 32 neighbouring channels of a pixel; the eight warps of a block take a slab's pixels in turn.
//   groupedForward, groupedDataGradient: channels in x, slabs of pixels in y. The weights of the block's channels, up to 256 a channel, are first laid out in shared
//     memory [element][channel].
//   groupedFilterGradient: a block sums one filter element (z) of 32 output channels (x) over one slab (y), the warps' sums are added in order, and the slabs'
//     partial sums [slab][out][taps·depth] are combined by combineFilterGradient.
//
// Moved: a depthwise forward pass or data gradient reads its source from the first-level cache once a tap, from memory about once, and writes the result once; the
// filter gradient reads x and ∂y once a tap from the second-level cache. Limited by the caches.
#include "counter.cuh"

enum
{
    warps = 8,
    stagedElements = 256,
};

struct GroupedConvolutionArguments
{
    const float* input; // x, or ∂y in the data gradient
    const float* weight;
    const float* bias; // or null
    float* output;     // y, or ∂x in the data gradient
    const float* residual; // a mapped shortcut's gradient at its sum, to be added to ∂x; or null
    const int32* map;      // its channel for each of ∂x, negative for none
    int32 inputHeight; // of x
    int32 inputWidth;
    int32 inputChannels; // of all groups
    int32 inputPitch;
    int32 groupInputs;
    int32 outputHeight; // of y
    int32 outputWidth;
    int32 outputChannels;
    int32 outputPitch;
    int32 groupOutputs;
    int32 kernelHeight;
    int32 kernelWidth;
    int32 weightPitch;
    int32 strideHeight;
    int32 strideWidth;
    int32 paddingHeight;
    int32 paddingWidth;
    int32 dilationHeight;
    int32 dilationWidth;
    int32 pixels; // of the images that are written
    int32 pixelsPerSlab;
    int32 accumulate;
    int32 residualPitch;
};

extern "C" __global__ void __launch_bounds__(256) groupedForward(const __grid_constant__ GroupedConvolutionArguments arguments)
{
    __shared__ float staged[stagedElements][lanes];
    int32 lane = threadIdx.x % lanes;
    int32 warp = threadIdx.x / lanes;
    int32 channel = blockIdx.x * lanes + lane;
    bool exists = channel < arguments.outputChannels;
    int32 inputs = arguments.groupInputs;
    int32 taps = arguments.kernelHeight * arguments.kernelWidth;
    int32 elements = taps * inputs;
    bool fits = elements <= stagedElements;
    const float* filter = arguments.weight + static_cast<int64>(exists ? channel : 0) * taps * arguments.weightPitch;
    if (fits)
    {
        for (int32 element = warp; element < elements; element += warps)
        {
            int32 tap = element / inputs;
            staged[element][lane] = exists ? filter[tap * arguments.weightPitch + element - tap * inputs] : 0;
        }
    }

    __syncthreads();
    if (channel >= arguments.outputPitch)
    {
        return;
    }

    float bias = exists && arguments.bias != nullptr ? arguments.bias[channel] : 0.0f;
    int32 firstInput = exists ? channel / arguments.groupOutputs * inputs : 0;
    int32 pixel = blockIdx.y * arguments.pixelsPerSlab + warp;
    int32 last = min((blockIdx.y + 1) * arguments.pixelsPerSlab, arguments.pixels);
    Counter place(pixel, arguments.outputHeight, arguments.outputWidth);
    Counter step(warps, arguments.outputHeight, arguments.outputWidth);
#pragma unroll 1
    for (; pixel < last; pixel += warps)
    {
        int32 top = place.middle * arguments.strideHeight - arguments.paddingHeight;
        int32 left = place.inner * arguments.strideWidth - arguments.paddingWidth;
        const float* image = arguments.input + static_cast<int64>(place.outer) * arguments.inputHeight * arguments.inputWidth * arguments.inputPitch + firstInput;
        float sum = 0;
#pragma unroll 1
        for (int32 r = 0; r < arguments.kernelHeight; r++)
        {
            int32 y = top + r * arguments.dilationHeight;
            if (static_cast<uint32>(y) >= static_cast<uint32>(arguments.inputHeight))
            {
                continue;
            }

#pragma unroll 1
            for (int32 s = 0; s < arguments.kernelWidth; s++)
            {
                int32 x = left + s * arguments.dilationWidth;
                if (static_cast<uint32>(x) >= static_cast<uint32>(arguments.inputWidth))
                {
                    continue;
                }

                const float* source = image + (y * arguments.inputWidth + x) * arguments.inputPitch;
                int32 tap = r * arguments.kernelWidth + s;
#pragma unroll 1
                for (int32 i = 0; i < inputs; i++)
                {
                    sum = fmaf(source[i], fits ? staged[tap * inputs + i][lane] : filter[tap * arguments.weightPitch + i], sum);
                }
            }
        }

        arguments.output[static_cast<int64>(pixel) * arguments.outputPitch + channel] = exists ? sum + bias : 0.0f;
        place.advance(step, arguments.outputHeight, arguments.outputWidth);
    }
}

// Position p of the input meets tap t in output (p + padding − t·dilation)/stride, where that is whole and exists; else −1.
__device__ inline int32 outputThatReads(int32 position, int32 tap, int32 stride, int32 padding, int32 dilation, int32 outputs)
{
    int32 scaled = position + padding - tap * dilation;
    if (scaled < 0)
    {
        return -1;
    }

    int32 output = stride == 1 ? scaled : scaled / stride;
    return output * stride == scaled && output < outputs ? output : -1;
}

extern "C" __global__ void __launch_bounds__(256) groupedDataGradient(const __grid_constant__ GroupedConvolutionArguments arguments)
{
    __shared__ float staged[stagedElements][lanes];
    int32 lane = threadIdx.x % lanes;
    int32 warp = threadIdx.x / lanes;
    int32 channel = blockIdx.x * lanes + lane;
    bool exists = channel < arguments.inputChannels;
    int32 outputs = arguments.groupOutputs;
    int32 taps = arguments.kernelHeight * arguments.kernelWidth;
    int32 filterFloats = taps * arguments.weightPitch;
    int32 elements = taps * outputs;
    bool fits = elements <= stagedElements;
    int32 group = exists ? channel / arguments.groupInputs : 0;
    int32 firstOutput = group * outputs;
    const float* filter = arguments.weight + static_cast<int64>(firstOutput) * filterFloats + (exists ? channel - group * arguments.groupInputs : 0);
    if (fits)
    {
        for (int32 element = warp; element < elements; element += warps)
        {
            int32 tap = element / outputs;
            staged[element][lane] = exists ? filter[(element - tap * outputs) * filterFloats + tap * arguments.weightPitch] : 0;
        }
    }

    __syncthreads();
    if (channel >= arguments.inputPitch)
    {
        return;
    }

    int32 from = arguments.residual != nullptr && exists ? arguments.map[channel] : -1;
    int32 pixel = blockIdx.y * arguments.pixelsPerSlab + warp;
    int32 last = min((blockIdx.y + 1) * arguments.pixelsPerSlab, arguments.pixels);
    Counter place(pixel, arguments.inputHeight, arguments.inputWidth);
    Counter step(warps, arguments.inputHeight, arguments.inputWidth);
#pragma unroll 1
    for (; pixel < last; pixel += warps)
    {
        const float* image = arguments.input + static_cast<int64>(place.outer) * arguments.outputHeight * arguments.outputWidth * arguments.outputPitch + firstOutput;
        float sum = 0;
#pragma unroll 1
        for (int32 r = 0; r < arguments.kernelHeight; r++)
        {
            int32 y = outputThatReads(place.middle, r, arguments.strideHeight, arguments.paddingHeight, arguments.dilationHeight, arguments.outputHeight);
            if (y < 0)
            {
                continue;
            }

#pragma unroll 1
            for (int32 s = 0; s < arguments.kernelWidth; s++)
            {
                int32 x = outputThatReads(place.inner, s, arguments.strideWidth, arguments.paddingWidth, arguments.dilationWidth, arguments.outputWidth);
                if (x < 0)
                {
                    continue;
                }

                const float* source = image + (y * arguments.outputWidth + x) * arguments.outputPitch;
                int32 tap = r * arguments.kernelWidth + s;
#pragma unroll 1
                for (int32 o = 0; o < outputs; o++)
                {
                    float weight = fits ? staged[tap * outputs + o][lane] : filter[static_cast<int64>(o) * filterFloats + tap * arguments.weightPitch];
                    sum = fmaf(source[o], weight, sum);
                }
            }
        }

        float* target = arguments.output + static_cast<int64>(pixel) * arguments.inputPitch + channel;
        float old = arguments.accumulate ? *target : from < 0 ? 0.0f : arguments.residual[static_cast<int64>(pixel) * arguments.residualPitch + from];
        *target = exists ? old + sum : 0.0f;
        place.advance(step, arguments.inputHeight, arguments.inputWidth);
    }
}

struct GroupedFilterArguments
{
    const float* input;
    const float* outputGradient;
    float* partials;
    int32 inputHeight;
    int32 inputWidth;
    int32 inputPitch;
    int32 groupInputs;
    int32 outputHeight;
    int32 outputWidth;
    int32 outputChannels;
    int32 outputPitch;
    int32 groupOutputs;
    int32 kernelWidth;
    int32 strideHeight;
    int32 strideWidth;
    int32 paddingHeight;
    int32 paddingWidth;
    int32 dilationHeight;
    int32 dilationWidth;
    int32 elements; // taps · depth, depth being the group's inputs rounded up to 4
    int32 pixels;
    int32 pixelsPerSlab;
};

extern "C" __global__ void __launch_bounds__(256) groupedFilterGradient(const __grid_constant__ GroupedFilterArguments arguments)
{
    __shared__ float sums[warps][lanes];
    int32 lane = threadIdx.x % lanes;
    int32 warp = threadIdx.x / lanes;
    int32 channel = blockIdx.x * lanes + lane;
    int32 depth = divideUp(arguments.groupInputs, 4) * 4;
    int32 first = blockIdx.y * arguments.pixelsPerSlab + warp;
    int32 last = min((blockIdx.y + 1) * arguments.pixelsPerSlab, arguments.pixels);
    Counter start(first, arguments.outputHeight, arguments.outputWidth);
    Counter step(warps, arguments.outputHeight, arguments.outputWidth);
    int64 inputPixels = static_cast<int64>(arguments.inputHeight) * arguments.inputWidth;
#pragma unroll 1
    for (int32 element = blockIdx.z; element < arguments.elements; element += gridDim.z)
    {
        Counter tap(element, arguments.kernelWidth, depth);
        int32 down = tap.outer * arguments.dilationHeight - arguments.paddingHeight;
        int32 across = tap.middle * arguments.dilationWidth - arguments.paddingWidth;
        float sum = 0;
        if (channel < arguments.outputChannels && tap.inner < arguments.groupInputs)
        {
            const float* gradient = arguments.outputGradient + channel;
            const float* input = arguments.input + channel / arguments.groupOutputs * arguments.groupInputs + tap.inner;
            Counter place = start;
#pragma unroll 1
            for (int32 pixel = first; pixel < last; pixel += warps)
            {
                int32 y = down + place.middle * arguments.strideHeight;
                int32 x = across + place.inner * arguments.strideWidth;
                if (static_cast<uint32>(y) < static_cast<uint32>(arguments.inputHeight) && static_cast<uint32>(x) < static_cast<uint32>(arguments.inputWidth))
                {
                    int64 source = place.outer * inputPixels + y * arguments.inputWidth + x;
                    sum = fmaf(gradient[static_cast<int64>(pixel) * arguments.outputPitch], input[source * arguments.inputPitch], sum);
                }

                place.advance(step, arguments.outputHeight, arguments.outputWidth);
            }
        }

        sums[warp][lane] = sum;
        __syncthreads();
        if (warp == 0 && channel < arguments.outputChannels)
        {
#pragma unroll
            for (int i = 1; i < warps; i++)
            {
                sum += sums[i][lane];
            }

            arguments.partials[(static_cast<int64>(blockIdx.y) * arguments.outputChannels + channel) * arguments.elements + element] = sum;
        }

        __syncthreads();
    }
}
