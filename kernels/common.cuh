// Ground of all kernels: index arithmetic and reductions in a fixed order. No header outside this folder is needed.
//
// Layout of every tensor: row-major, the last dimension ("channels") stored with a pitch rounded up to 8 elements whose padding is exactly zero, so that
// 16-byte loads are always legal. Kernels keep the padding zero.
#pragma once

using int32 = int;
using uint32 = unsigned int;
using int64 = long long;
using uint64 = unsigned long long;

enum
{
    lanes = 32, // of a warp
};

template <class T>
__host__ __device__ constexpr T divideUp(T value, T divisor)
{
    return (value + divisor - 1) / divisor;
}

// This thread's number in the grid, and the number of threads, for grid-stride loops.
__device__ inline int64 globalThread()
{
    return static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ inline int64 globalThreads()
{
    return static_cast<int64>(gridDim.x) * blockDim.x;
}

__device__ inline uint32 sharedAddressOf(const void* shared)
{
    return static_cast<uint32>(__cvta_generic_to_shared(shared));
}

// Reads of shared memory by such an address.
__device__ inline uint32 loadWord(uint32 sharedAddress)
{
    uint32 word;
    asm volatile("ld.shared.b32 %0, [%1];" : "=r"(word) : "r"(sharedAddress) : "memory");
    return word;
}

__device__ inline int2 loadTwoWords(uint32 sharedAddress)
{
    int2 words;
    asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];" : "=r"(words.x), "=r"(words.y) : "r"(sharedAddress) : "memory");
    return words;
}

__device__ inline uint4 loadFourWords(uint32 sharedAddress)
{
    uint4 words;
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];" : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w) : "r"(sharedAddress) : "memory");
    return words;
}

// The value, for loops: what comes from a shuffle stays in its register, while what was computed from the thread's number is often computed again at every use.
__device__ inline uint32 inRegister(uint32 value)
{
    return __shfl_sync(0xFFFFFFFFu, value, threadIdx.x % lanes);
}

// count·bytes behind an address, one instruction: left to itself the compiler widens a factor out of the loop, and multiplies numbers of 64 bits in four.
template <class T>
__device__ inline const T* advance(const T* address, int32 count, int32 bytes)
{
    int64 offset;
    asm("mul.wide.s32 %0, %1, %2;" : "=l"(offset) : "r"(count), "r"(bytes));
    return reinterpret_cast<const T*>(reinterpret_cast<const char*>(address) + offset);
}

// Reductions by butterfly: every lane ends with the same bits, whatever the order of execution.
struct Sum
{
    template <class T>
    __device__ T operator()(T a, T b) const { return a + b; }
};

struct Maximum
{
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

struct Minimum
{
    __device__ float operator()(float a, float b) const { return fminf(a, b); }
};

template <class T, class Operation>
__device__ inline T reduceWarp(T value, Operation operation)
{
    for (int distance = lanes / 2; distance > 0; distance /= 2)
    {
        value = operation(value, __shfl_xor_sync(0xFFFFFFFFu, value, distance));
    }

    return value;
}

// Reduction over a block of up to 1024 threads (a multiple of 32); every thread gets the result. The scratch array holds 32 elements and may be reused at once.
template <class T, class Operation>
__device__ inline T reduceBlock(T value, Operation operation, T identity, T* scratch)
{
    int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    int warps = (blockDim.x * blockDim.y * blockDim.z) / lanes;
    value = reduceWarp(value, operation);
    if (thread % lanes == 0)
    {
        scratch[thread / lanes] = value;
    }

    __syncthreads();
    value = thread % lanes < warps ? scratch[thread % lanes] : identity;
    value = reduceWarp(value, operation);
    __syncthreads();
    return value;
}
