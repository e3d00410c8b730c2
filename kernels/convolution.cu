// Convolutions by implicit matrix products: forward pass and data gradient, float32, images NHWC, filters [out, kernelHeight, kernelWidth, in/groups].
//
//   forward         y[n, oh, ow, o]  = bias[o] + Σ_{r,s,i} x[n, oh·stride + r·dilation − padding, ow·stride + s·dilation − padding, i]·w[o, r, s, i]
//   data gradient  ∂x[n, h, w, i]   = Σ_{r,s,o} ∂y[n, oh, ow, o]·w[o, r, s, i] over the (r, s) with oh·stride + r·dilation − padding = h, likewise ow
//
// Both are products C[pixels, channels] whose left side is gathered from an image while it is copied to shared memory; depth is (tap, source channel), a tap's
// channels rounded up to 4. In the data gradient the pixels fall into stride·stride classes (h mod stride, w mod stride): a class meets the same few taps
// everywhere, so nothing is multiplied by zeros that a stride would insert.
//
// Launch: one block of 128 threads a tile of C (128 × 64, 64 × 32 or 128 × 16), tiles of the same pixels next to each other in x, (class, group) in z.
// Groups must start on multiples of 4 channels; convolution_grouped.cu has the others.
//
// Moved: the source from the second-level cache once a tap and a column of tiles, from memory about once; the filters once a row of tiles, cached; the result once.
// Limited by arithmetic (2·pixels·taps·in·out operations) from about 32 channels on, by the caches below.
#include "axis.cuh"
#include "tile.cuh"

struct ConvolutionArguments
{
    const float* source; // x, or ∂y
    const float* weight;
    const float* bias; // or null
    float* output;     // y, or ∂x
    const float* residual; // a mapped shortcut's gradient at its sum, to be added to ∂x; or null
    const int32* map;      // its channel for each of ∂x, negative for none
    int32 batch;
    int32 sourceHeight;
    int32 sourceWidth;
    int32 sourcePitch;
    int32 sourceChannels; // of a group
    int32 outputHeight;
    int32 outputWidth;
    int32 outputPitch;
    int32 outputChannels; // of a group
    int32 groups;
    int32 kernelHeight;
    int32 kernelWidth;
    int32 weightPitch;
    int32 strideHeight;
    int32 strideWidth;
    int32 paddingHeight;
    int32 paddingWidth;
    int32 dilationHeight;
    int32 dilationWidth;
    int32 columnTiles;
    int32 accumulate;
    int32 residualPitch;
};

// Copies the gathered image: a thread always copies the same four depths of the same pixels, whose corners it knows.
template <int tileRows, int threads>
struct GatherCopy
{
    enum
    {
        pixelsAtOnce = threads / depthQuads,
        owned = tileRows / pixelsAtOnce,
    };

    const float* corners[owned];
    int32 y[owned];
    int32 x[owned];

    __device__ GatherCopy(const ConvolutionArguments& arguments, const Axis& vertical, const Axis& horizontal, int32 first, int32 pixels, int32 firstChannel)
    {
        Counter pixel(first + threadIdx.x / depthQuads, vertical.pixels, horizontal.pixels);
        Counter step(pixelsAtOnce, vertical.pixels, horizontal.pixels);
#pragma unroll
        for (int i = 0; i < owned; i++)
        {
            y[i] = vertical.origin + pixel.middle * vertical.pixelStep;
            x[i] = horizontal.origin + pixel.inner * horizontal.pixelStep;
            int64 row = static_cast<int64>(pixel.outer) * arguments.sourceHeight + y[i];
            corners[i] = arguments.source + (row * arguments.sourceWidth + x[i]) * arguments.sourcePitch + firstChannel;
            if (first + static_cast<int32>(threadIdx.x) / depthQuads + i * pixelsAtOnce >= pixels)
            {
                y[i] = -(1 << 30); // outside of every image, whatever the tap
            }

            pixel.advance(step, vertical.pixels, horizontal.pixels);
        }
    }

