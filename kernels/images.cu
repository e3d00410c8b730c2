// Batches of normalised, moved and mirrored images out of a set of bytes in device memory.
//
//   output(i, r, c) = byte(image, r + down, c' + right)·scale + offset, zero outside of the image; c' = c, or width − 1 − c where it is mirrored
//   image = order[position + skip + i]; down, right and mirroring are draws of the image's number under the epoch's key (philox.cuh), as the host draws them:
//   the n-th word is lane n mod 4 of counter (n div 4, image, 0, stream); integers below a bound by Lemire (2019), without bias.
//
// Layout: bytes [count, height, width, channels]; output [batch, height, width, pitch], padding zero. Position and key lie in device memory, for recorded steps. Product and sum are rounded
// one by one, as on the host.
//
// Launch: blocks of 256 threads, x over the images of the batch, y over 256 pixels each; a thread writes one pixel. One thread of a block draws.
//
// Moved: a byte a value read, four (two as bfloat16) a stored element written. Limited by memory: small beside a step.
#include "philox.cuh"
#include "tensor_core.cuh"

struct AssembleArguments
{
    const unsigned char* source;
    const int32* sourceLabels;
    const float* scale;
    const float* offset;
    const int32* order;
    const uint32* position; // where the step begins, and the two words of the key
    void* output;
    int32* labels;
    int32 height;
    int32 width;
    int32 channels;
    int32 cropPadding;
    int32 flip;
    int32 augments;
    int32 skip;
    uint32 stream;
};

// The words of one image, one after another.
struct Draws
{
    const AssembleArguments& arguments;
    uint32 image;
    uint32 drawn;
    uint4 words;

    __device__ uint32 next()
    {
        if (drawn % 4 == 0)
        {
            words = philoxBlock(drawn / 4, image, 0, arguments.stream, arguments.position[1], arguments.position[2]);
        }

        return philoxWord(words, drawn++ % 4);
    }

    // 0 … bound − 1: words that would favour small results are passed over.
    __device__ int32 below(uint32 bound)
    {
        uint32 threshold = (0u - bound) % bound;
        while (true)
        {
            uint32 word = next();
            if (word * bound >= threshold)
            {
                return static_cast<int32>(__umulhi(word, bound));
            }
        }
    }
};

struct Change
{
    int32 down;
    int32 right;
    int32 mirrored;
};

__device__ inline void storeFour(float* output, float4 value)
{
    *reinterpret_cast<float4*>(output) = value;
}

__device__ inline void storeFour(unsigned short* output, float4 value)
{
    *reinterpret_cast<uint2*>(output) = {packBf16(value.x, value.y), packBf16(value.z, value.w)};
}

template <class T>
__device__ inline void assembleImage(const AssembleArguments& arguments)
{
    __shared__ Change change;
    int32 place = blockIdx.x;
    int32 image = arguments.order[arguments.position[0] + arguments.skip + place];
    if (threadIdx.x == 0)
    {
        change = {0, 0, 0};
        if (arguments.augments != 0)
        {
            Draws draws{arguments, static_cast<uint32>(image), 0, {}};
            int32 padding = arguments.cropPadding;
            change.down = draws.below(2 * padding + 1) - padding;
            change.right = draws.below(2 * padding + 1) - padding;
            change.mirrored = draws.below(2) & arguments.flip;
        }

        if (blockIdx.y == 0)
        {
            arguments.labels[place] = arguments.sourceLabels[image];
        }
    }

    __syncthreads();
    int32 height = arguments.height;
    int32 width = arguments.width;
    int32 channels = arguments.channels;
    int32 pixel = blockIdx.y * blockDim.x + threadIdx.x;
    if (pixel >= height * width)
    {
        return;
    }

    int32 row = pixel / width;
    int32 column = pixel - row * width;
    int32 sourceRow = row + change.down;
    int32 sourceColumn = (change.mirrored != 0 ? width - 1 - column : column) + change.right;
    bool inside = static_cast<uint32>(sourceRow) < static_cast<uint32>(height) && static_cast<uint32>(sourceColumn) < static_cast<uint32>(width);
    const unsigned char* source = arguments.source + ((static_cast<int64>(image) * height + sourceRow) * width + sourceColumn) * channels;
    int32 pitch = divideUp(channels, 8) * 8;
    T* output = static_cast<T*>(arguments.output) + (static_cast<int64>(place) * height * width + pixel) * pitch;
    for (int32 first = 0; first < pitch; first += 4)
    {
        auto one = [&](int32 channel) {
            return inside && channel < channels ? __fadd_rn(__fmul_rn(static_cast<float>(source[channel]), arguments.scale[channel]), arguments.offset[channel]) : 0.0f;
        };
        storeFour(output + first, make_float4(one(first), one(first + 1), one(first + 2), one(first + 3)));
    }
}

extern "C" __global__ void __launch_bounds__(256) assemble(const __grid_constant__ AssembleArguments arguments)
{
    assembleImage<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) assembleBf16(const __grid_constant__ AssembleArguments arguments)
{
    assembleImage<unsigned short>(arguments);
}
