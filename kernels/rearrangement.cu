// Elements moved to other places: channels of one array into another, reshapes, permutations.
//
// Arrays are float32, or bfloat16 in the kernels whose names end in Bf16; reshapeWiden reads bfloat16 and writes float32, reshapeNarrow the other way round.
//
// Launch: copyChannels and permute: blocks of 256 threads, x over channels, y over rows of the output (a power of two of each), slabs of rows in y of the grid. reshape likewise. Moved: an element (4
// bytes or 2) read and one written (accumulating reads another); permute reads a channel's neighbours far apart and is limited by the cache.
#include "channels.cuh"

struct CopyChannelsArguments
{
    const void* source; // at the first channel to copy
    void* destination;  // at the first channel written
    int32 rows;
    int32 count;
    int32 sourcePitch;
    int32 destinationPitch;
    int32 accumulate;
};

struct ReshapeArguments
{
    const void* input;
    void* output;
    int32 rows; // of the output
    int32 channels;
    int32 pitch;
    int32 inputChannels;
    int32 inputPitch;
    int32 accumulate;
};

struct PermuteArguments
{
    const void* input;
    void* output;
    int64 channelStride; // elements of the input from one channel of the output to the next
    int64 strides[5];    // the same for the output's outer dimensions, innermost first
    int32 extents[5];
    int32 rows; // of the output
    int32 channels;
    int32 pitch;
};

// Calls the function for each row and channel below the limits.
template <class Function>
__device__ inline void forEachElement(int32 rows, int32 channels, Function function)
{
    for (int32 row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y)
    {
        for (int32 channel = blockIdx.x * blockDim.x + threadIdx.x; channel < channels; channel += gridDim.x * blockDim.x)
        {
            function(row, channel);
        }
    }
}

template <class Stored>
__device__ inline void copyChannelsOf(const CopyChannelsArguments& arguments)
{
    forEachElement(arguments.rows, arguments.count, [&](int32 row, int32 channel) {
        float value = loadElement(static_cast<const Stored*>(arguments.source) + static_cast<int64>(row) * arguments.sourcePitch + channel);
        Stored* target = static_cast<Stored*>(arguments.destination) + static_cast<int64>(row) * arguments.destinationPitch + channel;
        storeElement(target, arguments.accumulate != 0 ? loadElement(target) + value : value);
    });
}

extern "C" __global__ void __launch_bounds__(256) copyChannels(const __grid_constant__ CopyChannelsArguments arguments)
{
    copyChannelsOf<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) copyChannelsBf16(const __grid_constant__ CopyChannelsArguments arguments)
{
    copyChannelsOf<BFloat16>(arguments);
}

template <class Input, class Output>
__device__ inline void reshapeElements(const ReshapeArguments& arguments)
{
    forEachElement(arguments.rows, arguments.pitch, [&](int32 row, int32 channel) {
        Output* target = static_cast<Output*>(arguments.output) + static_cast<int64>(row) * arguments.pitch + channel;
        if (channel >= arguments.channels)
        {
            storeElement(target, 0.0f);
            return;
        }

        uint32 element = static_cast<uint32>(row) * arguments.channels + channel;
        uint32 inputRow = element / static_cast<uint32>(arguments.inputChannels);
        uint32 inputChannel = element - inputRow * arguments.inputChannels;
        float value = loadElement(static_cast<const Input*>(arguments.input) + static_cast<int64>(inputRow) * arguments.inputPitch + inputChannel);
        storeElement(target, arguments.accumulate != 0 ? loadElement(target) + value : value);
    });
}

extern "C" __global__ void __launch_bounds__(256) reshape(const __grid_constant__ ReshapeArguments arguments)
{
    reshapeElements<float, float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) reshapeBf16(const __grid_constant__ ReshapeArguments arguments)
{
    reshapeElements<BFloat16, BFloat16>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) reshapeWiden(const __grid_constant__ ReshapeArguments arguments)
{
    reshapeElements<BFloat16, float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) reshapeNarrow(const __grid_constant__ ReshapeArguments arguments)
{
    reshapeElements<float, BFloat16>(arguments);
}

template <class Stored>
__device__ inline void permuteElements(const PermuteArguments& arguments)
{
    forEachElement(arguments.rows, arguments.pitch, [&](int32 row, int32 channel) {
        float value = 0.0f;
        if (channel < arguments.channels)
        {
            int64 from = channel * arguments.channelStride;
            uint32 rest = row;
#pragma unroll
            for (int i = 0; i < 5; i++)
            {
                uint32 outer = rest / static_cast<uint32>(arguments.extents[i]);
                from += static_cast<int64>(rest - outer * arguments.extents[i]) * arguments.strides[i];
                rest = outer;
            }

            value = loadElement(static_cast<const Stored*>(arguments.input) + from);
        }

        storeElement(static_cast<Stored*>(arguments.output) + static_cast<int64>(row) * arguments.pitch + channel, value);
    });
}

extern "C" __global__ void __launch_bounds__(256) permute(const __grid_constant__ PermuteArguments arguments)
{
    permuteElements<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) permuteBf16(const __grid_constant__ PermuteArguments arguments)
{
    permuteElements<BFloat16>(arguments);
}
