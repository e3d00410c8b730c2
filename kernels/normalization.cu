// Batch normalization over [rows, channels] with a pitch, with residual sum and activation fused in.
//
//   y = f(γ·(x − mean)/√(variance + ε) + β + residual), biased variance; saved: [4, pitch] mean, 1/√(variance + ε), scale = γ·that, shift = β − mean·scale.
//   With dz = f′·dy, x̂ = (x − mean)·inverseStd, n rows: dβ = Σ dz, dγ = Σ dz·x̂, dx = scale·(dz − dβ/n − x̂·dγ/n), computed as a·dz + b·x + c. The residual's gradient is dz.
//
// Sums over rows: each block takes one slab of consecutive rows, threads add float32 differences from a pivot (the slab's first row), and the slabs' moments are merged in float64 in a fixed
// order (Chan, Golub and LeVeque, 1983), in groups of eight. Nothing depends on the device.
//
// Launch: rows.cuh; the merging kernels have blocks of 32 channels × 8 groups of slabs. Moved, in units of the array's bytes: moments 1, apply 2 (3 with a residual), backward sums 2 (3), backward
// 3 (4, or more with the residual's gradient): limited by memory.
#include "activity.cuh"
#include "slabs.cuh"

struct MomentsArguments
{
    const float* input;
    double* partials; // [slabs][2][pitch]: mean and Σ(x − mean)²
    int32 rows;
    int32 rowsOfSlab;
    int32 pitch;
};

struct MergeMomentsArguments
{
    const double* partials;
    double* moments; // [2][pitch]
    int32 rows;
    int32 rowsOfSlab;
    int32 slabs;
    int32 channels;
    int32 pitch;
};

struct PrepareArguments
{
    const double* moments; // null in evaluation: then the running statistics are used
    const float* gamma;    // null for 1
    const float* beta;     // null for 0
    float* runningMean;    // may be null in training
    float* runningVariance;
    float* saved;
    int32 rows;
    int32 channels;
    int32 pitch;
    float epsilon;
    float momentum;
};

struct ApplyArguments
{
    const float* input;
    const float* saved;
    const float* residual; // null for none
    const int32* map;      // null for the identity
    float* output;
    Activity activity;
    int32 rows;
    int32 channels;
    int32 pitch;
    int32 residualPitch;
    int32 rectifies; // 1: negative values are multiplied by the slope (0 for ReLU)
    float slope;
};

struct BackwardArguments
{
    const float* input;
    const float* saved;
    const float* output; // of the forward pass; null: the sign is found again from the input
    const float* outputGradient;
    double* partials;  // [slabs][2][pitch]: Σ dz and Σ dz·(x − mean)
    const float* factors; // [3][pitch]: a, b, c
    float* inputGradient;    // null if not wanted
    float* residualGradient; // of an identity shortcut; null if not wanted
    int32 rows;
    int32 rowsOfSlab;
    int32 pitch;
    int32 rectifies;
    float slope;
    int32 accumulateResidual;
};

struct FactorsArguments
{
    const double* partials;
    const float* saved;
    float* factors;
    float* gammaGradient; // null if not wanted
    float* betaGradient;
    int32 rows;
    int32 slabs; // 0: no sums were wanted
    int32 channels;
    int32 pitch;
    int32 batchStatistics;
    int32 accumulate;
};

struct ResidualGradientArguments
{
    const float* output;
    const float* outputGradient;
    const int32* inverseMap;
    float* residualGradient;
    int32 rows;
    int32 pitch;
    int32 residualChannels;
    int32 residualPitch;
    int32 rectifies;
    float slope;
    int32 accumulate;
};

extern "C" __global__ void __launch_bounds__(256) moments(const __grid_constant__ MomentsArguments arguments)
{
    __shared__ SlabSums sums;
    int32 channel = firstChannel();
    int32 first = blockIdx.y * arguments.rowsOfSlab;
    int32 last = min(first + arguments.rowsOfSlab, arguments.rows);
    float4 pivot = fillFour(0.0f);
    float4 sum = fillFour(0.0f);
    float4 squares = fillFour(0.0f);
    if (channel < arguments.pitch)
    {
        pivot = loadFour(arguments.input + static_cast<int64>(first) * arguments.pitch + channel);
        for (int32 row = first + threadIdx.y; row < last; row += blockDim.y)
        {
            float4 x = loadFour(arguments.input + static_cast<int64>(row) * arguments.pitch + channel);
            float4 difference = make_float4(x.x - pivot.x, x.y - pivot.y, x.z - pivot.z, x.w - pivot.w);
            sum = sum + difference;
            squares = fmaFour(difference, difference, squares);
        }
    }

    double total[4] = {sum.x, sum.y, sum.z, sum.w};
    double totalSquares[4] = {squares.x, squares.y, squares.z, squares.w};
    if (addThreads(sums, total, totalSquares) && channel < arguments.pitch)
    {
        float pivots[4] = {pivot.x, pivot.y, pivot.z, pivot.w};
        double count = last - first;
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            totalSquares[i] -= total[i] * total[i] / count;
            total[i] = pivots[i] + total[i] / count;
        }

        double* target = arguments.partials + static_cast<int64>(blockIdx.y) * 2 * arguments.pitch + channel;
        storeFour(target, total);
        storeFour(target + arguments.pitch, totalSquares);
    }
}