    __device__ void copy(const ConvolutionArguments& arguments, const Axis& vertical, const Axis& horizontal, const Counter& tap, float* share) const
    {
        int32 down = tap.outer * vertical.tapStep;
        int32 right = tap.middle * horizontal.tapStep;
        int32 offset = (down * arguments.sourceWidth + right) * arguments.sourcePitch + tap.inner;
        bool tapExists = tap.outer < vertical.taps;
        float* target = share + threadIdx.x / depthQuads * depthPitch + threadIdx.x % depthQuads * 4;
#pragma unroll
        for (int i = 0; i < owned; i++)
        {
            // Without && there are no branches.
            bool valid = tapExists & (static_cast<uint32>(y[i] + down) < static_cast<uint32>(arguments.sourceHeight))
                & (static_cast<uint32>(x[i] + right) < static_cast<uint32>(arguments.sourceWidth));
            copyAsync16(target + i * pixelsAtOnce * depthPitch, corners[i] + offset, valid);
        }
    }
};

// Both sides of the forward pass: depth is contiguous in the filters as well, and a thread copies the same depths of both.
template <class T>
struct ForwardSource
{
    enum
    {
        filtersAtOnce = T::threads / depthQuads,
        owned = divideUp<int>(T::columns, filtersAtOnce),
    };

    const ConvolutionArguments& arguments;
    const Axis& vertical;
    const Axis& horizontal;
    GatherCopy<T::rows, T::threads> gather;
    Counter tap;
    Counter step;
    int32 depth; // channels of a tap, a multiple of 4
    const float* filters; // this thread's first
    int64 filterStep;     // to its next
    int32 filtersLeft;    // from the thread's first on

    __device__ void copy(float* left, float* right)
    {
        gather.copy(arguments, vertical, horizontal, tap, left);
        const float* filter = filters + ((tap.outer * horizontal.taps + tap.middle) * arguments.weightPitch + tap.inner);
        bool tapExists = tap.outer < vertical.taps;
        int32 line = threadIdx.x / depthQuads;
        float* target = right + line * depthPitch + threadIdx.x % depthQuads * 4;
#pragma unroll
        for (int i = 0; i < owned; i++)
        {
            if (T::columns % filtersAtOnce == 0 || line < T::columns)
            {
                copyAsync16(target + i * filtersAtOnce * depthPitch, filter + i * filterStep, tapExists & (i * filtersAtOnce < filtersLeft));
            }
        }

        tap.advance(step, horizontal.taps, depth);
    }
};

// Both sides of the data gradient: the filters' rows (one a tap and output channel) have the columns of C contiguous.
template <class T>
struct GradientSource
{
    enum
    {
        fours = T::columns / 4,
        rowsAtOnce = T::threads / fours,
        owned = divideUp<int>(depthStep, rowsAtOnce),
    };

    const ConvolutionArguments& arguments;
    const Axis& vertical;
    const Axis& horizontal;
    GatherCopy<T::rows, T::threads> gather;
    Counter tap; // of the gather
    Counter step;
    int32 depth;
    const float* filters; // of the group, at the first tap and the thread's four columns
    int32 rowFloats;      // from one tap to the next one below, to the right, and to the next output channel
    int32 columnFloats;
    int32 filterFloats;
    bool inside;         // whether the columns exist
    Counter rows[owned]; // taps and output channels of the filter rows that the thread copies

    __device__ void copy(float* left, float* right)
    {
        gather.copy(arguments, vertical, horizontal, tap, left);
        tap.advance(step, horizontal.taps, depth);
        int32 line = threadIdx.x / fours;
        float* target = right + line * T::columns + threadIdx.x % fours * 4;
#pragma unroll
        for (int i = 0; i < owned; i++)
        {
            if (depthStep % rowsAtOnce == 0 || line < depthStep)
            {
                Counter& row = rows[i];
                bool valid = inside & (row.outer < vertical.taps) & (row.inner < arguments.sourceChannels);
                int32 offset = row.outer * rowFloats + row.middle * columnFloats + row.inner * filterFloats;
                copyAsync16(target + i * rowsAtOnce * T::columns, filters + offset, valid);
                row.advance(step, horizontal.taps, depth);
            }
        }
    }
};

