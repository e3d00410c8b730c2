// From the statistics that a convolution left by tiles of rows to all that a training pass of batch normalization needs: saved and running statistics, and which channels are active after the
// activation.
//
//   n, mean, Σ(x − mean)² of the batch from those of the tiles, in float64 about the first tile's mean p:
//     s = Σ_t n_t·(mean_t − p)      mean = p + s/n      Σ(x − mean)² = Σ_t [squares_t + n_t·(mean_t − p)²] − s²/n
//   saved: [4, pitch] mean, 1/√(variance + ε), scale = γ·that, shift = β − mean·scale; running ← (1 − momentum)·running + momentum·new, with the unbiased variance
//   active where f(fma(extremum, scale, shift)) exceeds the threshold: rounded products, sums and activations rise with x (fall, where the scale is negative), so the largest value of the output is that
//   of the largest (smallest) input, to the bit.
//
// Layout of the tiles' statistics: [tiles][4][pitch] mean, Σ(x − mean)², maximum, minimum. Every sum runs in a fixed order.
//
// Launch: blocks of 8 channels × 32 groups of tiles; eight channels are a sector of memory. Moved: the tiles' statistics once, 16 bytes a channel and tile, mostly from the second-level cache; limited
// by latency: a thread has the 32 numbers of eight tiles under way, so that 256 tiles are one trip to memory.
#include "activity.cuh"

enum
{
    blockChannels = 8,
    groups = 32,
    tilesAtOnce = 8, // of a thread under way: all are loaded before the first is used
};

struct BatchStatisticsArguments
{
    const float* tiles;
    const float* gamma;  // null for 1
    const float* beta;   // null for 0
    float* runningMean;  // may be null
    float* runningVariance;
    float* saved;
    Activity activity; // above a threshold
    int32 tileCount;
    int32 rowsOfTile;
    int32 rows;
    int32 channels;
    int32 pitch;
    int32 rectifies; // 1: negative values are multiplied by the slope (0 for ReLU)
    float slope;
    float epsilon;
    float momentum;
};

// What a channel's tiles add up to.
struct Totals
{
    double sum;     // Σ n·(mean − pivot)
    double squares; // Σ squares + n·(mean − pivot)²
    float maximum;
    float minimum;

    __device__ void merge(const Totals& other)
    {
        sum += other.sum;
        squares += other.squares;
        maximum = fmaxf(maximum, other.maximum);
        minimum = fminf(minimum, other.minimum);
    }
};

__device__ inline float shareOf(const BatchStatisticsArguments& arguments, float old, double value)
{
    return static_cast<float>((1.0f - arguments.momentum) * old + arguments.momentum * value);
}

extern "C" __global__ void __launch_bounds__(256) batchStatistics(const __grid_constant__ BatchStatisticsArguments arguments)
{
    __shared__ Totals totals[groups][blockChannels];
    int32 channel = blockIdx.x * blockChannels + threadIdx.x;
    int32 pitch = arguments.pitch;
    const float* tile = arguments.tiles + channel;
    double pivot = tile[0];
    Totals mine = {0.0, 0.0, -__int_as_float(0x7F800000), __int_as_float(0x7F800000)};
    int32 tileBytes = 4 * pitch * static_cast<int32>(sizeof(float));
    double usualCount = arguments.rowsOfTile;
    double lastCount = arguments.rows - (arguments.tileCount - 1) * arguments.rowsOfTile;
    for (int32 t = threadIdx.y; t < arguments.tileCount; t += tilesAtOnce * groups)
    {
        // One block a multiprocessor at most: what hides the latency is in the thread.
        float statistics[tilesAtOnce][4];
        forEachRow<tilesAtOnce>(arguments.tileCount - t, groups, [&](int i, int32 further) {
#pragma unroll
            for (int k = 0; k < 4; k++)
            {
                statistics[i][k] = *advance(tile + k * pitch, t + further, tileBytes);
            }
        });
        forEachRow<tilesAtOnce>(arguments.tileCount - t, groups, [&](int i, int32 further) {
            double count = t + further < arguments.tileCount - 1 ? usualCount : lastCount;
            double difference = statistics[i][0] - pivot;
            mine.merge({count * difference, statistics[i][1] + count * difference * difference, statistics[i][2], statistics[i][3]});
        });
    }

    totals[threadIdx.y][threadIdx.x] = mine;
    for (int32 half = groups / 2; half > 0; half /= 2)
    {
        __syncthreads();
        if (threadIdx.y < half)
        {
            totals[threadIdx.y][threadIdx.x].merge(totals[threadIdx.y + half][threadIdx.x]);
        }
    }

    if (threadIdx.y != 0)
    {
        return;
    }

    float* saved = arguments.saved + channel;
    if (channel >= arguments.channels)
    {
        saved[0] = saved[pitch] = saved[2 * pitch] = saved[3 * pitch] = 0.0f;
        return;
    }

    mine = totals[0][threadIdx.x];
    double rows = arguments.rows;
    double exactMean = pivot + mine.sum / rows;
    double squares = mine.squares - mine.sum * mine.sum / rows;
    squares = squares < 0.0 ? 0.0 : squares; // what is not a number stays

    float mean = static_cast<float>(exactMean);
    if (arguments.runningMean != nullptr)
    {
        arguments.runningMean[channel] = shareOf(arguments, arguments.runningMean[channel], exactMean);
    }

    if (arguments.runningVariance != nullptr)
    {
        arguments.runningVariance[channel] = shareOf(arguments, arguments.runningVariance[channel], squares / (arguments.rows > 1 ? rows - 1 : 1));
    }

    double inverseStd = 1.0 / sqrt(squares / rows + arguments.epsilon);
    double exactScale = arguments.gamma != nullptr ? arguments.gamma[channel] * inverseStd : inverseStd;
    double offset = arguments.beta != nullptr ? arguments.beta[channel] : 0.0;
    float scale = static_cast<float>(exactScale);
    float shift = static_cast<float>(offset - mean * exactScale);
    saved[0] = mean;
    saved[pitch] = static_cast<float>(inverseStd);
    saved[2 * pitch] = scale;
    saved[3 * pitch] = shift;
    if (arguments.activity.flags != nullptr)
    {
        float largest = fmaf(scale > 0.0f ? mine.maximum : mine.minimum, scale, shift);
        if (arguments.rectifies != 0 && largest < 0.0f)
        {
            largest *= arguments.slope;
        }

        if (isActive(arguments.activity, largest))
        {
            atomicOr(arguments.activity.flags + channel / 32, 1u << (channel % 32));
        }
    }
}
