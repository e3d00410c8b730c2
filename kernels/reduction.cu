// Sums, means and extrema over any set of dimensions of an array with pitched channels, in a fixed order.
//
//   The rows of the input that belong to one row of the output are numbered 0 … summedRows − 1; where one dimension is summed, they lie a fixed stride apart. Sums are float64, extrema float32
//   (NaN wins). An output row's share of the work is cut into splits, a number that depends on the sizes alone; each split leaves a partial result, and a second kernel combines them in order.
//
// Launch: blocks of up to 256 threads, x over channels (fours of them where they are kept), y over summed rows, both powers of two; grid (output rows, channels, splits). reduceChannels keeps the
//   channels, reduceRows sums them too; reduceShortRows: one thread an output row, where a row is short. combine: one thread an output element. argumentMaximum: one warp a row.
// Moved: 4 bytes an input element: limited by memory.
#include "largest.cuh"
#include "rows.cuh"

enum class ReductionOperation : int32
{
    sum,
    mean,
    maximum,
    minimum,
};

struct ReductionArguments
{
    const float* input;
    double* partials; // [splits][output rows][pitch], or [splits][output rows] where the channels are summed
    int64 keptStrides[5];   // in input rows, innermost first
    int64 summedStrides[5];
    int32 keptExtents[5];
    int32 summedExtents[5];
    int32 keptRank;
    int32 summedRank;
    int32 outputRows;
    int32 summedRows;
    int32 rowsOfSplit;
    int32 channels; // of the input
    int32 pitch;
    int32 operation;
};

struct CombineArguments
{
    const double* partials;
    float* output;
    double count; // elements of a mean; 1 otherwise
    int32 splits;
    int32 outputRows;
    int32 channels;
    int32 pitch;
    int32 partialPitch; // partial results of an output row
    int32 operation;
    int32 accumulate;
};

struct ArgumentMaximumArguments
{
    const float* input;
    int32* indices;
    int32 rows;
    int32 channels;
    int32 pitch;
};

template <ReductionOperation operation>
__device__ inline double combine(double a, double b)
{
    switch (operation)
    {
    case ReductionOperation::maximum:
        return a != a ? a : b != b ? b : fmax(a, b);
    case ReductionOperation::minimum:
        return a != a ? a : b != b ? b : fmin(a, b);
    default:
        return a + b;
    }
}

template <ReductionOperation operation>
__device__ inline double identity()
{
    return operation == ReductionOperation::maximum ? __longlong_as_double(0xFFF0000000000000ll) : operation == ReductionOperation::minimum ? __longlong_as_double(0x7FF0000000000000ll) : 0.0;
}

// Where a number of mixed radix lies: the outermost dimension needs no division.
__device__ inline int64 position(uint32 index, int32 rank, const int32* extents, const int64* strides)
{
    int64 sum = 0;
    for (int i = 0; i < rank - 1; i++)
    {
        uint32 outer = index / static_cast<uint32>(extents[i]);
        sum += static_cast<int64>(index - outer * extents[i]) * strides[i];
        index = outer;
    }

    return rank > 0 ? sum + index * strides[rank - 1] : 0;
}

template <ReductionOperation operation>
__device__ inline void channelsOfSplit(const ReductionArguments& arguments)
{
    __shared__ double totals[4][256];
    int32 channel = 4 * static_cast<int32>(blockIdx.y * blockDim.x + threadIdx.x);
    int32 outputRow = blockIdx.x;
    int32 first = blockIdx.z * arguments.rowsOfSplit;
    int32 last = min(first + arguments.rowsOfSplit, arguments.summedRows);
    double total[4] = {identity<operation>(), identity<operation>(), identity<operation>(), identity<operation>()};
    if (channel < arguments.pitch)
    {
        int64 start = position(outputRow, arguments.keptRank, arguments.keptExtents, arguments.keptStrides);
        for (int32 row = first + threadIdx.y; row < last; row += blockDim.y)
        {
            int64 inputRow = start + position(row, arguments.summedRank, arguments.summedExtents, arguments.summedStrides);
            float4 x = loadFour(arguments.input + inputRow * arguments.pitch + channel);
            total[0] = combine<operation>(total[0], x.x);
            total[1] = combine<operation>(total[1], x.y);
            total[2] = combine<operation>(total[2], x.z);
            total[3] = combine<operation>(total[3], x.w);
        }
    }

    int32 thread = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int i = 0; i < 4; i++)
    {
        totals[i][thread] = total[i];
    }

    __syncthreads();
    if (threadIdx.y == 0 && channel < arguments.pitch)
    {
        double* target = arguments.partials + (static_cast<int64>(blockIdx.z) * arguments.outputRows + outputRow) * arguments.pitch + channel;
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            double sum = totals[i][threadIdx.x];
            for (int32 y = 1; y < blockDim.y; y++)
            {
                sum = combine<operation>(sum, totals[i][y * blockDim.x + threadIdx.x]);
            }

            target[i] = sum;
        }
    }
}

