// Copies from global to shared memory that go on in the background (cp.async, compute capability 8.0 and later).
#pragma once
#include "common.cuh"

// Copies 16 bytes to shared memory in the background. Only the first validBytes are read; the others become zero. Where nothing is read, the address may be any.
__device__ inline void copyPartAsync16(uint32 sharedAddress, const void* global, int32 validBytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sharedAddress), "l"(global), "r"(validBytes) : "memory");
}

__device__ inline void copyPartAsync16(void* shared, const void* global, int32 validBytes)
{
    copyPartAsync16(sharedAddressOf(shared), global, validBytes);
}

// Copies all of the 16 bytes, or writes zeros where they are not valid.
__device__ inline void copyAsync16(uint32 sharedAddress, const void* global, bool valid)
{
    copyPartAsync16(sharedAddress, global, valid ? 16 : 0);
}

__device__ inline void copyAsync16(void* shared, const void* global, bool valid)
{
    copyPartAsync16(shared, global, valid ? 16 : 0);
}

// Copies all of the 16 bytes, or writes zeros where a bit of `ignored` is set. The test is part of the instruction that makes `ignored`.
__device__ inline void copyAsync16Unless(uint32 ignored, uint32 sharedAddress, const void* global)
{
    asm volatile("{\n\t"
                 ".reg .pred ignores;\n\t"
                 "setp.ne.b32 ignores, %0, 0;\n\t"
                 "cp.async.cg.shared.global [%1], [%2], 16, ignores;\n\t"
                 "}" ::"r"(ignored), "r"(sharedAddress), "l"(global)
                 : "memory");
}

__device__ inline void copyAsync16(uint32 sharedAddress, const void* global)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(sharedAddress), "l"(global) : "memory");
}

// Copies one float, or writes zero where it is not valid.
__device__ inline void copyAsync4(uint32 sharedAddress, const void* global, bool valid)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(sharedAddress), "l"(global), "r"(valid ? 4 : 0) : "memory");
}

__device__ inline void copyAsync4(void* shared, const void* global, bool valid)
{
    copyAsync4(sharedAddressOf(shared), global, valid);
}

// Ends the group of copies that belong to one step.
__device__ inline void commitCopies()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until this thread's copies of all but the newest pending groups have arrived.
template <int pending>
__device__ inline void waitCopies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}
