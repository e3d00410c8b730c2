// Activation functions and their derivatives on [rows, channels] with a pitch; all map 0 to 0, so padding stays zero.
//
//   ReLU max(x, 0); leaky ReLU x or slope·x; GELU x·Φ(x), Φ(x) = (1 + erf(x/√2))/2; SiLU x·sigmoid(β·x)
//   backward: inputGradient = (or +=) f′(x)·outputGradient. Derivatives at 0 of ReLU and leaky ReLU are those of the negative side.
//
// Arrays are float32, or bfloat16 in the kernels whose names end in Bf16.
//
// Launch: channels.cuh. Moved: 2 elements an element forward, 3 backward (4 when it accumulates), of 4 bytes or 2: limited by memory. Activity bits cost nothing further.
#include "activity.cuh"

enum class ActivationKind : int32
{
    identity,
    relu,
    leakyRelu,
    gelu,
    silu,
};

struct ActivationArguments
{
    const void* input;
    void* output;
    Activity activity;
    int32 rows;
    int32 channels;
    int32 pitch;
    int32 kind;
    float parameter;
};

struct ActivationGradientArguments
{
    const void* input;
    const void* outputGradient;
    void* inputGradient;
    int32 rows;
    int32 pitch;
    int32 kind;
    float parameter;
    int32 accumulate;
};

__device__ inline float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

// Φ(x) through the complement on the negative side, where 1 + erf would cancel.
__device__ inline float normalDistribution(float x)
{
    return 0.5f * erfcf(-0.70710678f * x);
}

template <ActivationKind kind>
__device__ inline float activate(float x, float parameter)
{
    switch (kind)
    {
    case ActivationKind::relu:
        return x < 0.0f ? 0.0f : x;
    case ActivationKind::leakyRelu:
        return x < 0.0f ? x * parameter : x;
    case ActivationKind::gelu:
        return x * normalDistribution(x);
    case ActivationKind::silu:
        return x * sigmoid(parameter * x);
    default:
        return x;
    }
}

template <ActivationKind kind>
__device__ inline float derivative(float x, float parameter)
{
    switch (kind)
    {
    case ActivationKind::relu:
        return x > 0.0f ? 1.0f : 0.0f;
    case ActivationKind::leakyRelu:
        return x > 0.0f ? 1.0f : parameter;
    case ActivationKind::gelu:
        return fmaf(x, 0.39894228f * expf(-0.5f * x * x), normalDistribution(x));
    case ActivationKind::silu:
    {
        float s = sigmoid(parameter * x);
        return s * fmaf(parameter * x, 1.0f - s, 1.0f);
    }
    default:
        return 1.0f;
    }
}

template <ActivationKind kind, class Stored>
__device__ inline void forwardRows(const ActivationArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    uint32 bits = 0;
    if (channel < arguments.pitch)
    {
        for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
        {
            int64 at = static_cast<int64>(row) * arguments.pitch + channel;
            Channels<owned> x = loadChannels(static_cast<const Stored*>(arguments.input) + at);
            Channels<owned> y = eachChannel<owned>([&](int i) { return activate<kind>(x.at[i], arguments.parameter); });
            bits |= activeBits(arguments.activity, storeChannels(static_cast<Stored*>(arguments.output) + at, y));
        }
    }

    if (arguments.activity.flags != nullptr)
    {
        reportActivity<owned>(arguments.activity, bits, channel, arguments.channels);
    }
}

template <ActivationKind kind, class Stored>
__device__ inline void backwardRows(const ActivationGradientArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        int64 at = static_cast<int64>(row) * arguments.pitch + channel;
        Channels<owned> x = loadChannels(static_cast<const Stored*>(arguments.input) + at);
        Channels<owned> dy = loadChannels(static_cast<const Stored*>(arguments.outputGradient) + at);
        Channels<owned> gradient = eachChannel<owned>([&](int i) { return derivative<kind>(x.at[i], arguments.parameter) * dy.at[i]; });
        Stored* target = static_cast<Stored*>(arguments.inputGradient) + at;
        storeChannels(target, arguments.accumulate != 0 ? loadChannels(target) + gradient : gradient);
    }
}

template <class Stored>
__device__ inline void forwardByKind(const ActivationArguments& arguments)
{
    switch (static_cast<ActivationKind>(arguments.kind))
    {
    case ActivationKind::relu:
        forwardRows<ActivationKind::relu, Stored>(arguments);
        break;
    case ActivationKind::leakyRelu:
        forwardRows<ActivationKind::leakyRelu, Stored>(arguments);
        break;
    case ActivationKind::gelu:
        forwardRows<ActivationKind::gelu, Stored>(arguments);
        break;
    case ActivationKind::silu:
        forwardRows<ActivationKind::silu, Stored>(arguments);
        break;
    default:
        forwardRows<ActivationKind::identity, Stored>(arguments);
        break;
    }
}

template <class Stored>
__device__ inline void backwardByKind(const ActivationGradientArguments& arguments)
{
    switch (static_cast<ActivationKind>(arguments.kind))
    {
    case ActivationKind::relu:
        backwardRows<ActivationKind::relu, Stored>(arguments);
        break;
    case ActivationKind::leakyRelu:
        backwardRows<ActivationKind::leakyRelu, Stored>(arguments);
        break;
    case ActivationKind::gelu:
        backwardRows<ActivationKind::gelu, Stored>(arguments);
        break;
    case ActivationKind::silu:
        backwardRows<ActivationKind::silu, Stored>(arguments);
        break;
    default:
        backwardRows<ActivationKind::identity, Stored>(arguments);
        break;
    }
}

extern "C" __global__ void __launch_bounds__(256) activationForward(const __grid_constant__ ActivationArguments arguments)
{
    forwardByKind<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) activationForwardBf16(const __grid_constant__ ActivationArguments arguments)
{
    forwardByKind<BFloat16>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) activationBackward(const __grid_constant__ ActivationGradientArguments arguments)
{
    backwardByKind<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) activationBackwardBf16(const __grid_constant__ ActivationGradientArguments arguments)
{
    backwardByKind<BFloat16>(arguments);
}