// Moments of a set of values, and their union with another's.
struct Moments
{
    double count;
    double mean;
    double squares; // Σ(x − mean)²

    __device__ void merge(const Moments& other)
    {
        double both = count + other.count;
        if (other.count > 0)
        {
            double difference = other.mean - mean;
            mean += difference * (other.count / both);
            squares += other.squares + difference * difference * (count * other.count / both);
            count = both;
        }
    }
};

extern "C" __global__ void __launch_bounds__(256) mergeMoments(const __grid_constant__ MergeMomentsArguments arguments)
{
    __shared__ Moments groups[8][32];
    int32 channel = blockIdx.x * 32 + threadIdx.x;
    Moments moments = {0.0, 0.0, 0.0};
    if (channel < arguments.pitch)
    {
        for (int32 slab = threadIdx.y; slab < arguments.slabs; slab += 8)
        {
            const double* partial = arguments.partials + static_cast<int64>(slab) * 2 * arguments.pitch + channel;
            double count = min(arguments.rowsOfSlab, arguments.rows - slab * arguments.rowsOfSlab);
            moments.merge({count, partial[0], partial[arguments.pitch]});
        }
    }

    groups[threadIdx.y][threadIdx.x] = moments;
    __syncthreads();
    if (threadIdx.y == 0 && channel < arguments.pitch)
    {
        for (int32 group = 1; group < 8; group++)
        {
            moments.merge(groups[group][threadIdx.x]);
        }

        bool real = channel < arguments.channels;
        arguments.moments[channel] = real ? moments.mean : 0.0;
        arguments.moments[arguments.pitch + channel] = real ? moments.squares : 0.0;
    }
}

extern "C" __global__ void __launch_bounds__(256) prepare(const __grid_constant__ PrepareArguments arguments)
{
    int32 channel = blockIdx.x * blockDim.x + threadIdx.x;
    int32 pitch = arguments.pitch;
    if (channel >= pitch)
    {
        return;
    }

    float* saved = arguments.saved + channel;
    if (channel >= arguments.channels)
    {
        saved[0] = saved[pitch] = saved[2 * pitch] = saved[3 * pitch] = 0.0f;
        return;
    }

    float mean;
    double variance;
    if (arguments.moments != nullptr)
    {
        double squares = arguments.moments[pitch + channel];
        mean = static_cast<float>(arguments.moments[channel]);
        variance = squares / arguments.rows;
        if (arguments.runningMean != nullptr)
        {
            float* running = arguments.runningMean + channel;
            *running = static_cast<float>((1.0f - arguments.momentum) * *running + arguments.momentum * arguments.moments[channel]);
        }

        if (arguments.runningVariance != nullptr)
        {
            float* running = arguments.runningVariance + channel;
            double unbiased = squares / (arguments.rows > 1 ? arguments.rows - 1 : 1);
            *running = static_cast<float>((1.0f - arguments.momentum) * *running + arguments.momentum * unbiased);
        }
    }
    else
    {
        mean = arguments.runningMean[channel];
        variance = arguments.runningVariance[channel];
    }

    double inverseStd = 1.0 / sqrt(variance + arguments.epsilon);
    double scale = arguments.gamma != nullptr ? arguments.gamma[channel] * inverseStd : inverseStd;
    double offset = arguments.beta != nullptr ? arguments.beta[channel] : 0.0;
    saved[0] = mean;
    saved[pitch] = static_cast<float>(inverseStd);
    saved[2 * pitch] = static_cast<float>(scale);
    saved[3 * pitch] = static_cast<float>(offset - mean * scale);
}

__device__ inline float rectify(float value, float slope)
{
    return value < 0.0f ? value * slope : value;
}

