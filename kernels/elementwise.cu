// Elementwise arithmetic on [rows, channels] with a pitch; padding of every output is written as zero, whatever the function of zero is.
//
//   unary:  output = f(input; a, b)                    binary: output = f(left, right), both broadcast to the output
//   accumulate: output += scale·input                  fill: output = value
//   mappedAdd: output[row, c] = base[row, c] + source[row, map[c]], nothing where the map is negative, no base where there is none
//   widen, narrow: output = (or +=) input, from bfloat16 to float32 and back
//
// unary and binary take float32; the others also bfloat16, in the kernels whose names end in Bf16.
//
// Launch: channels.cuh; widen and narrow own eight channels a thread. Moved: 4 bytes, or 2, an element and array read or written: limited by memory.
// accumulate and mappedAdd have four rows a thread under way.
#include "channels.cuh"

enum class UnaryOperation : int32
{
    copy,
    negate,
    absolute,
    sign,
    square,
    squareRoot,
    reciprocal,
    exponential,
    logarithm,
    sine,
    cosine,
    hyperbolicTangent,
    sigmoid,
    affine,
    power,
    clamp,
    insideRange,
};

enum class BinaryOperation : int32
{
    add,
    subtract,
    multiply,
    divide,
    maximum,
    minimum,
    greaterOrEqual,
    less,
    equal,
};

struct UnaryArguments
{
    const float* input;
    float* output;
    int32 rows;
    int32 channels;
    int32 pitch;
    int32 operation;
    float a;
    float b;
};

// One operand of a broadcast operation. A row of the output is a position in its outer dimensions (innermost first); the operand's row is the sum of position·stride, a stride of zero
// repeats the operand.
struct Operand
{
    const float* data;
    int32 pitch;
    int32 repeatsChannel; // 1: one channel for all of the output's
    int32 sameRows;       // 1: row for row like the output; otherwise by the strides
    int32 strides[5];
};

struct BinaryArguments
{
    Operand left;
    Operand right;
    float* output;
    int32 rows;
    int32 channels;
    int32 pitch;
    int32 operation;
    int32 extents[5]; // of the output's outer dimensions, innermost first
};

struct AccumulateArguments
{
    const void* input;
    void* output;
    int32 rows;
    int32 pitch;
    float scale;
};

struct FillArguments
{
    void* output;
    int32 rows;
    int32 channels;
    int32 pitch;
    float value;
};

struct MappedAddArguments
{
    const void* base; // null for none
    const void* source;
    const int32* map; // one entry an output channel; null for the identity
    void* output;
    int32 rows;
    int32 channels;
    int32 pitch;
    int32 sourcePitch;
};

struct ConvertArguments
{
    const void* input;
    void* output;
    int32 rows;
    int32 pitch;
    int32 accumulate;
    int32 unused;
};

template <UnaryOperation operation>
__device__ inline float evaluate(float x, float a, float b)
{
    switch (operation)
    {
    case UnaryOperation::negate:
        return -x;
    case UnaryOperation::absolute:
        return fabsf(x);
    case UnaryOperation::sign:
        return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x == 0.0f ? 0.0f : x;
    case UnaryOperation::square:
        return x * x;
    case UnaryOperation::squareRoot:
        return sqrtf(x);
    case UnaryOperation::reciprocal:
        return 1.0f / x;
    case UnaryOperation::exponential:
        return expf(x);
    case UnaryOperation::logarithm:
        return logf(x);
    case UnaryOperation::sine:
        return sinf(x);
    case UnaryOperation::cosine:
        return cosf(x);
    case UnaryOperation::hyperbolicTangent:
        return tanhf(x);
    case UnaryOperation::sigmoid:
        return 1.0f / (1.0f + expf(-x));
    case UnaryOperation::affine:
        return fmaf(a, x, b);
    case UnaryOperation::power:
        return powf(x, a);
    case UnaryOperation::clamp:
        return x < a ? a : x > b ? b : x;
    case UnaryOperation::insideRange:
        return x >= a && x <= b ? 1.0f : 0.0f;
    default:
        return x;
    }
}

