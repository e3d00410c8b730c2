// Per-channel activity over [rows, channels] with a pitch: the census that decides which channels are dead.
//
//   flag: bit c = any row with value > threshold, or |value| ≥ threshold. statistics: maximum, minimum (NaN wins) and float64 sum of each channel, combined with what is there.
//   unionOfFlags: target = first | second, a thread a word; a few words a group of channels, limited by the launch.
//
// Launch: rows.cuh; statistics leave partial results of slabs of rows, [slabs][3][pitch] float64, merged in order by blocks of 32 channels × 8 groups. Moved: 4 bytes an element: limited by memory.
#include "activity.cuh"

struct FlagArguments
{
    const float* input;
    Activity activity;
    int32 rows;
    int32 channels;
    int32 pitch;
};

struct StatisticsArguments
{
    const float* input;
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

extern "C" __global__ void __launch_bounds__(256) flag(const __grid_constant__ FlagArguments arguments)
{
    int32 channel = firstChannel();
    uint32 bits = 0;
    if (channel < arguments.pitch)
    {
        for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
        {
            bits |= activeBits(arguments.activity, loadFour(arguments.input + static_cast<int64>(row) * arguments.pitch + channel));
        }
    }

    reportActivity(arguments.activity, bits, channel, arguments.channels);
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

extern "C" __global__ void __launch_bounds__(256) statistics(const __grid_constant__ StatisticsArguments arguments)
{
    __shared__ Statistics threads[256];
    int32 channel = firstChannel();
    int32 first = blockIdx.y * arguments.rowsOfSlab;
    int32 last = min(first + arguments.rowsOfSlab, arguments.rows);
    Statistics four[4] = {emptyStatistics(), emptyStatistics(), emptyStatistics(), emptyStatistics()};
    if (channel < arguments.pitch)
    {
        for (int32 row = first + threadIdx.y; row < last; row += blockDim.y)
        {
            float4 x = loadFour(arguments.input + static_cast<int64>(row) * arguments.pitch + channel);
            four[0].add(x.x, x.x, x.x);
            four[1].add(x.y, x.y, x.y);
            four[2].add(x.z, x.z, x.z);
            four[3].add(x.w, x.w, x.w);
        }
    }

    int32 thread = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int i = 0; i < 4; i++)
    {
        threads[thread] = four[i];
        __syncthreads();
        if (threadIdx.y == 0 && channel < arguments.pitch)
        {
            for (int32 y = 1; y < blockDim.y; y++)
            {
                const Statistics& other = threads[y * blockDim.x + threadIdx.x];
                four[i].add(other.maximum, other.minimum, other.sum);
            }

            double* target = arguments.partials + static_cast<int64>(blockIdx.y) * 3 * arguments.pitch + channel + i;
            target[0] = four[i].maximum;
            target[arguments.pitch] = four[i].minimum;
            target[2 * arguments.pitch] = four[i].sum;
        }

        __syncthreads();
    }
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
