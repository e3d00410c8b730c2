// Counter-based random numbers: Philox4x32-10 (Salmon et al., 2011), ten rounds of multiplications that turn a 128-bit counter and a 64-bit key into four words.
//
// The host (Saturn.Kernels/Philox.cs) computes the same bits. Everything is integer arithmetic and correctly rounded operations, and every rounding is spelled out: a
// plain product and sum may be fused by the compiler, which the host does not do. The key of a step is derived on the host.
//
// An element's number is lane index mod 4 of the block with counter (index div 4, c1, c2, c3).
#pragma once
#include "common.cuh"

__device__ inline uint4 philoxBlock(uint32 c0, uint32 c1, uint32 c2, uint32 c3, uint32 key0, uint32 key1)
{
#pragma unroll
    for (int round = 0; round < 10; round++)
    {
        uint32 high0 = __umulhi(0xD2511F53u, c0);
        uint32 low0 = 0xD2511F53u * c0;
        uint32 high1 = __umulhi(0xCD9E8D57u, c2);
        uint32 low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ key0;
        c1 = low1;
        c2 = high0 ^ c3 ^ key1;
        c3 = low0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }

    return uint4{c0, c1, c2, c3};
}

// One word of a block.
__device__ inline uint32 philoxWord(uint4 words, uint32 lane)
{
    return lane & 2 ? (lane & 1 ? words.w : words.z) : (lane & 1 ? words.y : words.x);
}

// A word as a uniform number in [0, 1): its upper 24 bits, times 2⁻²⁴.
__device__ inline float philoxUniform(uint32 word)
{
    return __fmul_rn(static_cast<float>(static_cast<int32>(word >> 8)), 1.0f / 16777216);
}

// ln u for u in (0, 1]: u = m·2ᵉ with m in [√½, √2), ln m = 2·artanh(s) with s = (m − 1)/(m + 1), by its series up to s⁹.
__device__ inline float philoxLogarithm(float u)
{
    int32 bits = __float_as_int(u);
    int32 exponent = (bits - 0x3F3504F3) >> 23;
    float m = __int_as_float(bits - (exponent << 23));
    float s = __fdiv_rn(__fsub_rn(m, 1), __fadd_rn(m, 1));
    float z = __fmul_rn(s, s);
    float series = fmaf(z, 2.0f / 9, 2.0f / 7);
    series = fmaf(series, z, 2.0f / 5);
    series = fmaf(series, z, 2.0f / 3);
    float logarithm = fmaf(__fmul_rn(series, z), s, __fadd_rn(s, s));
    return fmaf(static_cast<float>(exponent), 0.69314718f, logarithm);
}

// cosine and sine of 2π·turn/2²⁴: reduced to an eighth of a turn around the nearest quarter, then the Taylor series of both.
__device__ inline float2 philoxCosineAndSine(uint32 turn)
{
    uint32 quadrant = (turn + (1u << 21)) >> 22;
    int32 rest = static_cast<int32>(turn) - static_cast<int32>(quadrant << 22);
    float x = __fmul_rn(static_cast<float>(rest), 3.7450704e-7f);
    float z = __fmul_rn(x, x);
    float sine = fmaf(z, 2.7557319e-6f, -1.9841270e-4f);
    sine = fmaf(sine, z, 8.3333333e-3f);
    sine = fmaf(sine, z, -1.6666667e-1f);
    sine = fmaf(__fmul_rn(sine, z), x, x);
    float cosine = fmaf(z, 2.4801587e-5f, -1.3888889e-3f);
    cosine = fmaf(cosine, z, 4.1666667e-2f);
    cosine = fmaf(cosine, z, -0.5f);
    cosine = fmaf(cosine, z, 1);

    // Cosine in quadrants 0 to 3: cos x, −sin x, −cos x, sin x. The sine is the cosine a quarter turn earlier.
    bool odd = (quadrant & 1) != 0;
    int32 first = __float_as_int(odd ? sine : cosine);
    int32 second = __float_as_int(odd ? cosine : sine);
    return {__int_as_float(first ^ static_cast<int32>((quadrant + 1 & 2) << 30)), __int_as_float(second ^ static_cast<int32>((quadrant & 2) << 30))};
}

// Two standard normal numbers by Box and Muller (1958): √(−2 ln u)·(cos 2πv, sin 2πv). Words 0 and 1 of a block give those of lanes 0 and 1, words 2 and 3 the others.
__device__ inline float2 philoxNormalPair(uint32 radiusWord, uint32 angleWord)
{
    float u = __fmul_rn(static_cast<float>(static_cast<int32>((radiusWord >> 8) + 1)), 1.0f / 16777216);
    float radius = __fsqrt_rn(__fmul_rn(philoxLogarithm(u), -2));
    float2 direction = philoxCosineAndSine(angleWord >> 8);
    return {__fmul_rn(radius, direction.x), __fmul_rn(radius, direction.y)};
}
