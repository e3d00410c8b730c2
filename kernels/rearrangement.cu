// Elements moved to other places: channels of one array into another, reshapes, permutations.
//
// Launch: copyChannels and permute: blocks of 256 threads, x over channels, y over rows of the output (a power of two of each), slabs of rows in y of the grid. reshape likewise. Moved: 4 bytes an
// element read and 4 written (accumulating reads 4 more); permute reads a channel's neighbours far apart and is limited by the cache.
#include "common.cuh"

struct CopyChannelsArguments
{
    const float* source; // at the first channel to copy
    float* destination;  // at the first channel written
    int32 rows;
    int32 count;
    int32 sourcePitch;
    int32 destinationPitch;
    int32 accumulate;
};

struct ReshapeArguments
{
    const float* input;
    float* output;
    int32 rows; // of the output
    int32 channels;
    int32 pitch;
    int32 inputChannels;
    int32 inputPitch;
    int32 accumulate;
};

struct PermuteArguments
{
    const float* input;
    float* output;
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

extern "C" __global__ void __launch_bounds__(256) copyChannels(const __grid_constant__ CopyChannelsArguments arguments)
{
    forEachElement(arguments.rows, arguments.count, [&](int32 row, int32 channel) {
        float value = arguments.source[static_cast<int64>(row) * arguments.sourcePitch + channel];
        float* target = arguments.destination + static_cast<int64>(row) * arguments.destinationPitch + channel;
        *target = arguments.accumulate != 0 ? *target + value : value;
    });
}

extern "C" __global__ void __launch_bounds__(256) reshape(const __grid_constant__ ReshapeArguments arguments)
{
    forEachElement(arguments.rows, arguments.pitch, [&](int32 row, int32 channel) {
        float* target = arguments.output + static_cast<int64>(row) * arguments.pitch + channel;
        if (channel >= arguments.channels)
        {
            *target = 0.0f;
            return;
        }

        uint32 element = static_cast<uint32>(row) * arguments.channels + channel;
        uint32 inputRow = element / static_cast<uint32>(arguments.inputChannels);
        uint32 inputChannel = element - inputRow * arguments.inputChannels;
        float value = arguments.input[static_cast<int64>(inputRow) * arguments.inputPitch + inputChannel];
        *target = arguments.accumulate != 0 ? *target + value : value;
    });
}

extern "C" __global__ void __launch_bounds__(256) permute(const __grid_constant__ PermuteArguments arguments)
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

            value = arguments.input[from];
        }

        arguments.output[static_cast<int64>(row) * arguments.pitch + channel] = value;
    });
}