template <BinaryOperation operation>
__device__ inline float evaluate(float x, float y)
{
    switch (operation)
    {
    case BinaryOperation::add:
        return x + y;
    case BinaryOperation::subtract:
        return x - y;
    case BinaryOperation::multiply:
        return x * y;
    case BinaryOperation::divide:
        return x / y;
    case BinaryOperation::maximum: // NaN wins, as on the host
        return x != x ? x : y != y ? y : fmaxf(x, y);
    case BinaryOperation::minimum:
        return x != x ? x : y != y ? y : fminf(x, y);
    case BinaryOperation::greaterOrEqual:
        return x >= y ? 1.0f : 0.0f;
    case BinaryOperation::less:
        return x < y ? 1.0f : 0.0f;
    default:
        return x == y ? 1.0f : 0.0f;
    }
}

template <UnaryOperation operation>
__device__ inline void unaryRows(const UnaryArguments& arguments)
{
    int32 channel = firstChannel();
    if (channel >= arguments.pitch)
    {
        return;
    }

    float a = arguments.a;
    float b = arguments.b;
    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        int64 at = static_cast<int64>(row) * arguments.pitch + channel;
        float4 x = loadFour(arguments.input + at);
        float4 y = make_float4(evaluate<operation>(x.x, a, b), evaluate<operation>(x.y, a, b), evaluate<operation>(x.z, a, b), evaluate<operation>(x.w, a, b));
        storeFour(arguments.output + at, withoutPadding(y, channel, arguments.channels));
    }
}

extern "C" __global__ void __launch_bounds__(256) unary(const __grid_constant__ UnaryArguments arguments)
{
    switch (static_cast<UnaryOperation>(arguments.operation))
    {
#define CASE(name) case UnaryOperation::name: unaryRows<UnaryOperation::name>(arguments); break;
        CASE(copy) CASE(negate) CASE(absolute) CASE(sign) CASE(square) CASE(squareRoot) CASE(reciprocal) CASE(exponential) CASE(logarithm) CASE(sine) CASE(cosine)
        CASE(hyperbolicTangent) CASE(sigmoid) CASE(affine) CASE(power) CASE(clamp) CASE(insideRange)
#undef CASE
    }
}

// The operand's values for a thread's four channels of one row of the output.
__device__ inline float4 loadOperand(const Operand& operand, const int32* extents, int32 row, int32 channel, int32 channels)
{
    int64 from = row;
    if (operand.sameRows == 0)
    {
        from = 0;
        uint32 rest = row;
#pragma unroll
        for (int i = 0; i < 5; i++)
        {
            uint32 outer = rest / static_cast<uint32>(extents[i]);
            from += static_cast<int64>(rest - outer * extents[i]) * operand.strides[i];
            rest = outer;
        }
    }

    const float* data = operand.data + from * operand.pitch;
    return operand.repeatsChannel != 0 ? fillFour(*data) : loadFour(data + channel);
}

template <BinaryOperation operation>
__device__ inline void binaryRows(const BinaryArguments& arguments)
{
    int32 channel = firstChannel();
    if (channel >= arguments.pitch)
    {
        return;
    }

    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        float4 x = loadOperand(arguments.left, arguments.extents, row, channel, arguments.channels);
        float4 y = loadOperand(arguments.right, arguments.extents, row, channel, arguments.channels);
        float4 z = make_float4(evaluate<operation>(x.x, y.x), evaluate<operation>(x.y, y.y), evaluate<operation>(x.z, y.z), evaluate<operation>(x.w, y.w));
        storeFour(arguments.output + static_cast<int64>(row) * arguments.pitch + channel, withoutPadding(z, channel, arguments.channels));
    }
}

extern "C" __global__ void __launch_bounds__(256) binary(const __grid_constant__ BinaryArguments arguments)
{
    switch (static_cast<BinaryOperation>(arguments.operation))
    {
#define CASE(name) case BinaryOperation::name: binaryRows<BinaryOperation::name>(arguments); break;
        CASE(add) CASE(subtract) CASE(multiply) CASE(divide) CASE(maximum) CASE(minimum) CASE(greaterOrEqual) CASE(less) CASE(equal)
#undef CASE
    }
}