// sum + bias, added to what is there in accumulation, or to what a mapped shortcut brings.
struct Finished
{
    bool readsOld;
    const float* bias;
    const float* residual; // of the pixel; null: there is none
    const int32* map;

    __device__ float operator()(float sum, int32 column, float old) const
    {
        float value = bias == nullptr ? sum : sum + bias[column];
        if (residual != nullptr)
        {
            int32 from = map[column];
            return (from < 0 ? 0.0f : residual[from]) + value;
        }

        return readsOld ? old + value : value;
    }
};

// Writes a tile: pixels from `first` on, channels of the group from `firstColumn` on. The last group writes the zeros of the padding.
template <class T>
__device__ inline void store(const ConvolutionArguments& arguments, const Axis& vertical, const Axis& horizontal, int32 group, int32 first, int32 pixels, int32 firstColumn, const T& tile)
{
    int32 firstChannel = group * arguments.outputChannels;
    int32 written = group == arguments.groups - 1 ? arguments.outputPitch - firstChannel : arguments.outputChannels;
    Finished result{arguments.accumulate != 0, arguments.bias == nullptr ? nullptr : arguments.bias + firstChannel, nullptr, arguments.map + firstChannel};
    bool whole = vertical.positionStep == 1 && horizontal.positionStep == 1;
#pragma unroll
    for (int i = 0; i < T::Left::owned; i++)
    {
        int32 pixel = first + T::row(i);
        if (pixel >= pixels)
        {
            continue;
        }

        int64 position = pixel;
        if (!whole)
        {
            Counter place(pixel, vertical.pixels, horizontal.pixels);
            position = static_cast<int64>(place.outer) * arguments.outputHeight + vertical.phase + place.middle * vertical.positionStep;
            position = position * arguments.outputWidth + horizontal.phase + place.inner * horizontal.positionStep;
        }

        float* target = arguments.output + position * arguments.outputPitch + firstChannel;
        result.residual = arguments.residual == nullptr ? nullptr : arguments.residual + position * arguments.residualPitch;
        storeRow(tile, i, target, firstColumn, arguments.outputChannels, written, true, result);
    }
}

template <class T>
__device__ inline void forward(const ConvolutionArguments& arguments)
{
    __shared__ __align__(16) float shared[T::sharedFloats];
    Axis vertical = forwardAxis(arguments.outputHeight, arguments.kernelHeight, arguments.strideHeight, arguments.paddingHeight, arguments.dilationHeight);
    Axis horizontal = forwardAxis(arguments.outputWidth, arguments.kernelWidth, arguments.strideWidth, arguments.paddingWidth, arguments.dilationWidth);
    int32 group = blockIdx.z;
    int32 first = blockIdx.x / arguments.columnTiles * T::rows;
    int32 firstColumn = blockIdx.x % arguments.columnTiles * T::columns;
    int32 pixels = arguments.batch * vertical.pixels * horizontal.pixels;
    int32 depth = divideUp(arguments.sourceChannels, 4) * 4;
    int32 filter = firstColumn + threadIdx.x / depthQuads;
    int32 filterFloats = arguments.kernelHeight * arguments.kernelWidth * arguments.weightPitch;
    ForwardSource<T> source{
        arguments,
        vertical,
        horizontal,
        GatherCopy<T::rows, T::threads>(arguments, vertical, horizontal, first, pixels, group * arguments.sourceChannels),
        Counter(threadIdx.x % depthQuads * 4, horizontal.taps, depth),
        Counter(depthStep, horizontal.taps, depth),
        depth,
        arguments.weight + (static_cast<int64>(group) * arguments.outputChannels + filter) * filterFloats,
        static_cast<int64>(ForwardSource<T>::filtersAtOnce) * filterFloats,
        arguments.outputChannels - filter};
    T tile;
    tile.multiply(source, divideUp<int32>(vertical.taps * horizontal.taps * depth, depthStep), shared);
    store(arguments, vertical, horizontal, group, first, pixels, firstColumn, tile);
}

