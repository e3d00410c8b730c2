using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Tests.Kernels;

namespace Saturn.Tests.Emulator;

/// <summary>Bulk copies of boxes and of pixels, against what the manual says arrives in shared memory: order, swizzle, steps, and zeros outside of the tensor.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.HopperNames))]
public sealed class BulkCopyTests(string device) : KernelTest(device)
{
    private const string BoxCall = "copyBox(start, arguments.map, arguments.x, arguments.y, arguments.z, sharedAddressOf(&barrier));";

    private const string Text =
        """
        #include "bulk_copy.cuh"
        struct CopyArguments { TensorMap map; uint4* output; int32 bytes; int32 x, y, z, w, tapX, tapY, pixels; };
        extern "C" __global__ void copyTile(const __grid_constant__ CopyArguments arguments)
        {
            extern __shared__ unsigned char storage[];
            __shared__ uint64 barrier;
            uint32 start = divideUp(sharedAddressOf(storage), 1024u) * 1024;
            if (threadIdx.x == 0)
            {
                startBarrier(sharedAddressOf(&barrier), 1);
                publishBarriers();
                arriveExpecting(sharedAddressOf(&barrier), arguments.bytes);
                if (arguments.pixels)
                {
                    copyPixels(start, arguments.map, arguments.x, arguments.y, arguments.z, arguments.w, arguments.tapX, arguments.tapY, sharedAddressOf(&barrier));
                }
                else
                {
                    copyBox(start, arguments.map, arguments.x, arguments.y, arguments.z, sharedAddressOf(&barrier));
                }
            }

            __syncthreads();
            waitFor(sharedAddressOf(&barrier), 0);
            const uint4* shared = reinterpret_cast<const uint4*>(storage + (start - sharedAddressOf(storage)));
            for (int i = threadIdx.x; i < arguments.bytes / 16; i += 32)
            {
                arguments.output[i] = shared[i];
            }
        }
        """;

    [TestCase(0, 0, 0, 1, TensorMapSwizzle.Bytes128)]
    [TestCase(0, 1, 2, 2, TensorMapSwizzle.Bytes128)]
    [TestCase(-5, -1, -2, 1, TensorMapSwizzle.Bytes64)]
    [TestCase(30, 2, 4, 3, TensorMapSwizzle.Bytes32)]
    [TestCase(8, -4, 1, 1, TensorMapSwizzle.None)]
    public void A_box_arrives_with_zeros_where_it_lies_outside(int x, int y, int z, int step, TensorMapSwizzle swizzle)
    {
        (int channels, int width, int height) = (37, 5, 7);
        int pitch = 40;
        int inner = swizzle == TensorMapSwizzle.None ? 64 : 8 << (int)swizzle;
        (int boxWidth, int boxHeight) = (4, 5);
        ushort[] values = Numbers(pitch * width * height);
        DeviceBuffer tensor = UploadPacked<ushort>(values);
        TensorMap map = ((CudaDevice)Device).Context.Driver.EncodeTensorMap(
            new TensorMapSource(
                TensorMapElement.BFloat16, tensor.Address, [(ulong)channels, (ulong)width, (ulong)height], [(ulong)pitch * 2, (ulong)(pitch * width) * 2], [1, (uint)step, 1], swizzle),
            [(uint)inner, (uint)boxWidth, (uint)boxHeight]);
        List<ushort> expected = [];
        for (int row = z; row < z + boxHeight; row++)
        {
            for (int column = y; column < y + boxWidth; column += step)
            {
                for (int channel = x; channel < x + inner; channel++)
                {
                    bool inside = row >= 0 && row < height && column >= 0 && column < width && channel >= 0 && channel < channels;
                    expected.Add(inside ? values[(row * width + column) * pitch + channel] : (ushort)0);
                }
            }
        }

        Check(new CopyArguments { Map = map, X = x, Y = y, Z = z }, expected, swizzle);
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(4)]
    [TestCase(5)]
    public void A_box_may_have_one_to_five_dimensions(int rank)
    {
        ulong[] sizes = [.. ((ulong[])[16, 3, 4, 2, 3])[..rank]];
        uint[] box = [.. ((uint[])[8, 2, 3, 2, 2])[..rank]];
        int[] first = [5, 2, -1, 1, 1];
        ulong[] strides = new ulong[rank - 1];
        for (int i = 1; i < rank; i++)
        {
            strides[i - 1] = i == 1 ? sizes[0] * 2 : strides[i - 2] * sizes[i - 1];
        }

        ushort[] values = Numbers(sizes.Aggregate(1, (product, size) => product * (int)size));
        TensorMap map = ((CudaDevice)Device).Context.Driver.EncodeTensorMap(
            new TensorMapSource(TensorMapElement.BFloat16, UploadPacked<ushort>(values).Address, sizes, strides, [.. Enumerable.Repeat(1u, rank)], TensorMapSwizzle.None), box);
        ushort[] expected = new ushort[box.Aggregate(1, (product, size) => product * (int)size)];
        for (int i = 0; i < expected.Length; i++)
        {
            (int left, long offset, bool inside) = (i, 0, true);
            for (int dimension = 0; dimension < rank; dimension++)
            {
                long place = first[dimension] + left % (int)box[dimension];
                left /= (int)box[dimension];
                inside &= place >= 0 && place < (long)sizes[dimension];
                offset += place * (dimension == 0 ? 1 : (long)strides[dimension - 1] / 2);
            }

            expected[i] = inside ? values[offset] : (ushort)0;
        }

        string coordinates = string.Join(", ", Enumerable.Range(3, rank).Select(i => $"%{i}"));
        string operands = string.Join(", ", Enumerable.Range(0, rank).Select(i => $"\"r\"({first[i]})"));
        string copy = $"asm volatile(\"cp.async.bulk.tensor.{rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {{{coordinates}}}], [%2];\" : : \"r\"(start), \"l\"(&arguments.map), "
            + $"\"r\"(sharedAddressOf(&barrier)), {operands} : \"memory\");";
        Check(new CopyArguments { Map = map }, [.. expected], TensorMapSwizzle.None, Text.Replace(BoxCall, copy, StringComparison.Ordinal));
    }

