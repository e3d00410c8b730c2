// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011): a bijection of 128-bit counters under a 64-bit key, which the host
// derives from seed and step. Integers, uniforms and normals are equal bit for bit to those of the host: only integer arithmetic and correctly rounded operations, each written
// out so that the compiler contracts nothing else.
#pragma once
#include "common.cuh"

// The four words of a counter.
__device__ inline uint4 philoxBlock(uint32 counter0, uint32 counter1, uint32 counter2, uint32 counter3, uint32 key0, uint32 key1)
{
#pragma unroll
    for (int round = 0; round < 10; round++)
    {
        uint32 high0 = __umulhi(0xD2511F53u, counter0);
        uint32 low0 = 0xD2511F53u * counter0;
        uint32 high1 = __umulhi(0xCD9E8D57u, counter2);
        uint32 low1 = 0xCD9E8D57u * counter2;
        counter0 = high1 ^ counter1 ^ key0;
        counter1 = low1;
        counter2 = high0 ^ counter3 ^ key1;
        counter3 = low0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }

    return make_uint4(counter0, counter1, counter2, counter3);
}

// A word as a uniform number in [0, 1): its upper 24 bits, times 2⁻²⁴.
__device__ inline float philoxUniform(uint32 word)
{
    return __fmul_rn(static_cast<float>(static_cast<int32>(word >> 8)), 1.0f / 16777216);
}

// ln u for u in (0, 1]: u = m·2ᵉ with m in [√½, √2), ln m = 2·artanh(s) with s = (m − 1)/(m + 1), by its series up to s⁹.
__device__ inline float naturalLogarithm(float u)
{
    int32 bits = __float_as_int(u);
    int32 exponent = (bits - 0x3F3504F3) >> 23;
    float m = __int_as_float(bits - (exponent << 23));
    float s = __fdiv_rn(__fadd_rn(m, -1.0f), __fadd_rn(m, 1.0f));
    float z = __fmul_rn(s, s);
    float series = __fmaf_rn(z, 2.0f / 9, 2.0f / 7);
    series = __fmaf_rn(series, z, 2.0f / 5);
    series = __fmaf_rn(series, z, 2.0f / 3);
    float logarithm = __fmaf_rn(__fmul_rn(series, z), s, __fadd_rn(s, s));
    return __fmaf_rn(static_cast<float>(exponent), 0.69314718f, logarithm);
}

// cos(2π·turn/2²⁴): reduced to an eighth of a turn around the nearest quarter, then the Taylor series of cosine or sine.
__device__ inline float cosineOfTurn(uint32 turn)
{
    uint32 quadrant = (turn + (1u << 21)) >> 22;
    int32 rest = static_cast<int32>(turn) - static_cast<int32>(quadrant << 22);
    float x = __fmul_rn(static_cast<float>(rest), 3.7450704e-7f);
    float z = __fmul_rn(x, x);
    float sine = __fmaf_rn(z, 2.7557319e-6f, -1.9841270e-4f);
    sine = __fmaf_rn(sine, z, 8.3333333e-3f);
    sine = __fmaf_rn(sine, z, -1.6666667e-1f);
    sine = __fmaf_rn(__fmul_rn(sine, z), x, x);
    float cosine = __fmaf_rn(z, 2.4801587e-5f, -1.3888889e-3f);
    cosine = __fmaf_rn(cosine, z, 4.1666667e-2f);
    cosine = __fmaf_rn(cosine, z, -0.5f);
    cosine = __fmaf_rn(cosine, z, 1.0f);

    // Quadrants 0 to 3: cos x, −sin x, −cos x, sin x.
    float value = (quadrant & 1) != 0 ? sine : cosine;
    uint32 negative = ((quadrant + 1) & 2u) << 30;
    return __uint_as_float(__float_as_uint(value) ^ negative);
}

// The standard normal of lane 0 to 3 of a block by Box and Muller (1958): words 0 and 1 give √(−2 ln u)·(cos 2πv, sin 2πv), words 2 and 3 likewise. u lies in (0, 1] in steps of 2⁻²⁴.
__device__ inline float philoxNormal(uint4 words, uint32 lane)
{
    uint32 radiusWord = (lane & 2) != 0 ? words.z : words.x;
    uint32 angleWord = (lane & 2) != 0 ? words.w : words.y;
    float u = __fmul_rn(static_cast<float>(static_cast<int32>((radiusWord >> 8) + 1)), 1.0f / 16777216);
    float radius = __fsqrt_rn(__fmul_rn(naturalLogarithm(u), -2.0f));

    // The sine of an angle is the cosine a quarter turn earlier: odd lanes subtract 2²² from a 24-bit fraction of a turn.
    uint32 turn = ((angleWord >> 8) - ((lane & 1) << 22)) & 0xFFFFFFu;
    return __fmul_rn(radius, cosineOfTurn(turn));
}
