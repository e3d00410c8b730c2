// Copies of whole tiles from global to shared memory by the tensor memory accelerator, and the barriers in shared memory that count their bytes (sm_90).
//
// A barrier has a phase; it ends when all expected threads have arrived and all expected bytes have been copied. Who waits names the parity of the phase that must have ended: 0 for the first.
#pragma once
#include "common.cuh"

using uint16 = unsigned short;

// What cuTensorMapEncodeTiled or cuTensorMapEncodeIm2col made of a tensor in global memory.
struct alignas(64) TensorMap
{
    uint64 words[16];
};

__device__ inline void startBarrier(uint32 barrier, uint32 arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Makes started barriers known to the copies; once, before the block's first synchronisation.
__device__ inline void publishBarriers()
{
    asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async.shared::cta;" ::: "memory");
}

__device__ inline void arrive(uint32 barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Arrives, and makes the phase wait for so many bytes of copies.
__device__ inline void arriveExpecting(uint32 barrier, uint32 bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ inline void waitFor(uint32 barrier, uint32 parity)
{
    uint32 done;
    do
    {
        asm volatile("{\n.reg .pred done;\nmbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\nselp.u32 %0, 1, 0, done;\n}" : "=r"(done) : "r"(barrier), "r"(parity) : "memory");
    } while (done == 0);
}

// True in one lane of a warp that is here as a whole. Unlike after a comparison of lanes, the compiler then knows that copies are issued once.
__device__ inline bool elect()
{
    uint32 elected;
    asm volatile("{\n.reg .pred elected;\nelect.sync _|elected, 0xFFFFFFFF;\nselp.u32 %0, 1, 0, elected;\n}" : "=r"(elected)::"memory");
    return elected != 0;
}

__device__ inline void prefetchMap(const TensorMap& map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// A box of a tensor of three or four dimensions; coordinates from the innermost dimension outwards. What lies outside of the tensor becomes zero.
__device__ inline void copyBox(uint32 shared, const TensorMap& map, int32 x, int32 y, int32 z, uint32 barrier)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];"
                 :
                 : "r"(shared), "l"(&map), "r"(x), "r"(y), "r"(z), "r"(barrier)
                 : "memory");
}

__device__ inline void copyBox(uint32 shared, const TensorMap& map, int32 x, int32 y, int32 z, int32 w, uint32 barrier)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6];"
                 :
                 : "r"(shared), "l"(&map), "r"(x), "r"(y), "r"(z), "r"(w), "r"(barrier)
                 : "memory");
}

// Pixels of a batch of images in the order that a filter visits them, from the one whose window begins at (image, row, column), each read at the filter's tap (tapRow, tapColumn).
__device__ inline void copyPixels(uint32 shared, const TensorMap& map, int32 channel, int32 column, int32 row, int32 image, uint16 tapColumn, uint16 tapRow, uint32 barrier)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6], {%7, %8};"
                 :
                 : "r"(shared), "l"(&map), "r"(channel), "r"(column), "r"(row), "r"(image), "r"(barrier), "h"(tapColumn), "h"(tapRow)
                 : "memory");
}
