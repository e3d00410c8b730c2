using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Bench.Works;

/// <summary>Matrix products and attention, on float32 arrays under every policy: products by TF32 under bf16 too, attention without tensor cores.</summary>
internal static class ProductWorks
{
    public static IEnumerable<KernelWork> Of(WorkScale scale)
    {
        foreach ((int rows, int columns, int depth) in ((int, int, int)[])[(8192, 768, 3072), (8192, 3072, 768), (4096, 1000, 2048), (128, 10, 512)])
        {
            int m = Math.Max(8, rows * Math.Min(scale.Batch, 128) / 128), n = scale.Width(columns), k = scale.Width(depth);
            Shape left = new(m, k), right = new(k, n), output = new(m, n);
            MatrixShape shape = new(m, n, k, false, false, left.Pitch, right.Pitch, output.Pitch);
            yield return new KernelWork(
                "matrix", $"product {m}×{n}×{k}", WorkLimit.Products, _ => (left.StorageCount + right.StorageCount + output.StorageCount) * sizeof(float), 2.0 * m * n * k,
                (device, arrays) =>
                {
                    DeviceBuffer a = arrays.Parameter(left), b = arrays.Parameter(right), c = arrays.Result("product", output);
                    return () => device.Matrix.Multiply(shape, a, b, c);
                },
                PeerWork.Matrix(m, n, k))
            {
                Arithmetic = precision => precision == Precision.Bf16 ? Precision.Tf32 : precision,
            };
        }

        AttentionShape attention = new(scale.Batch, scale.LargestImage < 14 ? 7 : 65, 3, 64);
        Shape packed = new(attention.Batch, attention.Tokens, 3 * attention.Width), result = new(attention.Batch, attention.Tokens, attention.Width);
        foreach (bool backward in (bool[])[false, true])
        {
            yield return new KernelWork(
                "attention", $"attention {(backward ? "backward" : "forward")} {attention.Tokens} tokens 3×64", WorkLimit.Products,
                _ => ((backward ? 2 : 1) * packed.StorageCount + (backward ? 2 : 1) * result.StorageCount) * sizeof(float), (backward ? 5.0 : 2.0) * attention.MultiplyAdds,
                (device, arrays) => PrepareAttention(device, arrays, attention, packed, result, backward))
            {
                Arithmetic = _ => Precision.Fp32,
            };
        }
    }

    private static Action PrepareAttention(Device device, WorkArrays arrays, AttentionShape shape, Shape packed, Shape result, bool backward)
    {
        DeviceBuffer input = arrays.Parameter(packed), statistics = arrays.Scratch(2L * shape.Rows * sizeof(float));
        DeviceBuffer output = backward ? arrays.Parameter(result) : arrays.Result("output", result);
        void Forward() => device.Attention.Forward(shape, input, output, statistics);
        if (!backward)
        {
            return Forward;
        }

        DeviceBuffer gradient = arrays.Parameter(result), inputGradient = arrays.Result("input gradient", packed);
        Forward();
        return () => device.Attention.Backward(shape, input, output, statistics, gradient, inputGradient, GradientMode.Overwrite);
    }
}
