using System.Diagnostics;
using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Emulator.Execution;
using Saturn.Emulator.Memory;
using Saturn.Kernels.Cuda;
namespace Saturn.Tests.Emulator;

public sealed unsafe class TemporarySpeed : EmulatedKernelTest
{
    [TestCase(true)][TestCase(false)]
    public void Speed(bool check)
    {
        using LoadedModule module = Compile("""
            #include "common.cuh"
            struct A { const float* x; const float* y; float* z; long long n; };
            extern "C" __global__ void __launch_bounds__(256) addrelu(const __grid_constant__ A a)
            {
                unsigned step = gridDim.x * blockDim.x;
                for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (unsigned)a.n; i += step) a.z[i] = fmaxf(a.x[i] + a.y[i], 0.0f);
            }
            extern "C" __global__ void __launch_bounds__(256) add4(const __grid_constant__ A a)
            {
                unsigned step = gridDim.x * blockDim.x;
                for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (unsigned)a.n / 4; i += step)
                { float4 u = ((const float4*)a.x)[i], v = ((const float4*)a.y)[i]; ((float4*)a.z)[i] = make_float4(u.x+v.x,u.y+v.y,u.z+v.z,u.w+v.w); }
            }
            extern "C" __global__ void __launch_bounds__(256) gelu(const __grid_constant__ A a)
            {
                unsigned step = gridDim.x * blockDim.x;
                for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (unsigned)a.n; i += step) a.z[i] = a.x[i] * 0.5f * (1 + erff(a.x[i])) + expf(a.y[i]) + logf(a.y[i]);
            }
            extern "C" __global__ void __launch_bounds__(256) sum(const __grid_constant__ A a)
            {
                __shared__ float s[32];
                float v = 0;
                unsigned step = gridDim.x * blockDim.x;
                for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (unsigned)a.n; i += step) v += a.x[i];
                v = reduceBlock(v, Sum(), 0.0f, s);
                if (threadIdx.x == 0) a.z[blockIdx.x] = v;
            }
            """);
        const int N = 1 << 20;
        using DeviceAllocations memory = new(check, 1L << 30);
        nint[] p = new nint[3];
        for (int i = 0; i < 3; i++)
        {
            DeviceAllocation al = memory.Add(N * 4, "t");
            new Span<float>((void*)al.Base, N).Fill(1.5f);
            if (check) new Span<byte>(al.Written, N * 4).Fill(1);
            p[i] = al.Base;
        }
        foreach (string k in new[] { "addrelu", "add4", "gelu", "sum" })
        {
            double best = 1e9; long steps = 0;
            for (int r = 0; r < 8; r++)
            {
                long before = KernelExecution.ExecutedInstructions;
                long t = Stopwatch.GetTimestamp();
                KernelExecution.Run(module.GetKernel(k), LaunchGeometry.Linear(64, 256), MemoryMarshal.AsBytes<long>([p[0], p[1], p[2], N]), memory, new EmulatorOptions(check, 1));
                double ns = Stopwatch.GetElapsedTime(t).TotalNanoseconds;
                steps = KernelExecution.ExecutedInstructions - before;
                best = Math.Min(best, ns / steps);
            }
            System.IO.File.AppendAllText("/tmp/speed.txt", $"{k} checked={check}: {best:F1} ns/warp instruction, {steps} instructions" + "\n");
        }
    }
}