// Negative values become exactly +0 under ReLU, whose slope of 0 would give −0.
__device__ inline float4 activate(float4 value, int32 rectifies, float slope)
{
    if (rectifies == 0)
    {
        return value;
    }

    if (slope == 0.0f)
    {
        return make_float4(value.x < 0.0f ? 0.0f : value.x, value.y < 0.0f ? 0.0f : value.y, value.z < 0.0f ? 0.0f : value.z, value.w < 0.0f ? 0.0f : value.w);
    }

    return make_float4(rectify(value.x, slope), rectify(value.y, slope), rectify(value.z, slope), rectify(value.w, slope));
}

extern "C" __global__ void __launch_bounds__(256) apply(const __grid_constant__ ApplyArguments arguments)
{
    int32 channel = firstChannel();
    uint32 bits = 0;
    if (channel < arguments.pitch)
    {
        float4 scale = loadFour(arguments.saved + 2 * arguments.pitch + channel);
        float4 shift = loadFour(arguments.saved + 3 * arguments.pitch + channel);
        bool mapped = arguments.map != nullptr;
        int4 map = mapped ? loadMap(arguments.map, channel, arguments.channels) : make_int4(0, 0, 0, 0);
        for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
        {
            int64 at = static_cast<int64>(row) * arguments.pitch + channel;
            float4 value = fmaFour(loadFour(arguments.input + at), scale, shift);
            if (arguments.residual != nullptr)
            {
                const float* residual = arguments.residual + static_cast<int64>(row) * arguments.residualPitch;
                value = value + (mapped ? gatherFour(residual, map) : loadFour(residual + channel));
            }

            value = activate(value, arguments.rectifies, arguments.slope);
            storeFour(arguments.output + at, value);
            bits |= activeBits(arguments.activity, value);
        }
    }

    if (arguments.activity.flags != nullptr)
    {
        reportActivity(arguments.activity, bits, channel, arguments.channels);
    }
}

// dz from dy and the value that decides the side: positive values pass, others are multiplied by the slope.
__device__ inline float4 backThroughActivation(float4 gradient, float4 value, int32 rectifies, float slope)
{
    if (rectifies == 0)
    {
        return gradient;
    }

    return make_float4(
        value.x > 0.0f ? gradient.x : gradient.x * slope, value.y > 0.0f ? gradient.y : gradient.y * slope, value.z > 0.0f ? gradient.z : gradient.z * slope,
        value.w > 0.0f ? gradient.w : gradient.w * slope);
}

__device__ inline float4 inputOfActivation(const BackwardArguments& arguments, int64 at, float4 x, float4 scale, float4 shift)
{
    if (arguments.rectifies == 0)
    {
        return x;
    }

    return arguments.output != nullptr ? loadFour(arguments.output + at) : fmaFour(x, scale, shift);
}

extern "C" __global__ void __launch_bounds__(256) backwardSums(const __grid_constant__ BackwardArguments arguments)
{
    __shared__ SlabSums sums;
    int32 channel = firstChannel();
    int32 first = blockIdx.y * arguments.rowsOfSlab;
    int32 last = min(first + arguments.rowsOfSlab, arguments.rows);
    float4 sum = fillFour(0.0f);
    float4 product = fillFour(0.0f);
    if (channel < arguments.pitch)
    {
        float4 mean = loadFour(arguments.saved + channel);
        float4 scale = loadFour(arguments.saved + 2 * arguments.pitch + channel);
        float4 shift = loadFour(arguments.saved + 3 * arguments.pitch + channel);
        for (int32 row = first + threadIdx.y; row < last; row += blockDim.y)
        {
            int64 at = static_cast<int64>(row) * arguments.pitch + channel;
            float4 x = loadFour(arguments.input + at);
            float4 gradient = loadFour(arguments.outputGradient + at);
            gradient = backThroughActivation(gradient, inputOfActivation(arguments, at, x, scale, shift), arguments.rectifies, arguments.slope);
            sum = sum + gradient;
            product = fmaFour(gradient, make_float4(x.x - mean.x, x.y - mean.y, x.z - mean.z, x.w - mean.w), product);
        }
    }

    double total[4] = {sum.x, sum.y, sum.z, sum.w};
    double totalProduct[4] = {product.x, product.y, product.z, product.w};
    if (addThreads(sums, total, totalProduct) && channel < arguments.pitch)
    {
        double* target = arguments.partials + static_cast<int64>(blockIdx.y) * 2 * arguments.pitch + channel;
        storeFour(target, total);
        storeFour(target + arguments.pitch, totalProduct);
    }
}

