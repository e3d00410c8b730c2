// Pooling of NHWC images with pitched channels; padding channels stay zero.
//
//   maximum: the largest value of each window, and the winner's place in it (row·kernelWidth + column, the first at ties); pixels outside the image never win.
//   average: the mean of each window over all its places, or over those inside the image. global average: [batch, pixels, channels] to [batch, channels].
//   A mean is the sum times the rounded reciprocal of the count. Backward passes gather: each input pixel asks the windows that contain it, in order, so there are no atomics.
//
// Images are float32, or bfloat16 in the kernels whose names end in Bf16; a global average, and its gradient, is float32 always.
//
// Launch: channels.cuh, where the rows are output pixels (forward), input pixels (backward), or images (global forward). Moved: an element (4 bytes or 2) of the input and of the output, and 4 bytes a
// winner; windows that overlap read out of the cache: limited by memory.
#include "channels.cuh"

struct PoolingArguments
{
    const void* input; // of a backward pass: the output's gradient
    void* output;      // of a backward pass: the input's gradient
    int32* winners;     // null if not wanted; null in average pooling
    int32 batch;
    int32 inputHeight;
    int32 inputWidth;
    int32 outputHeight;
    int32 outputWidth;
    int32 kernelHeight;
    int32 kernelWidth;
    int32 strideHeight;
    int32 strideWidth;
    int32 paddingHeight;
    int32 paddingWidth;
    int32 pitch;
    int32 countPadding;
    int32 accumulate;
};

struct GlobalAverageArguments
{
    const void* input; // backward: the output's gradient, float32
    void* output;      // float32; backward: the input's gradient
    int32 batch;
    int32 pixels;
    int32 pitch;
    int32 accumulate;
};

// The part of a window that lies inside the image, in one dimension.
struct Window
{
    int32 start; // may lie outside
    int32 first;
    int32 last; // one behind

    __device__ Window(int32 output, int32 stride, int32 padding, int32 kernel, int32 extent)
    {
        start = output * stride - padding;
        first = max(start, 0);
        last = min(start + kernel, extent);
    }
};

// The windows that contain an input position, in one dimension.
struct Windows
{
    int32 first;
    int32 last; // one behind

    __device__ Windows(int32 input, int32 stride, int32 padding, int32 kernel, int32 outputs)
    {
        int32 shifted = input + padding;
        first = shifted < kernel ? 0 : (shifted - kernel) / stride + 1;
        last = min(shifted / stride + 1, outputs);
    }
};

// A pixel's number taken apart.
struct Pixel
{
    int32 image;
    int32 row;
    int32 column;

    __device__ Pixel(int32 number, int32 height, int32 width)
    {
        uint32 line = static_cast<uint32>(number) / static_cast<uint32>(width);
        column = number - line * width;
        image = line / static_cast<uint32>(height);
        row = line - image * height;
    }
};