template <class T>
__device__ inline void dataGradient(const ConvolutionArguments& arguments)
{
    __shared__ __align__(16) float shared[T::sharedFloats];
    int32 group = blockIdx.z % arguments.groups;
    int32 phase = blockIdx.z / arguments.groups;
    Axis vertical = gradientAxis(
        arguments.outputHeight, phase / arguments.strideWidth, arguments.kernelHeight, arguments.strideHeight, arguments.paddingHeight, arguments.dilationHeight);
    Axis horizontal = gradientAxis(
        arguments.outputWidth, phase % arguments.strideWidth, arguments.kernelWidth, arguments.strideWidth, arguments.paddingWidth, arguments.dilationWidth);
    int32 first = blockIdx.x / arguments.columnTiles * T::rows;
    int32 firstColumn = blockIdx.x % arguments.columnTiles * T::columns;
    int32 pixels = arguments.batch * vertical.pixels * horizontal.pixels;
    int32 depth = divideUp(arguments.sourceChannels, 4) * 4;
    int32 steps = divideUp<int32>(vertical.taps * horizontal.taps * depth, depthStep);
    if (first >= pixels || (steps == 0 && arguments.accumulate))
    {
        return;
    }

    // A class without taps, as in a strided 1 × 1 filter, has no depth; the counters still need one to divide by.
    horizontal.taps = max(horizontal.taps, 1);
    int32 column = firstColumn + threadIdx.x % (T::columns / 4) * 4;
    int32 filterFloats = arguments.kernelHeight * arguments.kernelWidth * arguments.weightPitch;
    int32 firstTap = vertical.firstTap * arguments.kernelWidth + horizontal.firstTap;
    GradientSource<T> source{
        arguments,
        vertical,
        horizontal,
        GatherCopy<T::rows, T::threads>(arguments, vertical, horizontal, first, pixels, group * arguments.sourceChannels),
        Counter(threadIdx.x % depthQuads * 4, horizontal.taps, depth),
        Counter(depthStep, horizontal.taps, depth),
        depth,
        arguments.weight + static_cast<int64>(group) * arguments.sourceChannels * filterFloats + firstTap * arguments.weightPitch + column,
        vertical.tapStride * arguments.kernelWidth * arguments.weightPitch,
        horizontal.tapStride * arguments.weightPitch,
        filterFloats,
        column < arguments.outputChannels,
        {}};
#pragma unroll
    for (int i = 0; i < GradientSource<T>::owned; i++)
    {
        source.rows[i] = Counter(threadIdx.x / (T::columns / 4) + i * GradientSource<T>::rowsAtOnce, horizontal.taps, depth);
    }

    T tile;
    tile.multiply(source, steps, shared);
    store(arguments, vertical, horizontal, group, first, pixels, firstColumn, tile);
}

// One entry point a pass and tile: 128 × 64, 64 × 32 for small outputs, 128 × 16 for few channels.
#define ENTRY_POINT(name, pass, right, tileRows, tileColumns, threadRows, threadColumns)                             \
    extern "C" __global__ void __launch_bounds__(128, 3) name(const __grid_constant__ ConvolutionArguments arguments)   \
    {                                                                                                                \
        pass<Tile<Layout::depthInner, right, tileRows, tileColumns, threadRows, threadColumns>>(arguments);          \
    }

ENTRY_POINT(forwardLarge, forward, Layout::depthInner, 128, 64, 8, 8)
ENTRY_POINT(forwardSmall, forward, Layout::depthInner, 64, 32, 4, 4)
ENTRY_POINT(forwardNarrow, forward, Layout::depthInner, 128, 16, 4, 4)
ENTRY_POINT(dataGradientLarge, dataGradient, Layout::depthOuter, 128, 64, 8, 8)
ENTRY_POINT(dataGradientSmall, dataGradient, Layout::depthOuter, 64, 32, 4, 4)
ENTRY_POINT(dataGradientNarrow, dataGradient, Layout::depthOuter, 128, 16, 4, 4)
