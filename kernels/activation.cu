// Activation functions and their derivatives on [rows, channels] with a pitch; all map 0 to 0, so padding stays zero.
//
//   ReLU max(x, 0); leaky ReLU x or slope·x; GELU x·Φ(x), Φ(x) = (1 + erf(x/√2))/2; SiLU x·sigmoid(β·x)
//   backward: inputGradient = (or +=) f′(x)·outputGradient. Derivatives at 0 of ReLU and leaky ReLU are those of the negative side.
//
// Launch: rows.cuh. Moved: 8 bytes an element forward, 12 backward (16 when it accumulates): limited by memory. Activity bits cost nothing further.
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
    const float* input;
    float* output;
    Activity activity;
    int32 rows;
    int32 channels;
    int32 pitch;
    int32 kind;
    float parameter;
};

struct ActivationGradientArguments
{
    const float* input;
    const float* outputGradient;
    float* inputGradient;
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

template <ActivationKind kind>
__device__ inline void forwardRows(const ActivationArguments& arguments)
{
    int32 channel = firstChannel();
    uint32 bits = 0;
    if (channel < arguments.pitch)
    {
        for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
        {
            int64 at = static_cast<int64>(row) * arguments.pitch + channel;
            float4 x = loadFour(arguments.input + at);
            float p = arguments.parameter;
            float4 y = make_float4(activate<kind>(x.x, p), activate<kind>(x.y, p), activate<kind>(x.z, p), activate<kind>(x.w, p));
            storeFour(arguments.output + at, y);
            bits |= activeBits(arguments.activity, y);
        }
    }

    if (arguments.activity.flags != nullptr)
    {
        reportActivity(arguments.activity, bits, channel, arguments.channels);
    }
}

template <ActivationKind kind>
__device__ inline void backwardRows(const ActivationGradientArguments& arguments)
{
    int32 channel = firstChannel();
    if (channel >= arguments.pitch)
    {
        return;
    }

    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        int64 at = static_cast<int64>(row) * arguments.pitch + channel;
        float4 x = loadFour(arguments.input + at);
        float p = arguments.parameter;
        float4 slope = make_float4(derivative<kind>(x.x, p), derivative<kind>(x.y, p), derivative<kind>(x.z, p), derivative<kind>(x.w, p));
        float4 gradient = slope * loadFour(arguments.outputGradient + at);
        storeFour(arguments.inputGradient + at, arguments.accumulate != 0 ? loadFour(arguments.inputGradient + at) + gradient : gradient);
    }
}

extern "C" __global__ void __launch_bounds__(256) activationForward(const __grid_constant__ ActivationArguments arguments)
{
    switch (static_cast<ActivationKind>(arguments.kind))
    {
    case ActivationKind::relu:
        forwardRows<ActivationKind::relu>(arguments);
        break;
    case ActivationKind::leakyRelu:
        forwardRows<ActivationKind::leakyRelu>(arguments);
        break;
    case ActivationKind::gelu:
        forwardRows<ActivationKind::gelu>(arguments);
        break;
    case ActivationKind::silu:
        forwardRows<ActivationKind::silu>(arguments);
        break;
    default:
        forwardRows<ActivationKind::identity>(arguments);
        break;
    }
}

extern "C" __global__ void __launch_bounds__(256) activationBackward(const __grid_constant__ ActivationGradientArguments arguments)
{
    switch (static_cast<ActivationKind>(arguments.kind))
    {
    case ActivationKind::relu:
        backwardRows<ActivationKind::relu>(arguments);
        break;
    case ActivationKind::leakyRelu:
        backwardRows<ActivationKind::leakyRelu>(arguments);
        break;
    case ActivationKind::gelu:
        backwardRows<ActivationKind::gelu>(arguments);
        break;
    case ActivationKind::silu:
        backwardRows<ActivationKind::silu>(arguments);
        break;
    default:
        backwardRows<ActivationKind::identity>(arguments);
        break;
    }
}