template <class Stored>
__device__ inline void maximumOfWindows(const PoolingArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    int32 pixels = arguments.batch * arguments.outputHeight * arguments.outputWidth;
    for (int32 number = firstRow(); number < pixels; number += rowStep())
    {
        Pixel pixel(number, arguments.outputHeight, arguments.outputWidth);
        Window rows(pixel.row, arguments.strideHeight, arguments.paddingHeight, arguments.kernelHeight, arguments.inputHeight);
        Window columns(pixel.column, arguments.strideWidth, arguments.paddingWidth, arguments.kernelWidth, arguments.inputWidth);
        Channels<owned> best = fillChannels<owned>(0.0f);
        int32 winner[owned] = {};
        bool any = false;
        for (int32 h = rows.first; h < rows.last; h++)
        {
            const Stored* line =
                static_cast<const Stored*>(arguments.input) + (static_cast<int64>(pixel.image) * arguments.inputHeight + h) * arguments.inputWidth * arguments.pitch + channel;
            for (int32 w = columns.first; w < columns.last; w++)
            {
                // Strictly larger, or not a number: the first of equals stays, and NaN is seen.
                Channels<owned> values = loadChannels(line + static_cast<int64>(w) * arguments.pitch);
                int32 place = (h - rows.start) * arguments.kernelWidth + w - columns.start;
#pragma unroll
                for (int i = 0; i < owned; i++)
                {
                    bool wins = !any || !(values.at[i] <= best.at[i]);
                    best.at[i] = wins ? values.at[i] : best.at[i];
                    winner[i] = wins ? place : winner[i];
                }

                any = true;
            }
        }

        int64 to = static_cast<int64>(number) * arguments.pitch + channel;
        storeChannels(static_cast<Stored*>(arguments.output) + to, best);
        if (arguments.winners != nullptr)
        {
#pragma unroll
            for (int i = 0; i < owned; i += 4)
            {
                *reinterpret_cast<int4*>(arguments.winners + to + i) = make_int4(winner[i], winner[i + 1], winner[i + 2], winner[i + 3]);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) maximumForward(const __grid_constant__ PoolingArguments arguments)
{
    maximumOfWindows<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) maximumForwardBf16(const __grid_constant__ PoolingArguments arguments)
{
    maximumOfWindows<BFloat16>(arguments);
}

template <class Stored>
__device__ inline void averageOfWindows(const PoolingArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    int32 pixels = arguments.batch * arguments.outputHeight * arguments.outputWidth;
    for (int32 number = firstRow(); number < pixels; number += rowStep())
    {
        Pixel pixel(number, arguments.outputHeight, arguments.outputWidth);
        Window rows(pixel.row, arguments.strideHeight, arguments.paddingHeight, arguments.kernelHeight, arguments.inputHeight);
        Window columns(pixel.column, arguments.strideWidth, arguments.paddingWidth, arguments.kernelWidth, arguments.inputWidth);
        Channels<owned> sum = fillChannels<owned>(0.0f);
        for (int32 h = rows.first; h < rows.last; h++)
        {
            const Stored* line =
                static_cast<const Stored*>(arguments.input) + (static_cast<int64>(pixel.image) * arguments.inputHeight + h) * arguments.inputWidth * arguments.pitch + channel;
            for (int32 w = columns.first; w < columns.last; w++)
            {
                sum = sum + loadChannels(line + static_cast<int64>(w) * arguments.pitch);
            }
        }

        int32 count = arguments.countPadding != 0 ? arguments.kernelHeight * arguments.kernelWidth : (rows.last - rows.first) * (columns.last - columns.first);
        storeChannels(static_cast<Stored*>(arguments.output) + static_cast<int64>(number) * arguments.pitch + channel, sum * (1.0f / static_cast<float>(count)));
    }
}

extern "C" __global__ void __launch_bounds__(256) averageForward(const __grid_constant__ PoolingArguments arguments)
{
    averageOfWindows<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) averageForwardBf16(const __grid_constant__ PoolingArguments arguments)
{
    averageOfWindows<BFloat16>(arguments);
}

// Winners decide in maximum pooling; every window gives its share in average pooling.
template <bool maximum, class Stored>
__device__ inline void gatherGradients(const PoolingArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    int32 pixels = arguments.batch * arguments.inputHeight * arguments.inputWidth;
    for (int32 number = firstRow(); number < pixels; number += rowStep())
    {
        Pixel pixel(number, arguments.inputHeight, arguments.inputWidth);
        Windows rows(pixel.row, arguments.strideHeight, arguments.paddingHeight, arguments.kernelHeight, arguments.outputHeight);
        Windows columns(pixel.column, arguments.strideWidth, arguments.paddingWidth, arguments.kernelWidth, arguments.outputWidth);
        Stored* target = static_cast<Stored*>(arguments.output) + static_cast<int64>(number) * arguments.pitch + channel;
        Channels<owned> sum = arguments.accumulate != 0 ? loadChannels(target) : fillChannels<owned>(0.0f);
        for (int32 oh = rows.first; oh < rows.last; oh++)
        {
            for (int32 ow = columns.first; ow < columns.last; ow++)
            {
                int64 from = ((static_cast<int64>(pixel.image) * arguments.outputHeight + oh) * arguments.outputWidth + ow) * arguments.pitch + channel;
                Channels<owned> gradient = loadChannels(static_cast<const Stored*>(arguments.input) + from);
                if (maximum)
                {
                    int32 row = pixel.row - (oh * arguments.strideHeight - arguments.paddingHeight);
                    int32 place = row * arguments.kernelWidth + pixel.column - (ow * arguments.strideWidth - arguments.paddingWidth);
#pragma unroll
                    for (int i = 0; i < owned; i += 4)
                    {
                        int4 winner = *reinterpret_cast<const int4*>(arguments.winners + from + i);
                        sum.at[i] += winner.x == place ? gradient.at[i] : 0.0f;
                        sum.at[i + 1] += winner.y == place ? gradient.at[i + 1] : 0.0f;
                        sum.at[i + 2] += winner.z == place ? gradient.at[i + 2] : 0.0f;
                        sum.at[i + 3] += winner.w == place ? gradient.at[i + 3] : 0.0f;
                    }
                }
                else
                {
                    Window height(oh, arguments.strideHeight, arguments.paddingHeight, arguments.kernelHeight, arguments.inputHeight);
                    Window width(ow, arguments.strideWidth, arguments.paddingWidth, arguments.kernelWidth, arguments.inputWidth);
                    int32 count = arguments.countPadding != 0 ? arguments.kernelHeight * arguments.kernelWidth : (height.last - height.first) * (width.last - width.first);
                    sum = sum + gradient * (1.0f / static_cast<float>(count));
                }
            }
        }

        storeChannels(target, sum);
    }
}

extern "C" __global__ void __launch_bounds__(256) maximumBackward(const __grid_constant__ PoolingArguments arguments)
{
    gatherGradients<true, float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) maximumBackwardBf16(const __grid_constant__ PoolingArguments arguments)
{
    gatherGradients<true, BFloat16>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) averageBackward(const __grid_constant__ PoolingArguments arguments)
{
    gatherGradients<false, float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) averageBackwardBf16(const __grid_constant__ PoolingArguments arguments)
{
    gatherGradients<false, BFloat16>(arguments);
}

template <class Stored>
__device__ inline void averageOfImages(const GlobalAverageArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    for (int32 image = firstRow(); image < arguments.batch; image += rowStep())
    {
        const Stored* pixels = static_cast<const Stored*>(arguments.input) + static_cast<int64>(image) * arguments.pixels * arguments.pitch + channel;
        Channels<owned> sum = fillChannels<owned>(0.0f);
        for (int32 pixel = 0; pixel < arguments.pixels; pixel++)
        {
            sum = sum + loadChannels(pixels + static_cast<int64>(pixel) * arguments.pitch);
        }

        storeFloats(static_cast<float*>(arguments.output) + static_cast<int64>(image) * arguments.pitch + channel, sum * (1.0f / static_cast<float>(arguments.pixels)));
    }
}

extern "C" __global__ void __launch_bounds__(256) globalAverageForward(const __grid_constant__ GlobalAverageArguments arguments)
{
    averageOfImages<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) globalAverageForwardBf16(const __grid_constant__ GlobalAverageArguments arguments)
{
    averageOfImages<BFloat16>(arguments);
}

template <class Stored>
__device__ inline void spreadOverImages(const GlobalAverageArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    int32 rows = arguments.batch * arguments.pixels;
    for (int32 row = firstRow(); row < rows; row += rowStep())
    {
        int32 image = static_cast<uint32>(row) / static_cast<uint32>(arguments.pixels);
        Channels<owned> mean = loadFloats<owned>(static_cast<const float*>(arguments.input) + static_cast<int64>(image) * arguments.pitch + channel);
        Channels<owned> share = mean * (1.0f / static_cast<float>(arguments.pixels));
        Stored* target = static_cast<Stored*>(arguments.output) + static_cast<int64>(row) * arguments.pitch + channel;
        storeChannels(target, arguments.accumulate != 0 ? loadChannels(target) + share : share);
    }
}

extern "C" __global__ void __launch_bounds__(256) globalAverageBackward(const __grid_constant__ GlobalAverageArguments arguments)
{
    spreadOverImages<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) globalAverageBackwardBf16(const __grid_constant__ GlobalAverageArguments arguments)
{
    spreadOverImages<BFloat16>(arguments);
}
