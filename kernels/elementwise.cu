// Elementwise arithmetic on [rows, channels] with a pitch; padding of every output is written as zero, whatever the function of zero is.
//
//   unary:  output = f(input; a, b)                    binary: output = f(left, right), both broadcast to the output
//   accumulate: output += scale·input                  fill: output = value
//   mappedAdd: output[row, c] = base[row, c] + source[row, map[c]], nothing where the map is negative, no base where there is none
//
// Launch: rows.cuh. Moved: 4 bytes an element and array read or written: limited by memory.
#include "rows.cuh"

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
    const float* input;
    float* output;
    int32 rows;
    int32 pitch;
    float scale;
};

struct FillArguments
{
    float* output;
    int32 rows;
    int32 channels;
    int32 pitch;
    float value;
};

struct MappedAddArguments
{
    const float* base; // null for none
    const float* source;
    const int32* map; // one entry an output channel; null for the identity
    float* output;
    int32 rows;
    int32 channels;
    int32 pitch;
    int32 sourcePitch;
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

extern "C" __global__ void __launch_bounds__(256) accumulate(const __grid_constant__ AccumulateArguments arguments)
{
    int32 channel = firstChannel();
    if (channel >= arguments.pitch)
    {
        return;
    }

    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        int64 at = static_cast<int64>(row) * arguments.pitch + channel;
        storeFour(arguments.output + at, fmaFour(loadFour(arguments.input + at), fillFour(arguments.scale), loadFour(arguments.output + at)));
    }
}

extern "C" __global__ void __launch_bounds__(256) fill(const __grid_constant__ FillArguments arguments)
{
    int32 channel = firstChannel();
    if (channel >= arguments.pitch)
    {
        return;
    }

    float4 value = withoutPadding(fillFour(arguments.value), channel, arguments.channels);
    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        storeFour(arguments.output + static_cast<int64>(row) * arguments.pitch + channel, value);
    }
}

extern "C" __global__ void __launch_bounds__(256) mappedAdd(const __grid_constant__ MappedAddArguments arguments)
{
    int32 channel = firstChannel();
    if (channel >= arguments.pitch)
    {
        return;
    }

    bool mapped = arguments.map != nullptr;
    int4 map = mapped ? loadMap(arguments.map, channel, arguments.channels) : make_int4(0, 0, 0, 0);
    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        int64 at = static_cast<int64>(row) * arguments.pitch + channel;
        const float* source = arguments.source + static_cast<int64>(row) * arguments.sourcePitch;
        float4 value = mapped ? gatherFour(source, map) : loadFour(source + channel);
        storeFour(arguments.output + at, arguments.base != nullptr ? loadFour(arguments.base + at) + value : value);
    }
}
