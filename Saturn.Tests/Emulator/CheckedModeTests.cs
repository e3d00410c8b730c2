using NUnit.Framework;
using Saturn.Emulator.Execution;
using Saturn.Kernels.Cuda;

namespace Saturn.Tests.Emulator;

/// <summary>Planted faults, one kernel each: the checked mode finds every one and names kernel, block, thread and source line; the mended kernel passes.</summary>
public sealed class CheckedModeTests : EmulatedKernelTest
{
    private static readonly LaunchGeometry OneBlock = LaunchGeometry.Linear(1, 64);

    [Test]
    public void An_off_by_one_store_is_found()
    {
        using LoadedModule module = Compile("""
            struct A { float* output; long long count; };
            extern "C" __global__ void store(const A a)
            {
                long long i = blockIdx.x * blockDim.x + threadIdx.x;
                if (i <= a.count) a.output[i] = 1;
            }
            """);
        nint output = Fresh(100 * sizeof(float));
        string message = Failure(module, "store", LaunchGeometry.Linear(2, 64), output, 100);
        Assert.Multiple(() =>
        {
            Assert.That(message, Does.Contain("Kernel store, block (1, 0, 0), thread (36, 0, 0)"));
            Assert.That(message, Does.Contain("out of bounds"));
            Assert.That(message, Does.Contain("test.cu:5"));
        });
        Run(module, "store", LaunchGeometry.Linear(2, 64), output, 99);
        Assert.That(Read<float>(output, 100), Is.All.EqualTo(1f));
    }

    [Test]
    public void A_whole_warp_that_steps_outside_names_the_first_lane_that_does()
    {
        using LoadedModule module = Compile("""
            struct A { const float* input; float* output; };
            extern "C" __global__ void copy(const A a) { a.output[threadIdx.x] = a.input[threadIdx.x]; }
            """);
        nint input = Upload(new float[40]);
        Assert.That(Failure(module, "copy", OneBlock, input, Fresh(64 * sizeof(float))), Does.Contain("thread (40, 0, 0)").And.Contains("test.cu:2"));
    }

    [TestCase(true)]
    [TestCase(false)]
    public void A_missing_barrier_is_a_race(bool mended)
    {
        using LoadedModule module = Compile($$"""
            struct A { float* output; };
            extern "C" __global__ void exchange(const A a)
            {
                __shared__ float values[64];
                values[threadIdx.x] = threadIdx.x;
                {{(mended ? "__syncthreads();" : "")}}
                a.output[threadIdx.x] = values[63 - threadIdx.x];
            }
            """);
        nint output = Fresh(64 * sizeof(float));
        if (mended)
        {
            Run(module, "exchange", OneBlock, output);
            Assert.That(Read<float>(output, 64), Is.EqualTo(Enumerable.Range(0, 64).Select(i => 63f - i)));
        }
        else
        {
            // The first warp reads what the second has not written yet.
            Assert.That(Failure(module, "exchange", OneBlock, output), Does.Contain("never written in this block").Or.Contains("races"));
        }
    }

    [Test]
    public void A_missing_second_barrier_in_a_loop_is_a_race()
    {
        using LoadedModule module = Compile("""
            struct A { float* output; };
            extern "C" __global__ void repeat(const A a)
            {
                __shared__ float values[64];
                float sum = 0;
                for (int i = 0; i < 3; i++)
                {
                    values[threadIdx.x] = i;
                    __syncthreads();
                    sum += values[63 - threadIdx.x];
                }
                a.output[threadIdx.x] = sum;
            }
            """);
        Assert.That(Failure(module, "repeat", OneBlock, Fresh(256)), Does.Contain("races").And.Contains("a __syncthreads() is missing").And.Contains("test.cu:"));
    }

    [Test]
    public void A_divergent_barrier_is_found_inside_a_warp()
    {
        using LoadedModule module = Compile("""
            struct A { float* output; };
            extern "C" __global__ void diverge(const A a)
            {
                __shared__ float values[64];
                values[threadIdx.x] = 1;
                if (threadIdx.x % 2 == 0) { __syncthreads(); a.output[threadIdx.x] = values[threadIdx.x ^ 1]; }
                else { a.output[threadIdx.x] = 2; __syncthreads(); a.output[threadIdx.x] += values[threadIdx.x ^ 1]; }
            }
            """);
        Assert.That(Failure(module, "diverge", OneBlock, Fresh(256)), Does.Contain("divergent barrier"));
    }

