// Pooling of NHWC images with pitched channels; padding channels stay zero.
//
//   maximum: the largest value of each window, and the winner's place in it (row·kernelWidth + column, the first at ties); pixels outside the image never win.
//   average: the mean of each window over all its places, or over those inside the image. global average: [batch, pixels, channels] to [batch, channels].
//   Backward passes gather: each input pixel asks the windows that contain it, in order, so there are no atomics.
//
// Launch: rows.cuh, where the rows are output pixels (forward), input pixels (backward), or images (global forward). Moved: 4 bytes an input and an output element, and 4 a winner; windows that overlap
// read out of the cache: limited by memory.
#include "rows.cuh"

struct PoolingArguments
{
    const float* input; // of a backward pass: the output's gradient
    float* output;      // of a backward pass: the input's gradient
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
    const float* input; // backward: the output's gradient
    float* output;      // backward: the input's gradient
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

extern "C" __global__ void __launch_bounds__(256) maximumForward(const __grid_constant__ PoolingArguments arguments)
{
    int32 channel = firstChannel();
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
        float4 best = fillFour(0.0f);
        int4 winner = make_int4(0, 0, 0, 0);
        bool any = false;
        for (int32 h = rows.first; h < rows.last; h++)
        {
            const float* line = arguments.input + (static_cast<int64>(pixel.image) * arguments.inputHeight + h) * arguments.inputWidth * arguments.pitch + channel;
            for (int32 w = columns.first; w < columns.last; w++)
            {
                // Strictly larger, or not a number: the first of equals stays, and NaN is seen.
                float4 value = loadFour(line + static_cast<int64>(w) * arguments.pitch);
                int32 place = (h - rows.start) * arguments.kernelWidth + w - columns.start;
                auto compare = [&](float candidate, float& largest, int32& index) {
                    bool wins = !any || !(candidate <= largest);
                    largest = wins ? candidate : largest;
                    index = wins ? place : index;
                };
                compare(value.x, best.x, winner.x);
                compare(value.y, best.y, winner.y);
                compare(value.z, best.z, winner.z);
                compare(value.w, best.w, winner.w);
                any = true;
            }
        }

        int64 to = static_cast<int64>(number) * arguments.pitch + channel;
        storeFour(arguments.output + to, best);
        if (arguments.winners != nullptr)
        {
            *reinterpret_cast<int4*>(arguments.winners + to) = winner;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) averageForward(const __grid_constant__ PoolingArguments arguments)
{
    int32 channel = firstChannel();
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
        float4 sum = fillFour(0.0f);
        for (int32 h = rows.first; h < rows.last; h++)
        {
            const float* line = arguments.input + (static_cast<int64>(pixel.image) * arguments.inputHeight + h) * arguments.inputWidth * arguments.pitch + channel;
            for (int32 w = columns.first; w < columns.last; w++)
            {
                sum = sum + loadFour(line + static_cast<int64>(w) * arguments.pitch);
            }
        }

        int32 count = arguments.countPadding != 0 ? arguments.kernelHeight * arguments.kernelWidth : (rows.last - rows.first) * (columns.last - columns.first);
        float divisor = static_cast<float>(count);
        storeFour(arguments.output + static_cast<int64>(number) * arguments.pitch + channel, make_float4(sum.x / divisor, sum.y / divisor, sum.z / divisor, sum.w / divisor));
    }
}

// Winners decide in maximum pooling; every window gives its share in average pooling.
template <bool maximum>
__device__ inline void gatherGradients(const PoolingArguments& arguments)
{
    int32 channel = firstChannel();
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
        int64 to = static_cast<int64>(number) * arguments.pitch + channel;
        float4 sum = arguments.accumulate != 0 ? loadFour(arguments.output + to) : fillFour(0.0f);
        for (int32 oh = rows.first; oh < rows.last; oh++)
        {
            for (int32 ow = columns.first; ow < columns.last; ow++)
            {
                int64 from = ((static_cast<int64>(pixel.image) * arguments.outputHeight + oh) * arguments.outputWidth + ow) * arguments.pitch + channel;
                float4 gradient = loadFour(arguments.input + from);
                if (maximum)
                {
                    int32 row = pixel.row - (oh * arguments.strideHeight - arguments.paddingHeight);
                    int32 place = row * arguments.kernelWidth + pixel.column - (ow * arguments.strideWidth - arguments.paddingWidth);
                    int4 winner = *reinterpret_cast<const int4*>(arguments.winners + from);
                    sum.x += winner.x == place ? gradient.x : 0.0f;
                    sum.y += winner.y == place ? gradient.y : 0.0f;
                    sum.z += winner.z == place ? gradient.z : 0.0f;
                    sum.w += winner.w == place ? gradient.w : 0.0f;
                }
                else
                {
                    Window height(oh, arguments.strideHeight, arguments.paddingHeight, arguments.kernelHeight, arguments.inputHeight);
                    Window width(ow, arguments.strideWidth, arguments.paddingWidth, arguments.kernelWidth, arguments.inputWidth);
                    int32 count = arguments.countPadding != 0 ? arguments.kernelHeight * arguments.kernelWidth : (height.last - height.first) * (width.last - width.first);
                    float divisor = static_cast<float>(count);
                    sum = sum + make_float4(gradient.x / divisor, gradient.y / divisor, gradient.z / divisor, gradient.w / divisor);
                }
            }
        }

        storeFour(arguments.output + to, sum);
    }
}

extern "C" __global__ void __launch_bounds__(256) maximumBackward(const __grid_constant__ PoolingArguments arguments)
{
    gatherGradients<true>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) averageBackward(const __grid_constant__ PoolingArguments arguments)
{
    gatherGradients<false>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) globalAverageForward(const __grid_constant__ GlobalAverageArguments arguments)
{
    int32 channel = firstChannel();
    if (channel >= arguments.pitch)
    {
        return;
    }

    float divisor = static_cast<float>(arguments.pixels);
    for (int32 image = firstRow(); image < arguments.batch; image += rowStep())
    {
        const float* pixels = arguments.input + static_cast<int64>(image) * arguments.pixels * arguments.pitch + channel;
        float4 sum = fillFour(0.0f);
        for (int32 pixel = 0; pixel < arguments.pixels; pixel++)
        {
            sum = sum + loadFour(pixels + static_cast<int64>(pixel) * arguments.pitch);
        }

        storeFour(arguments.output + static_cast<int64>(image) * arguments.pitch + channel, make_float4(sum.x / divisor, sum.y / divisor, sum.z / divisor, sum.w / divisor));
    }
}

extern "C" __global__ void __launch_bounds__(256) globalAverageBackward(const __grid_constant__ GlobalAverageArguments arguments)
{
    int32 channel = firstChannel();
    if (channel >= arguments.pitch)
    {
        return;
    }

    float divisor = static_cast<float>(arguments.pixels);
    int32 rows = arguments.batch * arguments.pixels;
    for (int32 row = firstRow(); row < rows; row += rowStep())
    {
        int32 image = static_cast<uint32>(row) / static_cast<uint32>(arguments.pixels);
        float4 mean = loadFour(arguments.input + static_cast<int64>(image) * arguments.pitch + channel);
        float4 share = make_float4(mean.x / divisor, mean.y / divisor, mean.z / divisor, mean.w / divisor);
        float* target = arguments.output + static_cast<int64>(row) * arguments.pitch + channel;
        storeFour(target, arguments.accumulate != 0 ? loadFour(target) + share : share);
    }
}