    // Shapes of convolutions: image height and width, kernel, step, padding, dilation.
    [TestCase(7, 9, 3, 3, 2, 2, 1, 1, 1)]
    [TestCase(6, 7, 3, 3, 1, 1, 2, 2, 2)]
    [TestCase(5, 8, 2, 3, 1, 2, 0, 1, 1)]
    [TestCase(4, 4, 1, 1, 1, 1, 0, 0, 1)]
    [TestCase(4, 5, 1, 1, 1, 1, 1, 2, 1)]
    public void Pixels_arrive_as_a_filter_visits_them(
        int height, int width, int kernelHeight, int kernelWidth, int stepHeight, int stepWidth, int paddingHeight, int paddingWidth, int dilation)
    {
        const int Pixels = 32;
        (int batch, int channels, int pitch, int inner) = (3, 37, 40, 64);
        (int spanHeight, int spanWidth) = ((kernelHeight - 1) * dilation, (kernelWidth - 1) * dilation);
        int outputHeight = (height + 2 * paddingHeight - spanHeight - 1) / stepHeight + 1;
        int outputWidth = (width + 2 * paddingWidth - spanWidth - 1) / stepWidth + 1;
        ushort[] values = Numbers(batch * height * width * pitch);
        DeviceBuffer tensor = UploadPacked<ushort>(values);
        ulong pixel = (ulong)pitch * 2;
        ulong row = pixel * (ulong)width;
        TensorMap map = ((CudaDevice)Device).Context.Driver.EncodeTensorMap(
            new TensorMapSource(
                TensorMapElement.BFloat16, tensor.Address, [(ulong)channels, (ulong)width, (ulong)height, (ulong)batch], [pixel, row, row * (ulong)height],
                [1, (uint)stepWidth, (uint)stepHeight, 1], TensorMapSwizzle.Bytes128),
            new PixelBox(-paddingWidth, -paddingHeight, paddingWidth - spanWidth, paddingHeight - spanHeight, inner, Pixels));

        // The first tile, and the one where the batch runs out.
        int all = batch * outputHeight * outputWidth;
        foreach (int first in (int[])[0, all / 2, all - 3])
        {
            (int tapRow, int tapColumn) = ((kernelHeight - 1) * dilation, kernelWidth / 2 * dilation);
            List<ushort> expected = [];
            for (int m = first; m < first + Pixels; m++)
            {
                int y = m / outputWidth % outputHeight * stepHeight - paddingHeight + tapRow;
                int x = m % outputWidth * stepWidth - paddingWidth + tapColumn;
                int image = m / outputWidth / outputHeight;
                bool inside = image < batch && y >= 0 && y < height && x >= 0 && x < width;
                expected.AddRange(Enumerable.Range(0, inner).Select(c => inside && c < channels ? values[((image * height + y) * width + x) * pitch + c] : (ushort)0));
            }

            Check(
                new CopyArguments
                {
                    Map = map,
                    Y = first % outputWidth * stepWidth - paddingWidth,
                    Z = first / outputWidth % outputHeight * stepHeight - paddingHeight,
                    W = first / outputWidth / outputHeight,
                    TapX = tapColumn,
                    TapY = tapRow,
                    Pixels = 1,
                },
                expected, TensorMapSwizzle.Bytes128);
        }
    }

    private void Check(CopyArguments arguments, List<ushort> expected, TensorMapSwizzle swizzle, string text = Text)
    {
        arguments.Bytes = expected.Count * 2;
        DeviceBuffer output = PoisonedBytes(arguments.Bytes);
        arguments.Output = output.Address;
        CudaModule module = ((CudaDevice)Device).Context.Module(new KernelSource("copy.cu", text, null, typeof(CopyArguments)));
        module.Kernel<CopyArguments>("copyTile").Launch(arguments, LaunchGeometry.Linear(1, 32, arguments.Bytes + 2048));
        ushort[] actual = DownloadPacked<ushort>(output, expected.Count);
        int mask = swizzle switch { TensorMapSwizzle.Bytes32 => 1, TensorMapSwizzle.Bytes64 => 3, TensorMapSwizzle.Bytes128 => 7, _ => 0 };
        for (int i = 0; i < expected.Count; i++)
        {
            int place = 2 * i;
            place ^= (place >> 7 & mask) << 4;
            Assert.That(actual[place / 2], Is.EqualTo(expected[i]), $"element {i} of the tile, at byte {place}");
        }
    }

    private static ushort[] Numbers(int count) => [.. Enumerable.Range(1, count).Select(i => (ushort)i)];

    [StructLayout(LayoutKind.Sequential, Size = 192)]
    private struct CopyArguments
    {
        public TensorMap Map;
        public nint Output;
        public int Bytes;
        public int X;
        public int Y;
        public int Z;
        public int W;
        public int TapX;
        public int TapY;
        public int Pixels;
    }
}
