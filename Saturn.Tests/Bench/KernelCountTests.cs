using System.Globalization;
using System.Text;
using NUnit.Framework;
using Saturn.Bench.Gpu;
using Saturn.Bench.Works;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Tests.Cuda;

namespace Saturn.Tests.Bench;

/// <summary>
/// How many bytes and multiply-adds kernels ask for beside the least that the sizes allow, at 4 × 16 × 16 × 64. A kernel that comes to ask for more than the table allows fails; one that asks for less gets a new
/// line here.
/// </summary>
[TestFixture]
public sealed class KernelCountTests
{
    // Moved/floor and, of products, done/floor that are allowed: what was counted, and 3 % more.
    private const string Allowed = """
        work | fp32 | tf32 | bf16
        resnet18 3→64 3×3 16² forward | 2.24 / 1.84 | 1.80 / 2.45 | 2.73 / 4.89
        resnet18 3→64 3×3 16² data gradient | 7.48 / 5.50 | 7.72 / 5.50 | 7.72 / 5.50
        resnet18 3→64 3×3 16² filter gradient | 2.30 / 2.45 | 3.68 / 4.89 | 4.45 / 4.89
        resnet18 64→64 3×3 16² forward | 10.67 / 1.03 | 7.35 / 1.03 | 7.35 / 1.03
        resnet18 64→64 3×3 16² data gradient | 10.67 / 1.03 | 7.35 / 1.03 | 7.35 / 1.03
        resnet18 64→64 3×3 16² filter gradient | 9.18 / 1.15 | 12.50 / 1.15 | 13.41 / 1.15
        width 37→37 3×3 16² forward | 10.08 / 1.97 | 6.41 / 1.55 | 6.41 / 1.55
        width 37→37 3×3 16² data gradient | 10.08 / 1.97 | 6.41 / 1.55 | 6.41 / 1.55
        width 37→37 3×3 16² filter gradient | 7.44 / 2.06 | 11.11 / 2.06 | 11.89 / 2.06
        normalise + ReLU forward 64 16² | 1.35 | 1.35 | 1.52
        normalise + ReLU backward 64 16² | 1.42 | 1.42 | 1.78
        normalise + residual + ReLU forward 64 16² | 1.27 | 1.27 | 1.40
        normalise + residual + ReLU backward 64 16² | 1.56 | 1.56 | 1.71
        normalise + ReLU forward 37 16² | 1.35 | 1.35 | 1.52
        normalise + residual + ReLU backward 37 16² | 1.56 | 1.56 | 1.71
        normalise + mapped residual + ReLU backward 64 16² | 1.94 | 1.94 | 2.13
        layer norm forward 64 | 3.11 | 3.11 | 3.11
        layer norm backward 64 | 2.18 | 2.18 | 2.18
        64→64 3×3 16² forward, statistics by the way | – | 7.41 / 1.04 | 7.48 / 1.04
        64→64 3×3 16² inference, normalised by the way | – | 7.45 / 1.04 | 7.75 / 1.04
        SGD, momentum | 1.03 | 1.03 | 1.03
        SGD, momentum, L1 and noise | 1.03 | 1.03 | 1.03
        SGD, momentum, L1 and noise, gradient in 4 parts | 1.03 | 1.03 | 1.03
        SGD, momentum, L1 and noise, 4 parts added before | 1.03 | 1.03 | 1.03
        Adam | 1.03 | 1.03 | 1.03
        Adam, L1 and noise, gradient in 4 parts | 1.03 | 1.03 | 1.03
        norm of all gradients, for clipping | 1.04 | 1.04 | 1.04
        ReLU forward, flags | 1.04 | 1.04 | 1.04
        ReLU backward | 1.03 | 1.03 | 1.03
        add | 1.03 | 1.03 | 1.03
        residual sum through a map | 1.12 | 1.12 | 1.21
        accumulate | 1.03 | 1.03 | 1.03
        sum over rows | 1.05 | 1.05 | 1.05
        dropout | 1.03 | 1.03 | 1.03
        normal numbers | 1.03 | 1.03 | 1.03
        flags | 1.04 | 1.04 | 1.03
        extrema and sums | 1.09 | 1.09 | 1.10
        gather of half a filter | 1.58 | 1.58 | 1.58
        maximum pooling 3×3 s2 16² forward | 2.07 | 2.07 | 2.22
        maximum pooling 3×3 s2 16² backward | 4.13 | 4.13 | 5.65
        average pooling 2×2 s2 16² forward | 1.03 | 1.03 | 1.03
        average pooling 2×2 s2 16² backward | 1.65 | 1.65 | 1.65
        global average 64 of 16 pixels | 1.03 | 1.03 | 1.03
        softmax cross entropy forward and backward 10 | 3.32 | 3.32 | 3.32
        softmax cross entropy forward and backward 64 | 2.55 | 2.55 | 2.55
        softmax forward 64 | 2.06 | 2.06 | 2.06
        data gradient added to another, 64→64 3×3 16² | 7.96 / 1.03 | 5.58 / 1.03 | 5.58 / 1.03
        depthwise 64 3×3 16² forward | 4.65 / 0.95 | 4.65 / 0.95 | 4.65 / 0.95
        depthwise 64 3×3 16² filter gradient | 8.30 / 0.95 | 8.30 / 0.95 | 8.30 / 0.95
        batch of images 16², cropped and mirrored | 1.84 | 1.84 | 2.52
        permutation, channels first | 1.03 | 1.03 | 1.03
        concatenation of channels | 1.03 | 1.03 | 1.03
        reshape | 1.03 | 1.03 | 1.03
        fill | 1.03 | 1.03 | 1.03
        product 256×64×64 | 1.84 / 1.03 | 1.38 / 1.03 | 1.38 / 1.03
        product 256×64×64, right side transposed | 1.84 / 1.03 | 1.38 / 1.03 | 1.38 / 1.03
        product 256×64×64, left side transposed | 1.84 / 1.03 | 1.38 / 1.03 | 1.38 / 1.03
        product 8×10×64 | 1.03 / 26.37 | 6.70 / 52.74 | 6.70 / 52.74
        """;