    [Test]
    public void A_divergent_barrier_is_found_between_warps()
    {
        using LoadedModule module = Compile("""
            struct A { float* output; };
            extern "C" __global__ void diverge(const A a)
            {
                __shared__ float values[64];
                values[threadIdx.x] = 1;
                if (threadIdx.x < 32) { __syncthreads(); a.output[threadIdx.x] = values[threadIdx.x ^ 1]; }
                else { a.output[threadIdx.x] = 2; __syncthreads(); a.output[threadIdx.x] += values[threadIdx.x ^ 1]; }
            }
            """);
        Assert.That(Failure(module, "diverge", OneBlock, Fresh(256)), Does.Contain("divergent barrier"));
    }

    [Test]
    public void A_read_of_memory_that_was_never_written_is_found()
    {
        using LoadedModule module = Compile("""
            struct A { const float* input; float* output; };
            extern "C" __global__ void copy(const A a) { a.output[threadIdx.x] = a.input[threadIdx.x]; }
            """);
        Assert.That(Failure(module, "copy", OneBlock, Fresh(256), Fresh(256)), Does.Contain("never written").And.Contains("thread (0, 0, 0)"));
    }

    [Test]
    public void A_read_of_freed_memory_is_found()
    {
        using LoadedModule module = Compile("""
            struct A { const float* input; float* output; };
            extern "C" __global__ void copy(const A a) { a.output[threadIdx.x] = a.input[threadIdx.x]; }
            """);
        nint input = Upload(new float[64]);
        Free(input);
        Assert.That(Failure(module, "copy", OneBlock, input, Fresh(256)), Does.Contain("freed"));
    }

    [Test]
    public void A_misaligned_vector_access_is_found()
    {
        using LoadedModule module = Compile("""
            struct A { const float* input; float* output; };
            extern "C" __global__ void copy(const A a) { *(float4*)(a.output) = *(const float4*)(a.input + 1); }
            """);
        Assert.That(Failure(module, "copy", LaunchGeometry.Linear(1, 1), Upload(new float[8]), Fresh(64)), Does.Contain("misaligned"));
    }

    [Test]
    public void A_shuffle_from_a_lane_that_takes_no_part_is_found()
    {
        using LoadedModule module = Compile("""
            struct A { float* output; };
            extern "C" __global__ void shuffle(const A a)
            {
                float value = threadIdx.x;
                if (threadIdx.x < 16) value = __shfl_xor_sync(0x0000FFFFu, value, 16);
                a.output[threadIdx.x] = value;
            }
            """);
        Assert.That(Failure(module, "shuffle", LaunchGeometry.Linear(1, 32), Fresh(128)), Does.Contain("does not take part"));
    }

    [Test]
    public void A_member_mask_that_names_absent_lanes_is_found()
    {
        using LoadedModule module = Compile("""
            struct A { float* output; };
            extern "C" __global__ void shuffle(const A a)
            {
                if (threadIdx.x < 16) a.output[threadIdx.x] = __shfl_xor_sync(0xFFFFFFFFu, (float)threadIdx.x, 1);
                else a.output[threadIdx.x] = 0;
            }
            """);
        Assert.That(Failure(module, "shuffle", LaunchGeometry.Linear(1, 32), Fresh(128)), Does.Contain("member mask"));
    }

    [Test]
    public void A_missing_wait_for_an_asynchronous_copy_is_found()
    {
        const string Text = """
            struct A { const float* input; float* output; };
            extern "C" __global__ void fetch(const A a)
            {
                __shared__ float values[64];
                unsigned address = (unsigned)__cvta_generic_to_shared(values + threadIdx.x);
                asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" :: "r"(address), "l"(a.input + threadIdx.x));
                asm volatile("cp.async.commit_group;");
                WAIT
                __syncthreads();
                a.output[threadIdx.x] = values[63 - threadIdx.x];
            }
            """;
        nint input = Upload(Enumerable.Range(0, 64).Select(i => (float)i).ToArray());
        using LoadedModule faulty = Compile(Text.Replace("WAIT", "", StringComparison.Ordinal));
        Assert.That(Failure(faulty, "fetch", OneBlock, input, Fresh(256)), Does.Contain("never written"));
        using LoadedModule mended = Compile(Text.Replace("WAIT", "asm volatile(\"cp.async.wait_group 0;\");", StringComparison.Ordinal));
        nint output = Fresh(256);
        Run(mended, "fetch", OneBlock, input, output);
        Assert.That(Read<float>(output, 64), Is.EqualTo(Enumerable.Range(0, 64).Select(i => 63f - i)));
    }
}
