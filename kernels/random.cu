// Random numbers and dropout on [rows, channels] with a pitch.
//
//   uniform: min(low + (high − low)·u, largest below high);  normal: mean + standardDeviation·n;  dropout: u ≥ probability ? input/(1 − probability) : 0
//   Element (row, c) is lane c mod 4 of Philox counter (c div 4, row, 0, stream). Padding is written as zero.
//
// Launch: rows.cuh; a thread's four channels are one block of Philox. Moved: 4 bytes an element written (dropout reads 4 more, 8 when it accumulates). About 100 integer
// operations a block of four elements: limited by arithmetic on small caches, by memory on large arrays.
#include "philox.cuh"
#include "rows.cuh"

struct RandomArguments
{
    const float* input; // dropout only
    float* output;
    const uint2* key; // or null: key0, key1
    int32 rows;
    int32 channels;
    int32 pitch;
    uint32 stream;
    uint32 key0;
    uint32 key1;
    float scale;   // high − low, standard deviation, or 1/(1 − probability)
    float offset;  // low, mean, or probability
    float largest; // of uniforms
    int32 accumulate;
};

template <class Function>
__device__ inline void forEachBlock(const RandomArguments& arguments, Function function)
{
    int32 channel = firstChannel();
    if (channel >= arguments.pitch)
    {
        return;
    }

    uint2 key = arguments.key == nullptr ? make_uint2(arguments.key0, arguments.key1) : *arguments.key;
    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        int64 at = static_cast<int64>(row) * arguments.pitch + channel;
        uint4 words = philoxBlock(channel / 4, row, 0, arguments.stream, key.x, key.y);
        float4 value = withoutPadding(function(words, at), channel, arguments.channels);
        storeFour(arguments.output + at, arguments.accumulate != 0 ? value + loadFour(arguments.output + at) : value);
    }
}

extern "C" __global__ void __launch_bounds__(256) uniform(const __grid_constant__ RandomArguments arguments)
{
    forEachBlock(arguments, [&](uint4 words, int64) {
        auto one = [&](uint32 word) { return fminf(__fmaf_rn(philoxUniform(word), arguments.scale, arguments.offset), arguments.largest); };
        return make_float4(one(words.x), one(words.y), one(words.z), one(words.w));
    });
}

extern "C" __global__ void __launch_bounds__(256) normal(const __grid_constant__ RandomArguments arguments)
{
    forEachBlock(arguments, [&](uint4 words, int64) {
        float2 lower = philoxNormalPair(words.x, words.y);
        float2 upper = philoxNormalPair(words.z, words.w);
        auto one = [&](float number) { return __fmaf_rn(number, arguments.scale, arguments.offset); };
        return make_float4(one(lower.x), one(lower.y), one(upper.x), one(upper.y));
    });
}

extern "C" __global__ void __launch_bounds__(256) dropout(const __grid_constant__ RandomArguments arguments)
{
    forEachBlock(arguments, [&](uint4 words, int64 at) {
        float4 x = loadFour(arguments.input + at);
        auto one = [&](uint32 word, float value) { return philoxUniform(word) >= arguments.offset ? __fmul_rn(value, arguments.scale) : 0.0f; };
        return make_float4(one(words.x, x.x), one(words.y, x.y), one(words.z, x.z), one(words.w, x.w));
    });
}