template <ReductionOperation operation>
__device__ inline void rowsOfSplit(const ReductionArguments& arguments)
{
    __shared__ double scratch[lanes];
    int32 outputRow = blockIdx.x;
    int32 first = blockIdx.z * arguments.rowsOfSplit;
    int32 last = min(first + arguments.rowsOfSplit, arguments.summedRows);
    int64 start = position(outputRow, arguments.keptRank, arguments.keptExtents, arguments.keptStrides);
    double total = identity<operation>();
    for (int32 row = first + threadIdx.y; row < last; row += blockDim.y)
    {
        const float* x = arguments.input + (start + position(row, arguments.summedRank, arguments.summedExtents, arguments.summedStrides)) * arguments.pitch;
        for (int32 channel = threadIdx.x; channel < arguments.channels; channel += blockDim.x)
        {
            total = combine<operation>(total, x[channel]);
        }
    }

    auto operate = [](double a, double b) { return combine<operation>(a, b); };
    total = reduceBlock(total, operate, identity<operation>(), scratch);
    if (threadIdx.x == 0 && threadIdx.y == 0)
    {
        arguments.partials[static_cast<int64>(blockIdx.z) * arguments.outputRows + outputRow] = total;
    }
}

// Few elements an output row: a thread takes a row.
template <ReductionOperation operation>
__device__ inline void shortRows(const ReductionArguments& arguments)
{
    for (int32 outputRow = globalThread(); outputRow < arguments.outputRows; outputRow += globalThreads())
    {
        int64 start = position(outputRow, arguments.keptRank, arguments.keptExtents, arguments.keptStrides);
        double total = identity<operation>();
        for (int32 row = 0; row < arguments.summedRows; row++)
        {
            const float* x = arguments.input + (start + position(row, arguments.summedRank, arguments.summedExtents, arguments.summedStrides)) * arguments.pitch;
            for (int32 channel = 0; channel < arguments.channels; channel++)
            {
                total = combine<operation>(total, x[channel]);
            }
        }

        arguments.partials[outputRow] = total;
    }
}

template <ReductionOperation operation>
__device__ inline void combineSplits(const CombineArguments& arguments)
{
    int32 elements = arguments.outputRows * arguments.partialPitch;
    for (int32 element = globalThread(); element < elements; element += globalThreads())
    {
        double total = identity<operation>();
        for (int32 split = 0; split < arguments.splits; split++)
        {
            total = combine<operation>(total, arguments.partials[static_cast<int64>(split) * elements + element]);
        }

        int32 row = element / arguments.partialPitch;
        int32 channel = element - row * arguments.partialPitch;
        float* target = arguments.output + static_cast<int64>(row) * arguments.pitch + channel;
        float value = static_cast<float>(total / arguments.count);
        *target = channel >= arguments.channels ? 0.0f : arguments.accumulate != 0 ? *target + value : value;

        // The padding behind the one channel of a row that is summed over its channels.
        if (arguments.partialPitch == 1)
        {
            for (int32 c = 1; c < arguments.pitch; c++)
            {
                target[c] = 0.0f;
            }
        }
    }
}

#define DISPATCH(function)                                                          \
    switch (static_cast<ReductionOperation>(arguments.operation))                   \
    {                                                                               \
    case ReductionOperation::maximum:                                               \
        function<ReductionOperation::maximum>(arguments);                           \
        break;                                                                      \
    case ReductionOperation::minimum:                                               \
        function<ReductionOperation::minimum>(arguments);                           \
        break;                                                                      \
    default:                                                                        \
        function<ReductionOperation::sum>(arguments);                               \
        break;                                                                      \
    }

extern "C" __global__ void __launch_bounds__(256) reduceChannels(const __grid_constant__ ReductionArguments arguments)
{
    DISPATCH(channelsOfSplit)
}

extern "C" __global__ void __launch_bounds__(256) reduceRows(const __grid_constant__ ReductionArguments arguments)
{
    DISPATCH(rowsOfSplit)
}

extern "C" __global__ void __launch_bounds__(256) reduceShortRows(const __grid_constant__ ReductionArguments arguments)
{
    DISPATCH(shortRows)
}

extern "C" __global__ void __launch_bounds__(256) combine(const __grid_constant__ CombineArguments arguments)
{
    DISPATCH(combineSplits)
}

// One warp a row.
extern "C" __global__ void __launch_bounds__(256) argumentMaximum(const __grid_constant__ ArgumentMaximumArguments arguments)
{
    int32 warps = gridDim.x * (blockDim.x / lanes);
    for (int32 row = blockIdx.x * (blockDim.x / lanes) + threadIdx.x / lanes; row < arguments.rows; row += warps)
    {
        int32 index = firstOfLargest(arguments.input + static_cast<int64>(row) * arguments.pitch, arguments.channels);
        if (threadIdx.x % lanes == 0)
        {
            arguments.indices[row] = index;
        }
    }
}
