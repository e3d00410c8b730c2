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
// backward 3 (4, or more with the residual's gradient): limited by memory. A thread has four rows under way, two where it reads three arrays or gathers: at least 64 bytes, and the 512 threads that a
// multiprocessor holds at 128 registers or fewer make 32 KB. What differs from launch to launch (residual, side of the activation) is decided before the rows.
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

// How many rows a thread has under way where a row takes three loads or more, and registers with them.
constexpr int fewRowsAtOnce = 2;

template <class Stored>
__device__ inline void momentsOfSlab(const MomentsArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    __shared__ SlabSums<owned> sums;
    int32 channel = firstChannel<owned>();
    int32 first = blockIdx.y * arguments.rowsOfSlab;
    int32 last = min(first + arguments.rowsOfSlab, arguments.rows);
    Channels<owned> sum = fillChannels<owned>(0.0f);
    Channels<owned> squares = sum;
    if (channel < arguments.pitch)
    {
        Column<Stored> input(arguments.input, channel, arguments.pitch);
        Channels<owned> pivot = loadChannels(input.at(first));
        for (int32 row = first + threadIdx.y; row < last; row += rowsAtOnce * blockDim.y)
        {
            uint4 x[rowsAtOnce];
            forEachRow<rowsAtOnce>(last - row, blockDim.y, [&](int i, int32 down) { x[i] = input.load(row + down); });
            forEachRow<rowsAtOnce>(last - row, blockDim.y, [&](int i, int32) {
                Channels<owned> difference = unpackPiece<Stored>(x[i]) - pivot;
                sum = sum + difference;
                squares = fmaChannels(difference, difference, squares);
            });
        }
    }

    const Stored* firstOfSlab = static_cast<const Stored*>(arguments.input) + static_cast<int64>(first) * arguments.pitch;
    double* partials = arguments.partials + static_cast<int64>(blockIdx.y) * 2 * arguments.pitch;
    double count = last - first;
    addThreads(sums, sum.at, squares.at, arguments.pitch, [&](int32 at, double total, double totalSquares) {
        partials[at] = loadElement(firstOfSlab + at) + total / count;
        partials[arguments.pitch + at] = totalSquares - total * total / count;
    });
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

enum class Shortcut
{
    none,
    identity,
    mapped,
};

// All rows of a thread; returns which channels were active.
template <class Stored, Shortcut shortcut, bool leaky>
__device__ inline uint32 applyRows(const ApplyArguments& arguments, int32 channel)
{
    constexpr int owned = ownedChannels<Stored>;
    constexpr int atOnce = shortcut == Shortcut::mapped ? fewRowsAtOnce : rowsAtOnce;
    Channels<owned> scale = loadFloats<owned>(arguments.saved + 2 * arguments.pitch + channel);
    Channels<owned> shift = loadFloats<owned>(arguments.saved + 3 * arguments.pitch + channel);
    ChannelMap<Stored> map(shortcut == Shortcut::mapped ? arguments.map : nullptr, channel, arguments.channels);
    Column<Stored> input(arguments.input, channel, arguments.pitch);
    Column<Stored> residual(arguments.residual, shortcut == Shortcut::mapped ? 0 : channel, arguments.residualPitch);
    Column<Stored> output(arguments.output, channel, arguments.pitch);

    // Rounding keeps the order of values, so that the smallest that may be stored can be applied to pairs of them.
    uint4 smallest = fillPiece<Stored>(arguments.rectifies != 0 && !leaky ? 0.0f : __uint_as_float(0xFF800000));
    LargestSeen<Stored> largest(arguments.activity);
    int32 step = rowStep();
    for (int32 row = firstRow(); row < arguments.rows; row += atOnce * step)
    {
        int32 left = arguments.rows - row;
        uint4 x[atOnce];
        uint4 added[atOnce];
        forEachRow<atOnce>(left, step, [&](int i, int32 down) {
            x[i] = input.load(row + down);
            if (shortcut != Shortcut::none)
            {
                added[i] = shortcut == Shortcut::mapped ? map.gather(residual.at(row + down)) : residual.load(row + down);
            }
        });
        forEachRow<atOnce>(left, step, [&](int i, int32 down) {
            Channels<owned> values = fmaChannels(unpackPiece<Stored>(x[i]), scale, shift);
            if (shortcut != Shortcut::none)
            {
                values = values + unpackPiece<Stored>(added[i]);
            }

            if (leaky)
            {
                values = eachChannel<owned>([&](int c) { return values.at[c] < 0.0f ? values.at[c] * arguments.slope : values.at[c]; });
            }

            uint4 stored = largerPiece<Stored>(packPiece(values), smallest);
            output.store(row + down, stored);
            largest.add(stored);
        });
    }

    return firstRow() < arguments.rows ? largest.bits(arguments.activity) : 0;
}

template <class Stored, bool leaky>
__device__ inline uint32 applyByShortcut(const ApplyArguments& arguments, int32 channel)
{
    if (arguments.residual == nullptr)
    {
        return applyRows<Stored, Shortcut::none, leaky>(arguments, channel);
    }

    return arguments.map == nullptr ? applyRows<Stored, Shortcut::identity, leaky>(arguments, channel) : applyRows<Stored, Shortcut::mapped, leaky>(arguments, channel);
}

template <class Stored>
__device__ inline void applyAll(const ApplyArguments& arguments)
{
    int32 channel = firstChannel<ownedChannels<Stored>>();
    uint32 bits = 0;
    if (channel < arguments.pitch)
    {
        bits = arguments.rectifies != 0 && arguments.slope != 0.0f ? applyByShortcut<Stored, true>(arguments, channel) : applyByShortcut<Stored, false>(arguments, channel);
    }

    if (arguments.activity.flags != nullptr)
    {
        reportActivity<ownedChannels<Stored>>(arguments.activity, bits, channel, arguments.channels);
    }
}

extern "C" __global__ void __launch_bounds__(256) apply(const __grid_constant__ ApplyArguments arguments)
{
    applyAll<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) applyBf16(const __grid_constant__ ApplyArguments arguments)
{
    applyAll<BFloat16>(arguments);
}

// dz from dy and the value that decides the side: positive values pass, others are multiplied by the slope.
template <int count>
__device__ inline Channels<count> backThroughActivation(const Channels<count>& gradient, const Channels<count>& values, float slope)
{
    return eachChannel<count>([&](int i) { return values.at[i] > 0.0f ? gradient.at[i] : gradient.at[i] * slope; });
}

// Where the side of the activation is read: nowhere without one, from the output where it was kept, else from the normalised input.
enum class Side
{
    none,
    input,
    output,
};

__device__ inline Side sideOf(const BackwardArguments& arguments)
{
    return arguments.rectifies == 0 ? Side::none : arguments.output == nullptr ? Side::input : Side::output;
}

template <class Stored, Side side>
__device__ inline void addRows(
    const BackwardArguments& arguments, int32 channel, Channels<ownedChannels<Stored>>& sum, Channels<ownedChannels<Stored>>& product)
{
    constexpr int owned = ownedChannels<Stored>;
    constexpr int atOnce = side == Side::output ? fewRowsAtOnce : rowsAtOnce;
    Column<Stored> input(arguments.input, channel, arguments.pitch);
    Column<Stored> output(arguments.output, channel, arguments.pitch);
    Column<Stored> outputGradient(arguments.outputGradient, channel, arguments.pitch);
    Channels<owned> mean = loadFloats<owned>(arguments.saved + channel);
    Channels<owned> scale = loadFloats<owned>(arguments.saved + 2 * arguments.pitch + channel);
    Channels<owned> shift = loadFloats<owned>(arguments.saved + 3 * arguments.pitch + channel);
    int32 first = blockIdx.y * arguments.rowsOfSlab;
    int32 last = min(first + arguments.rowsOfSlab, arguments.rows);
    for (int32 row = first + threadIdx.y; row < last; row += atOnce * blockDim.y)
    {
        uint4 x[atOnce];
        uint4 y[atOnce];
        uint4 dy[atOnce];
        forEachRow<atOnce>(last - row, blockDim.y, [&](int i, int32 down) {
            x[i] = input.load(row + down);
            dy[i] = outputGradient.load(row + down);
            if (side == Side::output)
            {
                y[i] = output.load(row + down);
            }
        });
        forEachRow<atOnce>(last - row, blockDim.y, [&](int i, int32) {
            Channels<owned> values = unpackPiece<Stored>(x[i]);
            Channels<owned> gradient = unpackPiece<Stored>(dy[i]);
            if (side != Side::none)
            {
                gradient = backThroughActivation(gradient, side == Side::output ? unpackPiece<Stored>(y[i]) : fmaChannels(values, scale, shift), arguments.slope);
            }

            sum = sum + gradient;
            product = fmaChannels(gradient, values - mean, product);
        });
    }
}

template <class Stored>
__device__ inline void sumsOfSlab(const BackwardArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    __shared__ SlabSums<owned> sums;
    int32 channel = firstChannel<owned>();
    Channels<owned> sum = fillChannels<owned>(0.0f);
    Channels<owned> product = sum;
    if (channel < arguments.pitch)
    {
        switch (sideOf(arguments))
        {
        case Side::none:
            addRows<Stored, Side::none>(arguments, channel, sum, product);
            break;
        case Side::input:
            addRows<Stored, Side::input>(arguments, channel, sum, product);
            break;
        default:
            addRows<Stored, Side::output>(arguments, channel, sum, product);
            break;
        }
    }

    double* partials = arguments.partials + static_cast<int64>(blockIdx.y) * 2 * arguments.pitch;
    addThreads(sums, sum.at, product.at, arguments.pitch, [&](int32 at, double total, double totalProduct) {
        partials[at] = total;
        partials[arguments.pitch + at] = totalProduct;
    });
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
        // The few blocks of this kernel wait for memory: many slabs are under way.
        constexpr int atOnce = 16;
        const double* ofSlab = arguments.partials + channel;
        int32 slabBytes = 2 * pitch * static_cast<int32>(sizeof(double));
        for (int32 slab = threadIdx.y; slab < arguments.slabs; slab += atOnce * 8)
        {
            double sums[atOnce];
            double products[atOnce];
            forEachRow<atOnce>(arguments.slabs - slab, 8, [&](int i, int32 down) {
                sums[i] = *advance(ofSlab, slab + down, slabBytes);
                products[i] = *advance(ofSlab + pitch, slab + down, slabBytes);
            });
            forEachRow<atOnce>(arguments.slabs - slab, 8, [&](int i, int32) {
                sum += sums[i];
                product += products[i];
            });
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

template <class Stored, Side side, bool wantsResidual>
__device__ inline void backwardRows(const BackwardArguments& arguments, int32 channel)
{
    constexpr int owned = ownedChannels<Stored>;
    constexpr int atOnce = side == Side::output || wantsResidual ? fewRowsAtOnce : rowsAtOnce;
    bool wantsInput = arguments.inputGradient != nullptr;
    bool accumulates = wantsResidual && arguments.accumulateResidual != 0;
    Column<Stored> input(arguments.input, channel, arguments.pitch);
    Column<Stored> output(arguments.output, channel, arguments.pitch);
    Column<Stored> outputGradient(arguments.outputGradient, channel, arguments.pitch);
    Column<Stored> inputGradient(arguments.inputGradient, channel, arguments.pitch);
    Column<Stored> residualGradient(arguments.residualGradient, channel, arguments.pitch);
    Channels<owned> scale = loadFloats<owned>(arguments.saved + 2 * arguments.pitch + channel);
    Channels<owned> shift = loadFloats<owned>(arguments.saved + 3 * arguments.pitch + channel);
    Channels<owned> b = loadFloats<owned>(arguments.factors + channel);
    Channels<owned> c = loadFloats<owned>(arguments.factors + arguments.pitch + channel);
    int32 step = rowStep();
    for (int32 row = firstRow(); row < arguments.rows; row += atOnce * step)
    {
        int32 left = arguments.rows - row;
        uint4 x[atOnce];
        uint4 y[atOnce];
        uint4 dy[atOnce];
        uint4 old[atOnce];
        forEachRow<atOnce>(left, step, [&](int i, int32 down) {
            x[i] = input.load(row + down);
            dy[i] = outputGradient.load(row + down);
            if (side == Side::output)
            {
                y[i] = output.load(row + down);
            }

            if (accumulates)
            {
                old[i] = residualGradient.load(row + down);
            }
        });
        forEachRow<atOnce>(left, step, [&](int i, int32 down) {
            Channels<owned> values = unpackPiece<Stored>(x[i]);
            Channels<owned> gradient = unpackPiece<Stored>(dy[i]);
            if (side != Side::none)
            {
                gradient = backThroughActivation(gradient, side == Side::output ? unpackPiece<Stored>(y[i]) : fmaChannels(values, scale, shift), arguments.slope);
            }

            if (wantsResidual)
            {
                residualGradient.store(row + down, packPiece(accumulates ? unpackPiece<Stored>(old[i]) + gradient : gradient));
            }

            if (wantsInput)
            {
                inputGradient.store(row + down, packPiece(fmaChannels(scale, gradient, fmaChannels(b, values, c))));
            }
        });
    }
}

template <class Stored, Side side>
__device__ inline void backwardByResidual(const BackwardArguments& arguments, int32 channel)
{
    if (arguments.residualGradient != nullptr)
    {
        backwardRows<Stored, side, true>(arguments, channel);
    }
    else
    {
        backwardRows<Stored, side, false>(arguments, channel);
    }
}

template <class Stored>
__device__ inline void backwardAll(const BackwardArguments& arguments)
{
    int32 channel = firstChannel<ownedChannels<Stored>>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    switch (sideOf(arguments))
    {
    case Side::none:
        backwardByResidual<Stored, Side::none>(arguments, channel);
        break;
    case Side::input:
        backwardByResidual<Stored, Side::input>(arguments, channel);
        break;
    default:
        backwardByResidual<Stored, Side::output>(arguments, channel);
        break;
    }
}

extern "C" __global__ void __launch_bounds__(256) backwardApply(const __grid_constant__ BackwardArguments arguments)
{
    backwardAll<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) backwardApplyBf16(const __grid_constant__ BackwardArguments arguments)
{
    backwardAll<BFloat16>(arguments);
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

    ChannelMap<Stored> map(arguments.inverseMap, channel, arguments.residualChannels);
    Column<Stored> output(arguments.output, 0, arguments.pitch);
    Column<Stored> outputGradient(arguments.outputGradient, 0, arguments.pitch);
    Column<Stored> target(arguments.residualGradient, channel, arguments.residualPitch);
    bool rectifies = arguments.rectifies != 0;
    bool accumulates = arguments.accumulate != 0;
    int32 step = rowStep();
    for (int32 row = firstRow(); row < arguments.rows; row += fewRowsAtOnce * step)
    {
        int32 left = arguments.rows - row;
        uint4 y[fewRowsAtOnce];
        uint4 dy[fewRowsAtOnce];
        uint4 old[fewRowsAtOnce];
        forEachRow<fewRowsAtOnce>(left, step, [&](int i, int32 down) {
            dy[i] = map.gather(outputGradient.at(row + down));
            if (rectifies)
            {
                y[i] = map.gather(output.at(row + down));
            }

            if (accumulates)
            {
                old[i] = target.load(row + down);
            }
        });
        forEachRow<fewRowsAtOnce>(left, step, [&](int i, int32 down) {
            Channels<owned> gradient = unpackPiece<Stored>(dy[i]);
            if (rectifies)
            {
                gradient = backThroughActivation(gradient, unpackPiece<Stored>(y[i]), arguments.slope);
            }

            target.store(row + down, packPiece(accumulates ? unpackPiece<Stored>(old[i]) + gradient : gradient));
        });
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