    [TestCase(Precision.Fp32)]
    [TestCase(Precision.Tf32)]
    [TestCase(Precision.Bf16)]
    public void Kernels_ask_for_no_more_than_the_table_allows(Precision precision)
    {
        Nvrtc.Require();
        string[][] table = [.. Allowed.Split('\n').Skip(1).Select(line => line.Split('|', StringSplitOptions.TrimEntries))];
        IReadOnlyList<KernelWork> works = KernelCatalog.At(WorkScale.Counted);
        MemoryTraffic traffic = new();
        using CudaDevice device = KernelCountBench.Open("emulated:fast", precision, traffic);
        StringBuilder wrong = new();
        foreach (string[] row in table)
        {
            KernelWork work = works.FirstOrDefault(one => one.Name == row[0]) ?? throw new InvalidOperationException($"There is no work '{row[0]}'.");
            string allowed = row[1 + (int)precision];
            if (allowed == "–")
            {
                continue;
            }

            KernelCountBench.Counts counts = KernelCountBench.Measure(device, traffic, work);
            double moved = (double)(counts.Loaded + counts.Stored) / work.Bytes(WorkCheck.ActivationType(device).Size());
            double done = work.Operations > 0 ? (counts.MultiplyAdds + counts.MatrixMultiplyAdds) / (work.Operations / 2) : 0;
            double[] limits = [.. allowed.Split('/').Select(number => double.Parse(number, CultureInfo.InvariantCulture))];
            bool isProduct = work.Limit == WorkLimit.Products;
            if (moved > limits[0] || moved < 0.999 || (isProduct && done > limits[1]))
            {
                wrong.Append(CultureInfo.InvariantCulture, $"{work.Name} | {moved:0.000}{(isProduct ? string.Create(CultureInfo.InvariantCulture, $" / {done:0.000}") : "")} | allowed {allowed}\n");
            }
        }

        Assert.That(wrong.ToString(), Is.Empty);
    }
}