extern "C" __global__ void __launch_bounds__(256) backwardFactors(const __grid_constant__ FactorsArguments arguments)
{
    __shared__ double sums[2][8][32];
    int32 channel = blockIdx.x * 32 + threadIdx.x;
    int32 pitch = arguments.pitch;
    double sum = 0.0;
    double product = 0.0;
    if (channel < pitch)
    {
        for (int32 slab = threadIdx.y; slab < arguments.slabs; slab += 8)
        {
            const double* partial = arguments.partials + static_cast<int64>(slab) * 2 * pitch + channel;
            sum += partial[0];
            product += partial[pitch];
        }
    }

    sums[0][threadIdx.y][threadIdx.x] = sum;
    sums[1][threadIdx.y][threadIdx.x] = product;
    __syncthreads();
    if (threadIdx.y != 0 || channel >= pitch)
    {
        return;
    }

    for (int32 group = 1; group < 8; group++)
    {
        sum += sums[0][group][threadIdx.x];
        product += sums[1][group][threadIdx.x];
    }

    bool real = channel < arguments.channels;
    const float* saved = arguments.saved + channel;
    double mean = saved[0];
    double inverseStd = saved[pitch];
    double scale = saved[2 * pitch];
    sum = real ? sum : 0.0;
    product = real ? product * inverseStd : 0.0;
    if (arguments.gammaGradient != nullptr)
    {
        float* target = arguments.gammaGradient + channel;
        *target = arguments.accumulate != 0 ? *target + static_cast<float>(product) : static_cast<float>(product);
    }

    if (arguments.betaGradient != nullptr)
    {
        float* target = arguments.betaGradient + channel;
        *target = arguments.accumulate != 0 ? *target + static_cast<float>(sum) : static_cast<float>(sum);
    }

    // dx = scale·(dz − dβ/n − x̂·dγ/n) as a·dz + b·x + c
    bool batch = arguments.batchStatistics != 0;
    double slope = batch ? -scale * inverseStd * product / arguments.rows : 0.0;
    arguments.factors[channel] = static_cast<float>(scale);
    arguments.factors[pitch + channel] = static_cast<float>(slope);
    arguments.factors[2 * pitch + channel] = static_cast<float>(batch ? -scale * sum / arguments.rows - slope * mean : 0.0);
}

extern "C" __global__ void __launch_bounds__(256) backwardApply(const __grid_constant__ BackwardArguments arguments)
{
    int32 channel = firstChannel();
    if (channel >= arguments.pitch)
    {
        return;
    }

    float4 scale = loadFour(arguments.saved + 2 * arguments.pitch + channel);
    float4 shift = loadFour(arguments.saved + 3 * arguments.pitch + channel);
    float4 a = loadFour(arguments.factors + channel);
    float4 b = loadFour(arguments.factors + arguments.pitch + channel);
    float4 c = loadFour(arguments.factors + 2 * arguments.pitch + channel);
    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        int64 at = static_cast<int64>(row) * arguments.pitch + channel;
        float4 x = loadFour(arguments.input + at);
        float4 gradient = loadFour(arguments.outputGradient + at);
        gradient = backThroughActivation(gradient, inputOfActivation(arguments, at, x, scale, shift), arguments.rectifies, arguments.slope);
        if (arguments.residualGradient != nullptr)
        {
            float* target = arguments.residualGradient + at;
            storeFour(target, arguments.accumulateResidual != 0 ? loadFour(target) + gradient : gradient);
        }

        if (arguments.inputGradient != nullptr)
        {
            storeFour(arguments.inputGradient + at, fmaFour(a, gradient, fmaFour(b, x, c)));
        }
    }
}

// The gradient of a mapped shortcut: dz of the output channel that each of its channels feeds. It runs before backwardApply, which may overwrite dy.
extern "C" __global__ void __launch_bounds__(256) residualGradient(const __grid_constant__ ResidualGradientArguments arguments)
{
    int32 channel = firstChannel();
    if (channel >= arguments.residualPitch)
    {
        return;
    }

    int4 map = loadMap(arguments.inverseMap, channel, arguments.residualChannels);
    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        int64 from = static_cast<int64>(row) * arguments.pitch;
        float4 gradient = gatherFour(arguments.outputGradient + from, map);
        if (arguments.rectifies != 0)
        {
            gradient = backThroughActivation(gradient, gatherFour(arguments.output + from, map), 1, arguments.slope);
        }

        float* target = arguments.residualGradient + static_cast<int64>(row) * arguments.residualPitch + channel;
        storeFour(target, arguments.accumulate != 0 ? loadFour(target) + gradient : gradient);
    }
}
