using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Bench.Works;

/// <summary>Matrix products and attention, on float32 arrays under every policy: products by TF32 under bf16 too, attention without tensor cores.</summary>
internal static class ProductWorks
{
    public static IEnumerable<KernelWork> Of(WorkScale scale)
    {
        // A linear layer's three products are x·Wᵀ, ∂y·W and ∂yᵀ·x.
        (int, int, int, bool, bool)[] products =
        [
            (8192, 768, 3072, false, false), (8192, 3072, 768, false, false), (4096, 1000, 2048, false, false), (128, 10, 512, false, false),
            (8192, 768, 3072, false, true), (8192, 768, 3072, true, false), (8192, 768, 3072, true, true), (128, 10, 512, false, true), (128, 10, 512, true, false), (128, 10, 512, true, true),
        ];
        foreach ((int rows, int columns, int depth, bool transposeLeft, bool transposeRight) in products)
        {
            int m = Math.Max(8, rows * Math.Min(scale.Batch, 128) / 128), n = scale.Width(columns), k = scale.Width(depth);
            Shape left = transposeLeft ? new(k, m) : new(m, k), right = transposeRight ? new(n, k) : new(k, n), output = new(m, n);
            MatrixShape shape = new(m, n, k, transposeLeft, transposeRight, left.Pitch, right.Pitch, output.Pitch);
            string transposed = (transposeLeft, transposeRight) switch { (false, false) => "", (false, true) => ", right side transposed", (true, false) => ", left side transposed", _ => ", both sides transposed" };
            yield return new KernelWork(
                "matrix", $"product {m}×{n}×{k}{transposed}", WorkLimit.Products, _ => (left.ElementCount + right.ElementCount + output.StorageCount) * sizeof(float), 2.0 * m * n * k,
                (device, arrays) =>
                {
                    DeviceBuffer a = arrays.Parameter(left), b = arrays.Parameter(right), c = arrays.Result("product", output);
                    return () => device.Matrix.Multiply(shape, a, b, c);
                },
                PeerWork.Matrix(m, n, k, transposeLeft, transposeRight))
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
