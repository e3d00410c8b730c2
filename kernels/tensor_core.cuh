// Instructions of the tensor cores (compute capability 8.0 and later): C[16, 8] += A[16, depth]·B[depth, 8] by one warp, float32 sums.
//
// Who holds what, with group = lane / 4 and place = lane % 4:
//   sums[0], sums[1]   C[group][2·place], C[group][2·place + 1];   sums[2], sums[3]   the same of row group + 8
//   bf16, depth 16     a[0], a[1]   A[group, group + 8][2·place, 2·place + 1];   a[2], a[3]   the same at depth + 8
//                      b[0], b[1]   B[2·place, 2·place + 1][group], and at depth + 8
//   tf32, depth 8      a[0], a[1]   A[group, group + 8][place];   a[2], a[3]   the same at depth + 4
//                      b[0], b[1]   B[place][group], and at depth + 4
// bf16 pairs are packed with the lower depth in the lower half of a word.
#pragma once
#include "common.cuh"

__device__ inline void multiplyBf16(float (&sums)[4], const uint32 (&a)[4], const uint32 (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline void multiplyTf32(float (&sums)[4], const uint32 (&a)[4], const uint32 (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8 × 8 matrices of 16-bit elements (8 × 4 of 32-bit ones) from shared memory: lanes 8·i to 8·i + 7 hold the addresses of matrix i's rows of 16 bytes.
// Lane L gets the pair 2·(L % 4), 2·(L % 4) + 1 (of 32-bit elements, element L % 4) of row L / 4 of each.
__device__ inline void loadMatrices(uint32 (&matrices)[4], uint32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
                 : "r"(address)
                 : "memory");
}

__device__ inline void loadMatrices(uint32 (&matrices)[4], const void* sharedRow)
{
    loadMatrices(matrices, sharedAddressOf(sharedRow));
}

// The same, each matrix transposed; for 16-bit elements.
__device__ inline void loadMatricesTransposed(uint32 (&matrices)[4], uint32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
                 : "r"(address)
                 : "memory");
}

__device__ inline void loadMatricesTransposed(uint32 (&matrices)[4], const void* sharedRow)
{
    loadMatricesTransposed(matrices, sharedAddressOf(sharedRow));
}

// Rounds to nearest, ties away from zero, as an operand of multiplyTf32, which reads the upper 19 bits: half a unit is added to the bits. One instruction where cvt.rna.tf32 becomes three.
// The maximum keeps the NaN that arithmetic makes, 0x7FFFFFFF, which would wrap around. Infinities stay what they are, and NaN too unless it is in the lowest bits alone, which the instruction does not read.
__device__ inline uint32 roundToTf32(float value)
{
    uint32 bits = __float_as_uint(value);
    return max(static_cast<int32>(bits + 0x1000u), static_cast<int32>(bits));
}

// Rounds two values to bf16, to nearest even; `low` goes into the lower half.
__device__ inline uint32 packBf16(float low, float high)
{
    uint32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

__device__ inline float lowerBf16(uint32 pair) { return __uint_as_float(pair << 16); }
__device__ inline float upperBf16(uint32 pair) { return __uint_as_float(pair & 0xFFFF0000u); }

// Of pairs of bf16 values; a number wins over what is none, as in fmaxf and fminf.
__device__ inline uint32 maximumBf16(uint32 a, uint32 b)
{
    uint32 pair;
    asm("max.bf16x2 %0, %1, %2;" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
}

__device__ inline uint32 minimumBf16(uint32 a, uint32 b)
{
    uint32 pair;
    asm("min.bf16x2 %0, %1, %2;" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
}
