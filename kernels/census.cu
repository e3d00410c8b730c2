// Per-channel activity over [rows, channels] with a pitch: the census that decides which channels are dead.
//
//   flag: bit c = any row with value > threshold, or |value| ≥ threshold. statistics: maximum, minimum (NaN wins) and float64 sum of each channel, combined with what is there.
//   unionOfFlags: target = first | second, a thread a word; a few words a group of channels, limited by the launch.
//
// The input is float32, or bfloat16 in the kernels whose names end in Bf16.
//
// Launch: channels.cuh; statistics leave partial results of slabs of rows, [slabs][3][pitch] float64, merged in order by blocks of 32 channels × 8 groups. Moved: the input: limited by memory.
// flag has four rows a thread under way.
#include "activity.cuh"

struct FlagArguments
{
    const void* input;
    Activity activity;
    int32 rows;
    int32 channels;
    int32 pitch;
};

struct StatisticsArguments
{
    const void* input;
    double* partials;
    float* maximum;
    float* minimum;
    double* sum;
    int32 rows;
    int32 rowsOfSlab;
    int32 slabs;
    int32 channels;
    int32 pitch;
};

struct UnionArguments
{
    const uint32* first;
    const uint32* second;
    uint32* target; // or one of the two
    int32 words;
    int32 unused;
};

template <class Stored>
__device__ inline void flagRows(const FlagArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    uint32 bits = 0;
    if (channel < arguments.pitch && firstRow() < arguments.rows)
    {
        Column<Stored> input(arguments.input, channel, arguments.pitch);
        LargestSeen<Stored> largest(arguments.activity);
        int32 step = rowStep();
        for (int32 row = firstRow(); row < arguments.rows; row += rowsAtOnce * step)
        {
            uint4 x[rowsAtOnce];
            forEachRow<rowsAtOnce>(arguments.rows - row, step, [&](int i, int32 down) { x[i] = input.load(row + down); });
            forEachRow<rowsAtOnce>(arguments.rows - row, step, [&](int i, int32) { largest.add(x[i]); });
        }

        bits = largest.bits(arguments.activity);
    }

    reportActivity<owned>(arguments.activity, bits, channel, arguments.channels);
}

extern "C" __global__ void __launch_bounds__(256) flag(const __grid_constant__ FlagArguments arguments)
{
    flagRows<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) flagBf16(const __grid_constant__ FlagArguments arguments)
{
    flagRows<BFloat16>(arguments);
}

// Extrema and sum of one channel; the identity is (−∞, +∞, 0).
struct Statistics
{
    double maximum;
    double minimum;
    double sum;

    __device__ void add(double otherMaximum, double otherMinimum, double otherSum)
    {
        maximum = maximum != maximum || otherMaximum != otherMaximum ? __longlong_as_double(0x7FF8000000000000ll) : fmax(maximum, otherMaximum);
        minimum = minimum != minimum || otherMinimum != otherMinimum ? __longlong_as_double(0x7FF8000000000000ll) : fmin(minimum, otherMinimum);
        sum += otherSum;
    }
};

__device__ inline Statistics emptyStatistics()
{
    return {__longlong_as_double(0xFFF0000000000000ll), __longlong_as_double(0x7FF0000000000000ll), 0.0};
}

// The larger, or smaller, of two numbers; what is not a number wins.
__device__ inline float larger(float a, float b) { return a != a || b != b ? __int_as_float(0x7FFFFFFF) : fmaxf(a, b); }
__device__ inline float smaller(float a, float b) { return a != a || b != b ? __int_as_float(0x7FFFFFFF) : fminf(a, b); }

template <class Stored>
__device__ inline void statisticsOfSlab(const StatisticsArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    __shared__ Statistics threads[256];
    int32 channel = firstChannel<owned>();
    int32 first = blockIdx.y * arguments.rowsOfSlab;
    int32 last = min(first + arguments.rowsOfSlab, arguments.rows);
    Channels<owned> maximum = fillChannels<owned>(__int_as_float(0xFF800000));
    Channels<owned> minimum = fillChannels<owned>(__int_as_float(0x7F800000));
    double sum[owned] = {};
    if (channel < arguments.pitch)
    {
        for (int32 row = first + threadIdx.y; row < last; row += blockDim.y)
        {
            Channels<owned> x = loadChannels(static_cast<const Stored*>(arguments.input) + static_cast<int64>(row) * arguments.pitch + channel);
#pragma unroll
            for (int i = 0; i < owned; i++)
            {
                maximum.at[i] = larger(maximum.at[i], x.at[i]);
                minimum.at[i] = smaller(minimum.at[i], x.at[i]);
                sum[i] += x.at[i];
            }
        }
    }

    int32 thread = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int i = 0; i < owned; i++)
    {
        Statistics own = {maximum.at[i], minimum.at[i], sum[i]};
        threads[thread] = own;
        __syncthreads();
        if (threadIdx.y == 0 && channel < arguments.pitch)
        {
            for (int32 y = 1; y < blockDim.y; y++)
            {
                const Statistics& other = threads[y * blockDim.x + threadIdx.x];
                own.add(other.maximum, other.minimum, other.sum);
            }

            double* target = arguments.partials + static_cast<int64>(blockIdx.y) * 3 * arguments.pitch + channel + i;
            target[0] = own.maximum;
            target[arguments.pitch] = own.minimum;
            target[2 * arguments.pitch] = own.sum;
        }

        __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(256) statistics(const __grid_constant__ StatisticsArguments arguments)
{
    statisticsOfSlab<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) statisticsBf16(const __grid_constant__ StatisticsArguments arguments)
{
    statisticsOfSlab<BFloat16>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) mergeStatistics(const __grid_constant__ StatisticsArguments arguments)
{
    __shared__ Statistics groups[8][32];
    int32 channel = blockIdx.x * 32 + threadIdx.x;
    Statistics total = emptyStatistics();
    if (channel < arguments.channels)
    {
        for (int32 slab = threadIdx.y; slab < arguments.slabs; slab += 8)
        {
            const double* partial = arguments.partials + static_cast<int64>(slab) * 3 * arguments.pitch + channel;
            total.add(partial[0], partial[arguments.pitch], partial[2 * arguments.pitch]);
        }
    }

    groups[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y == 0 && channel < arguments.channels)
    {
        for (int32 group = 1; group < 8; group++)
        {
            const Statistics& other = groups[group][threadIdx.x];
            total.add(other.maximum, other.minimum, other.sum);
        }

        total.add(arguments.maximum[channel], arguments.minimum[channel], 0.0);
        arguments.maximum[channel] = static_cast<float>(total.maximum);
        arguments.minimum[channel] = static_cast<float>(total.minimum);
        arguments.sum[channel] += total.sum;
    }
}

extern "C" __global__ void __launch_bounds__(128) unionOfFlags(const __grid_constant__ UnionArguments arguments)
{
    int32 word = blockIdx.x * blockDim.x + threadIdx.x;
    if (word < arguments.words)
    {
        arguments.target[word] = arguments.first[word] | arguments.second[word];
    }
}
