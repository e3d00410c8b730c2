using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Emulator.Execution;
using Saturn.Emulator.Memory;
using Saturn.Kernels.Cuda;

namespace Saturn.Tests.Emulator;

/// <summary>Planted faults around barrier objects, bulk copies and products of warpgroups: the checked mode finds every one and names its line; the mended kernel passes.</summary>
public sealed unsafe class AsynchronousFaultTests : EmulatedKernelTest
{
    // A tile of 64 rows of 128 bytes is copied and multiplied with itself; each fault is a text put in the place of a right one.
    private const string Right =
        """
        #include "bulk_copy.cuh"
        #include "warpgroup.cuh"
        struct A { TensorMap map; float* output; };
        __device__ inline void test(uint32 barrier)
        {
            asm volatile("{\n.reg .pred done;\nmbarrier.test_wait.parity.shared::cta.b64 done, [%0], 0;\n}" : : "r"(barrier) : "memory");
        }
        extern "C" __global__ void multiply(const __grid_constant__ A a)
        {
            __shared__ alignas(1024) unsigned char tile[8192];
            __shared__ uint64 storage[2];
            uint32 barrier = sharedAddressOf(storage);
            uint32 place = sharedAddressOf(tile);
            if (threadIdx.x == 0)
            {
                startBarrier(barrier, 1);
                startBarrier(barrier + 8, 1);
                publishBarriers();
                arriveExpecting(barrier, 8192);
                copyBox(place, a.map, 0, 0, 0, barrier);
            }
            __syncthreads();
            waitFor(barrier, 0);
            float sums[32];
            for (int i = 0; i < 32; i++) sums[i] = 0;
            fenceSums();
            multiplyWarpgroup<false>(sums, MatrixOperand(place, 16, 1024).at(0), MatrixOperand(place, 16, 1024).at(0));
            commitProducts();
            waitProducts<0>();
            for (int i = 0; i < 32; i++) a.output[threadIdx.x * 32 + i] = sums[i];
        }
        """;

    [Test]
    public void The_right_kernel_passes()
    {
        float[] sums = Read<float>(Multiply(Right, out string? failure), 32);
        Assert.That((failure, sums[0]), Is.EqualTo(((string?)null, 16f)), "ones with ones");
    }

    [TestCase("waitFor(barrier, 0);", "", "a bulk copy is under way that was not waited for")]
    [TestCase("waitFor(barrier, 0);", "if (threadIdx.x >= 32) waitFor(barrier, 0);\n    else for (int i = 0; i < 4; i++) test(barrier + 8);", "a bulk copy wrote whose barrier this warp has not waited for")]
    [TestCase("waitFor(barrier, 0);", "if (threadIdx.x < 32) waitFor(barrier, 0);\n    __syncthreads();", null)]
    [TestCase("copyBox(place, a.map, 0, 0, 0, barrier);", "", "waits for ever in warp 0 for the barrier at offset 8192 of shared memory, in phase 0, for which 0 of 1 threads and 8192 bytes of copies are missing; warp 1 waits at")]
    [TestCase("arriveExpecting(barrier, 8192);", "arriveExpecting(barrier, 8208);", "waits for ever")]
    [TestCase("waitFor(barrier, 0);", "waitFor(barrier, 0);\n    if (threadIdx.x < 128) waitFor(barrier, 1);", "waits for ever")]
    [TestCase("startBarrier(barrier, 1);", "", "where none was started")]
    [TestCase("commitProducts();\n    waitProducts<0>();", "commitProducts();", "was not waited for before the block's end")]
    [TestCase("commitProducts();\n    waitProducts<0>();", "waitProducts<0>();", "was not waited for before the block's end")]
    [TestCase("    waitProducts<0>();", "    if (threadIdx.x == 0) { arriveExpecting(barrier, 8192); copyBox(place, a.map, 0, 0, 0, barrier); }\n    waitProducts<0>();", "a bulk copy is under way")]
    [TestCase("commitProducts();", "if (threadIdx.x < 64) tile[threadIdx.x] = 0;\n    commitProducts();", "without a fence.proxy.async")]
    [TestCase("MatrixOperand(place, 16, 1024).at(0));", "MatrixOperand(place, 16, 2048).at(0));", "out of bounds|never written")]
    [TestCase("copyBox(place, a.map", "copyBox(place + 64, a.map", "misaligned")]
    [TestCase("copyBox(place, a.map", "copyBox(place + 4096, a.map", "out of bounds")]
    [TestCase("copyBox(place, a.map, 0, 0, 0, barrier);", "arriveExpecting(barrier, 8192); copyBox(place, a.map, 0, 0, 0, barrier);", "arrives with 1 threads|waits for ever")]
    [TestCase("multiplyWarpgroup<false>(sums, Matrix", "if (threadIdx.x < 32) multiplyWarpgroup<false>(sums, Matrix", "executed different products")]
    public void A_fault_is_found(string right, string wrong, string? message)
    {
        string text = Right.Replace(right, wrong);
        Assert.That(text, Is.Not.EqualTo(Right));
        Multiply(text, out string? failure);
        if (message is null)
        {
            Assert.That(failure, Is.Null);
        }
        else
        {
            Assert.That(message.Split('|').Any(part => failure?.Contains(part, StringComparison.Ordinal) ?? false), $"'{message}' in: {failure}");
            Assert.That(failure, Does.Contain("Kernel multiply"));
        }
    }

    [Test]
    public void Sums_that_are_read_before_they_were_waited_for_are_no_numbers()
    {
        string text = Right.Replace("    waitProducts<0>();", "").Replace("] = sums[i];", "] = sums[i];\n    waitProducts<0>();");
        nint output = Multiply(text, out _);
        Assert.That(Read<float>(output, 128 * 32), Is.All.NaN);
    }

    // Runs the kernel on a tensor of ones.
    private nint Multiply(string text, out string? failure)
    {
        using LoadedModule module = Compile(text, "compute_90a");
        ushort[] ones = new ushort[64 * 64];
        Array.Fill(ones, (ushort)0x3F80);
        TensorMap map = TensorMapRecord.Encode(
            EmulatedDevice.Hopper, new TensorMapSource(TensorMapElement.BFloat16, Upload<ushort>(ones), [64, 64, 1], [128, 8192], [1, 1, 1], TensorMapSwizzle.Bytes128), [64, 64, 1]);
        nint output = Fresh(128 * 32 * sizeof(float));
        long[] arguments = new long[24];
        MemoryMarshal.Write(MemoryMarshal.AsBytes(arguments.AsSpan()), map);
        arguments[16] = output;
        failure = null;
        try
        {
            Run(module, "multiply", LaunchGeometry.Linear(1, 128), arguments);
        }
        catch (EmulatorException exception)
        {
            failure = exception.Message;
        }

        return output;
    }
}
