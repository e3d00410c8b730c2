using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Tests.Kernels;

namespace Saturn.Tests.Emulator;

/// <summary>
/// Products of a warpgroup in every layout that a matrix descriptor names: both operands in shared memory, with either dimension side by side, in all four swizzles, laid out here by the manual's
/// canonical layouts.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.HopperNames))]
public sealed class WarpgroupProductTests(string device) : KernelTest(device)
{
    private const int Rows = 64;
    private const int Columns = 16;
    private const int Depth = 16;
    private const int OperandBytes = 8192;

    private static readonly int[] Spans = [16, 32, 64, 128];

    [Test]
    public void A_product_reads_its_operands_as_their_descriptors_say([ValueSource(nameof(Spans))] int span, [Values] bool transposedA, [Values] bool transposedB)
    {
        Random random = new(1);
        int[,] a = new int[Rows, Depth];
        int[,] b = new int[Columns, Depth];
        ushort[] memory = new ushort[2 * OperandBytes / sizeof(ushort)];
        ulong first = Place(a, transposedA, span, random, memory, 0);
        ulong second = Place(b, transposedB, span, random, memory, OperandBytes);
        DeviceBuffer sums = PoisonedBytes(128 * 8 * sizeof(float));
        CudaModule module = ((CudaDevice)Device).Context.Module(new KernelSource("product.cu", Text(transposedA, transposedB), null, typeof(ProductArguments)));
        module.Kernel<ProductArguments>("product").Launch(
            new ProductArguments { Memory = UploadPacked<ushort>(memory).Address, Sums = sums.Address, First = first, Second = second }, LaunchGeometry.Linear(1, 128, 2 * OperandBytes + 1024));
        float[] actual = DownloadPacked<float>(sums, 128 * 8);
        for (int thread = 0; thread < 128; thread++)
        {
            for (int i = 0; i < 8; i++)
            {
                int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
                int column = i / 4 * 8 + thread % 4 * 2 + i % 2;
                int expected = Enumerable.Range(0, Depth).Sum(k => a[row, k] * b[column, k]);
                Assert.That(actual[thread * 8 + i], Is.EqualTo(expected), $"row {row}, column {column}");
            }
        }
    }

    // Fills a matrix [rows or columns, depth] and its image in shared memory; returns the descriptor without the address. Unused places hold a number that would show.
    private static ulong Place(int[,] matrix, bool transposed, int span, Random random, ushort[] memory, int start)
    {
        memory.AsSpan(start / 2, OperandBytes / 2).Fill(0x4500);

        // The swizzle's period is eight spans; the other offset is chosen so that nothing overlaps.
        int outer = matrix.GetLength(0);
        int stride = span == 16 ? 128 : 8 * span;
        int leading = span == 16 ? stride * Math.Max(outer, Depth) / 8 : transposed ? stride * Depth / 8 : 16;
        for (int i = 0; i < outer; i++)
        {
            for (int k = 0; k < Depth; k++)
            {
                matrix[i, k] = random.Next(-3, 4);
                (int across, int along) = transposed ? (k, i) : (i, k);
                int bytes = along * 2;
                int offset = (span, transposed) switch
                {
                    (16, false) => across / 8 * stride + across % 8 * 16 + bytes / 16 * leading + bytes % 16,
                    (16, true) => across / 8 * leading + across % 8 * 16 + bytes / 16 * stride + bytes % 16,
                    (_, false) => across / 8 * stride + across % 8 * span + bytes,
                    _ => across / 8 * stride + across % 8 * span + bytes / span * leading + bytes % span,
                };

                // Bits from the fourth on, as many as the span has, exclusive-ored with those from the seventh on.
                offset ^= (offset >> 7 & span / 16 - 1) << 4;
                memory[(start + offset) / 2] = (ushort)(BitConverter.SingleToUInt32Bits(matrix[i, k]) >> 16);
            }
        }

        ulong swizzle = span switch { 128 => 1, 64 => 2, 32 => 3, _ => 0 };
        return (ulong)leading / 16 << 16 | (ulong)stride / 16 << 32 | swizzle << 62 | (ulong)start / 16;
    }

    private static string Text(bool transposedA, bool transposedB) =>
        $$"""
        #include "bulk_copy.cuh"
        #include "warpgroup.cuh"
        struct ProductArguments { const uint4* memory; float* sums; uint64 first; uint64 second; };
        extern "C" __global__ void product(const __grid_constant__ ProductArguments arguments)
        {
            extern __shared__ unsigned char storage[];
            uint32 start = divideUp(sharedAddressOf(storage), 1024u) * 1024;
            uint4* shared = reinterpret_cast<uint4*>(storage + (start - sharedAddressOf(storage)));
            for (int i = threadIdx.x; i < {{2 * OperandBytes / 16}}; i += 128)
            {
                shared[i] = arguments.memory[i];
            }

            asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
            __syncthreads();
            float sums[8];
            for (int i = 0; i < 8; i++)
            {
                sums[i] = 0;
            }

            fenceSums();
            asm volatile(
                "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, 1, 1, 1, {{(transposedA ? 1 : 0)}}, {{(transposedB ? 1 : 0)}};"
                : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]), "+f"(sums[4]), "+f"(sums[5]), "+f"(sums[6]), "+f"(sums[7])
                : "l"(arguments.first + (start >> 4)), "l"(arguments.second + (start >> 4)));
            commitProducts();
            waitProducts<0>();
            for (int i = 0; i < 8; i++)
            {
                arguments.sums[threadIdx.x * 8 + i] = sums[i];
            }
        }
        """;

    [StructLayout(LayoutKind.Sequential)]
    private struct ProductArguments
    {
        public nint Memory;
        public nint Sums;
        public ulong First;
        public ulong Second;
    }
}
