// Batch normalization over [rows, channels] with a pitch, with residual sum and activation fused in.
//
//   y = f(γ·(x − mean)/√(variance + ε) + β + residual), biased variance; saved: [4, pitch] mean, 1/√(variance + ε), scale = γ·that, shift = β − mean·scale.
//   With dz = f′·dy, x̂ = (x − mean)·inverseStd, n rows: dβ = Σ dz, dγ = Σ dz·x̂, dx = scale·(dz − dβ/n − x̂·dγ/n), computed as scale·dz + b·x + c. The residual's gradient is dz.
//
// Sums over rows: each block takes one slab of consecutive rows, threads add float32 differences from a pivot (the slab's first row), and the slabs' moments are merged in float64 in a fixed
// order (Chan, Golub and LeVeque, 1983), in groups of eight. Nothing depends on the device.
//
// Arrays of activations and their gradients are float32, or bfloat16 in the kernels whose names end in Bf16; statistics, factors and the gradients of γ and β are float32 always.
//
// Launch: channels.cuh; the merging kernels have blocks of 32 channels × 8 groups of slabs. Moved, in units of the array's bytes: moments 1, apply 2 (3 with a residual), backward sums 2 (3),
// backward 3 (4, or more with the residual's gradient): limited by memory.
#include "activity.cuh"
#include "slabs.cuh"

struct MomentsArguments
{
    const void* input;
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
    const void* input;
    const float* saved;
    const void* residual; // null for none
    const int32* map;      // null for the identity
    void* output;
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
    const void* input;
    const float* saved;
    const void* output; // of the forward pass; null: the sign is found again from the input
    const void* outputGradient;
    double* partials;  // [slabs][2][pitch]: Σ dz and Σ dz·(x − mean)
    const float* factors; // [2][pitch]: b, c
    void* inputGradient;    // null if not wanted
    void* residualGradient; // of an identity shortcut; null if not wanted
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
    const void* output;
    const void* outputGradient;
    const int32* inverseMap;
    void* residualGradient;
    int32 rows;
    int32 pitch;
    int32 residualChannels;
    int32 residualPitch;
    int32 rectifies;
    float slope;
    int32 accumulate;
};

template <class Stored>
__device__ inline void momentsOfSlab(const MomentsArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    __shared__ SlabSums<owned> sums;
    const Stored* input = static_cast<const Stored*>(arguments.input);
    int32 channel = firstChannel<owned>();
    int32 first = blockIdx.y * arguments.rowsOfSlab;
    int32 last = min(first + arguments.rowsOfSlab, arguments.rows);
    Channels<owned> pivot = fillChannels<owned>(0.0f);
    Channels<owned> sum = pivot;
    Channels<owned> squares = pivot;
    if (channel < arguments.pitch)
    {
        pivot = loadChannels(input + static_cast<int64>(first) * arguments.pitch + channel);
        for (int32 row = first + threadIdx.y; row < last; row += blockDim.y)
        {
            Channels<owned> difference = loadChannels(input + static_cast<int64>(row) * arguments.pitch + channel) - pivot;
            sum = sum + difference;
            squares = fmaChannels(difference, difference, squares);
        }
    }

    double total[owned];
    double totalSquares[owned];
#pragma unroll
    for (int i = 0; i < owned; i++)
    {
        total[i] = sum.at[i];
        totalSquares[i] = squares.at[i];
    }

    if (addThreads(sums, total, totalSquares) && channel < arguments.pitch)
    {
        double count = last - first;
#pragma unroll
        for (int i = 0; i < owned; i++)
        {
            totalSquares[i] -= total[i] * total[i] / count;
            total[i] = pivot.at[i] + total[i] / count;
        }

        double* target = arguments.partials + static_cast<int64>(blockIdx.y) * 2 * arguments.pitch + channel;
        storeSums(target, total);
        storeSums(target + arguments.pitch, totalSquares);
    }
}