template <class Stored>
__device__ inline void accumulateRows(const AccumulateArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    Column<Stored> input(arguments.input, channel, arguments.pitch);
    Column<Stored> output(arguments.output, channel, arguments.pitch);
    Channels<owned> scale = fillChannels<owned>(arguments.scale);
    int32 step = rowStep();
    for (int32 row = firstRow(); row < arguments.rows; row += rowsAtOnce * step)
    {
        uint4 x[rowsAtOnce];
        uint4 old[rowsAtOnce];
        forEachRow<rowsAtOnce>(arguments.rows - row, step, [&](int i, int32 down) {
            x[i] = input.load(row + down);
            old[i] = output.load(row + down);
        });
        forEachRow<rowsAtOnce>(arguments.rows - row, step, [&](int i, int32 down) {
            output.store(row + down, packPiece(fmaChannels(unpackPiece<Stored>(x[i]), scale, unpackPiece<Stored>(old[i]))));
        });
    }
}

extern "C" __global__ void __launch_bounds__(256) accumulate(const __grid_constant__ AccumulateArguments arguments)
{
    accumulateRows<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) accumulateBf16(const __grid_constant__ AccumulateArguments arguments)
{
    accumulateRows<BFloat16>(arguments);
}

template <class Stored>
__device__ inline void fillRows(const FillArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    Channels<owned> values = withoutPadding(fillChannels<owned>(arguments.value), channel, arguments.channels);
    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        storeChannels(static_cast<Stored*>(arguments.output) + static_cast<int64>(row) * arguments.pitch + channel, values);
    }
}

extern "C" __global__ void __launch_bounds__(256) fill(const __grid_constant__ FillArguments arguments)
{
    fillRows<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) fillBf16(const __grid_constant__ FillArguments arguments)
{
    fillRows<BFloat16>(arguments);
}

template <class Stored>
__device__ inline void mappedAddRows(const MappedAddArguments& arguments)
{
    constexpr int owned = ownedChannels<Stored>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    bool mapped = arguments.map != nullptr;
    bool adds = arguments.base != nullptr;
    ChannelMap<Stored> map(arguments.map, channel, arguments.channels);
    Column<Stored> source(arguments.source, mapped ? 0 : channel, arguments.sourcePitch);
    Column<Stored> base(arguments.base, channel, arguments.pitch);
    Column<Stored> output(arguments.output, channel, arguments.pitch);
    int32 step = rowStep();
    for (int32 row = firstRow(); row < arguments.rows; row += rowsAtOnce * step)
    {
        uint4 values[rowsAtOnce];
        uint4 old[rowsAtOnce];
        forEachRow<rowsAtOnce>(arguments.rows - row, step, [&](int i, int32 down) {
            values[i] = mapped ? map.gather(source.at(row + down)) : source.load(row + down);
            if (adds)
            {
                old[i] = base.load(row + down);
            }
        });
        forEachRow<rowsAtOnce>(arguments.rows - row, step, [&](int i, int32 down) {
            output.store(row + down, adds ? packPiece(unpackPiece<Stored>(old[i]) + unpackPiece<Stored>(values[i])) : values[i]);
        });
    }
}

extern "C" __global__ void __launch_bounds__(256) mappedAdd(const __grid_constant__ MappedAddArguments arguments)
{
    mappedAddRows<float>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) mappedAddBf16(const __grid_constant__ MappedAddArguments arguments)
{
    mappedAddRows<BFloat16>(arguments);
}

extern "C" __global__ void __launch_bounds__(256) widen(const __grid_constant__ ConvertArguments arguments)
{
    constexpr int owned = ownedChannels<BFloat16>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        int64 at = static_cast<int64>(row) * arguments.pitch + channel;
        Channels<owned> values = loadChannels(static_cast<const BFloat16*>(arguments.input) + at);
        float* target = static_cast<float*>(arguments.output) + at;
        storeFloats(target, arguments.accumulate != 0 ? loadFloats<owned>(target) + values : values);
    }
}

extern "C" __global__ void __launch_bounds__(256) narrow(const __grid_constant__ ConvertArguments arguments)
{
    constexpr int owned = ownedChannels<BFloat16>;
    int32 channel = firstChannel<owned>();
    if (channel >= arguments.pitch)
    {
        return;
    }

    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        int64 at = static_cast<int64>(row) * arguments.pitch + channel;
        Channels<owned> values = loadFloats<owned>(static_cast<const float*>(arguments.input) + at);
        BFloat16* target = static_cast<BFloat16*>(arguments.output) + at;
        storeChannels(target, arguments.accumulate != 0 ? loadChannels(target) + values : values);
    }
}
