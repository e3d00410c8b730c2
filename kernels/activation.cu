// Activation functions and their derivatives on [rows, channels] with a pitch; all map 0 to 0, so padding stays zero.
//
//   ReLU max(x, 0); leaky ReLU x or slope·x; GELU x·Φ(x), Φ(x) = (1 + erf(x/√2))/2; SiLU x·sigmoid(β·x)
//   backward: inputGradient = (or +=) f′(x)·outputGradient. Derivatives at 0 of ReLU and leaky ReLU are those of the negative side.
//
// Arrays are float32, or bfloat16 in the kernels whose names end in Bf16.
//
// Launch: channels.cuh. Moved: 2 elements an element forward, 3 backward (4 when it accumulates), of 4 bytes or 2: limited by memory. Activity bits cost a maximum a
// piece and nothing further. Four rows a thread are under way where the function is a comparison.
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

// How many rows a thread has under way: fewer where the registers go to functions.
template <ActivationKind kind>
constexpr int rowsUnderWay = kind == ActivationKind::gelu || kind == ActivationKind::silu ? 1 : rowsAtOnce;

template <ActivationKind kind, class Stored>
__device__ inline void forwardRows(const ActivationArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    constexpr int atOnce = rowsUnderWay<kind>;
    int32 channel = firstChannel<owned>();
    uint32 bits = 0;
    if (channel < arguments.pitch && firstRow() < arguments.rows)
    {
        Column<Stored> input(arguments.input, channel, arguments.pitch);
        Column<Stored> output(arguments.output, channel, arguments.pitch);
        LargestSeen<Stored> largest(arguments.activity);
        int32 step = rowStep();
        for (int32 row = firstRow(); row < arguments.rows; row += atOnce * step)
        {
            uint4 x[atOnce];
            forEachRow<atOnce>(arguments.rows - row, step, [&](int i, int32 down) { x[i] = input.load(row + down); });
            forEachRow<atOnce>(arguments.rows - row, step, [&](int i, int32 down) {
                Channels<owned> values = unpackPiece<Stored>(x[i]);
                uint4 y = packPiece(eachChannel<owned>([&](int c) { return activate<kind>(values.at[c], arguments.parameter); }));
                output.store(row + down, y);
                largest.add(y);
            });
        }

        bits = largest.bits(arguments.activity);
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
    constexpr int atOnce = rowsUnderWay<kind>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    Column<Stored> input(arguments.input, channel, arguments.pitch);
    Column<Stored> outputGradient(arguments.outputGradient, channel, arguments.pitch);
    Column<Stored> inputGradient(arguments.inputGradient, channel, arguments.pitch);
    bool accumulates = arguments.accumulate != 0;
    int32 step = rowStep();
    for (int32 row = firstRow(); row < arguments.rows; row += atOnce * step)
    {
        uint4 x[atOnce];
        uint4 dy[atOnce];
        uint4 old[atOnce];
        forEachRow<atOnce>(arguments.rows - row, step, [&](int i, int32 down) {
            x[i] = input.load(row + down);
            dy[i] = outputGradient.load(row + down);
            if (accumulates)
            {
                old[i] = inputGradient.load(row + down);
            }
        });
        forEachRow<atOnce>(arguments.rows - row, step, [&](int i, int32 down) {
            Channels<owned> values = unpackPiece<Stored>(x[i]);
            Channels<owned> gradients = unpackPiece<Stored>(dy[i]);
            Channels<owned> gradient = eachChannel<owned>([&](int c) { return derivative<kind>(values.at[c], arguments.parameter) * gradients.at[c]; });
            inputGradient.store(row + down, packPiece(accumulates ? unpackPiece<Stored>(old[i]) + gradient : gradient));
        });
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