extern "C" __global__ void __launch_bounds__(256) moments(const __grid_constant__ MomentsArguments arguments)
{
    momentsOfSlab<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) momentsBf16(const __grid_constant__ MomentsArguments arguments)
{
    momentsOfSlab<BFloat16>(arguments);
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

// Negative values become exactly +0 under ReLU, whose slope of 0 would give −0.
template <int count>
__device__ inline Channels<count> activate(const Channels<count>& values, int32 rectifies, float slope)
{
    if (rectifies == 0)
    {
        return values;
    }

    if (slope == 0.0f)
    {
        return eachChannel<count>([&](int i) { return values.at[i] < 0.0f ? 0.0f : values.at[i]; });
    }

    return eachChannel<count>([&](int i) { return values.at[i] < 0.0f ? values.at[i] * slope : values.at[i]; });
}

template <class Stored>
__device__ inline void applyRows(const ApplyArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    uint32 bits = 0;
    if (channel < arguments.pitch)
    {
        const Stored* input = static_cast<const Stored*>(arguments.input);
        Stored* output = static_cast<Stored*>(arguments.output);
        Channels<owned> scale = loadFloats<owned>(arguments.saved + 2 * arguments.pitch + channel);
        Channels<owned> shift = loadFloats<owned>(arguments.saved + 3 * arguments.pitch + channel);
        bool mapped = arguments.map != nullptr;
        ChannelMap<owned> map(arguments.map, channel, arguments.channels);
        for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
        {
            int64 at = static_cast<int64>(row) * arguments.pitch + channel;
            Channels<owned> values = fmaChannels(loadChannels(input + at), scale, shift);
            if (arguments.residual != nullptr)
            {
                const Stored* residual = static_cast<const Stored*>(arguments.residual) + static_cast<int64>(row) * arguments.residualPitch;
                values = values + (mapped ? map.gather(residual) : loadChannels(residual + channel));
            }

            bits |= activeBits(arguments.activity, storeChannels(output + at, activate(values, arguments.rectifies, arguments.slope)));
        }
    }

    if (arguments.activity.flags != nullptr)
    {
        reportActivity<owned>(arguments.activity, bits, channel, arguments.channels);
    }
}

extern "C" __global__ void __launch_bounds__(256) apply(const __grid_constant__ ApplyArguments arguments)
{
    applyRows<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) applyBf16(const __grid_constant__ ApplyArguments arguments)
{
    applyRows<BFloat16>(arguments);
}

// dz from dy and the value that decides the side: positive values pass, others are multiplied by the slope.
template <int count>
__device__ inline Channels<count> backThroughActivation(const Channels<count>& gradient, const Channels<count>& values, float slope)
{
    return eachChannel<count>([&](int i) { return values.at[i] > 0.0f ? gradient.at[i] : gradient.at[i] * slope; });
}

// dz of a row: the side is that of the output where it was kept, else of the normalised input.
template <class Stored, int count>
__device__ inline Channels<count> gradientBeforeActivation(
    const BackwardArguments& arguments, int64 at, const Channels<count>& x, const Channels<count>& scale, const Channels<count>& shift)
{
    Channels<count> gradient = loadChannels(static_cast<const Stored*>(arguments.outputGradient) + at);
    if (arguments.rectifies == 0)
    {
        return gradient;
    }

    return backThroughActivation(
        gradient, arguments.output != nullptr ? loadChannels(static_cast<const Stored*>(arguments.output) + at) : fmaChannels(x, scale, shift), arguments.slope);
}

template <class Stored>
__device__ inline void sumsOfSlab(const BackwardArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    __shared__ SlabSums<owned> sums;
    int32 channel = firstChannel<owned>();
    int32 first = blockIdx.y * arguments.rowsOfSlab;
    int32 last = min(first + arguments.rowsOfSlab, arguments.rows);
    Channels<owned> sum = fillChannels<owned>(0.0f);
    Channels<owned> product = sum;
    if (channel < arguments.pitch)
    {
        const Stored* input = static_cast<const Stored*>(arguments.input);
        Channels<owned> mean = loadFloats<owned>(arguments.saved + channel);
        Channels<owned> scale = loadFloats<owned>(arguments.saved + 2 * arguments.pitch + channel);
        Channels<owned> shift = loadFloats<owned>(arguments.saved + 3 * arguments.pitch + channel);
        for (int32 row = first + threadIdx.y; row < last; row += blockDim.y)
        {
            int64 at = static_cast<int64>(row) * arguments.pitch + channel;
            Channels<owned> x = loadChannels(input + at);
            Channels<owned> gradient = gradientBeforeActivation<Stored>(arguments, at, x, scale, shift);
            sum = sum + gradient;
            product = fmaChannels(gradient, x - mean, product);
        }
    }

    double total[owned];
    double totalProduct[owned];
#pragma unroll
    for (int i = 0; i < owned; i++)
    {
        total[i] = sum.at[i];
        totalProduct[i] = product.at[i];
    }

    if (addThreads(sums, total, totalProduct) && channel < arguments.pitch)
    {
        double* target = arguments.partials + static_cast<int64>(blockIdx.y) * 2 * arguments.pitch + channel;
        storeSums(target, total);
        storeSums(target + arguments.pitch, totalProduct);
    }
}

extern "C" __global__ void __launch_bounds__(256) backwardSums(const __grid_constant__ BackwardArguments arguments)
{
    sumsOfSlab<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) backwardSumsBf16(const __grid_constant__ BackwardArguments arguments)
{
    sumsOfSlab<BFloat16>(arguments);
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

    // dx = scale·(dz − dβ/n − x̂·dγ/n) as scale·dz + b·x + c
    bool batch = arguments.batchStatistics != 0;
    double slope = batch ? -scale * inverseStd * product / arguments.rows : 0.0;
    arguments.factors[channel] = static_cast<float>(slope);
    arguments.factors[pitch + channel] = static_cast<float>(batch ? -scale * sum / arguments.rows - slope * mean : 0.0);
}

template <class Stored>
__device__ inline void backwardRows(const BackwardArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    const Stored* input = static_cast<const Stored*>(arguments.input);
    Channels<owned> scale = loadFloats<owned>(arguments.saved + 2 * arguments.pitch + channel);
    Channels<owned> shift = loadFloats<owned>(arguments.saved + 3 * arguments.pitch + channel);
    Channels<owned> b = loadFloats<owned>(arguments.factors + channel);
    Channels<owned> c = loadFloats<owned>(arguments.factors + arguments.pitch + channel);
    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        int64 at = static_cast<int64>(row) * arguments.pitch + channel;
        Channels<owned> x = loadChannels(input + at);
        Channels<owned> gradient = gradientBeforeActivation<Stored>(arguments, at, x, scale, shift);
        if (arguments.residualGradient != nullptr)
        {
            Stored* target = static_cast<Stored*>(arguments.residualGradient) + at;
            storeChannels(target, arguments.accumulateResidual != 0 ? loadChannels(target) + gradient : gradient);
        }

        if (arguments.inputGradient != nullptr)
        {
            storeChannels(static_cast<Stored*>(arguments.inputGradient) + at, fmaChannels(scale, gradient, fmaChannels(b, x, c)));
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) backwardApply(const __grid_constant__ BackwardArguments arguments)
{
    backwardRows<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) backwardApplyBf16(const __grid_constant__ BackwardArguments arguments)
{
    backwardRows<BFloat16>(arguments);
}

// The gradient of a mapped shortcut: dz of the output channel that each of its channels feeds. It runs before backwardApply, which may overwrite dy.
template <class Stored>
__device__ inline void residualGradientRows(const ResidualGradientArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.residualPitch)
    {
        return;
    }

    ChannelMap<owned> map(arguments.inverseMap, channel, arguments.residualChannels);
    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        int64 from = static_cast<int64>(row) * arguments.pitch;
        Channels<owned> gradient = map.gather(static_cast<const Stored*>(arguments.outputGradient) + from);
        if (arguments.rectifies != 0)
        {
            gradient = backThroughActivation(gradient, map.gather(static_cast<const Stored*>(arguments.output) + from), arguments.slope);
        }

        Stored* target = static_cast<Stored*>(arguments.residualGradient) + static_cast<int64>(row) * arguments.residualPitch + channel;
        storeChannels(target, arguments.accumulate != 0 ? loadChannels(target) + gradient : gradient);
    }
}

extern "C" __global__ void __launch_bounds__(256) residualGradient(const __grid_constant__ ResidualGradientArguments arguments)
{
    residualGradientRows<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) residualGradientBf16(const __grid_constant__ ResidualGradientArguments arguments)
{
    residualGradientRows<BFloat16>(arguments);
}
