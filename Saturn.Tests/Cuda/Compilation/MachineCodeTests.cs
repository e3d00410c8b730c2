using System.Globalization;
using NUnit.Framework;
using Saturn.Cli;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Tests.Cuda.Compilation;

/// <summary>
/// What the assembler made of the kernels: nothing in local memory, products on tensor cores in a lean loop, copies, loads and stores of sixteen bytes. No speed shows on the emulator, but machine code does. Needs nvdisasm
/// (tools/install-nvrtc.sh --disassembler); without it these tests are skipped.
/// </summary>
public sealed class MachineCodeTests
{
    // Instructions a product in the innermost loop, for sm_80 and sm_90a, as 'saturn kernels loops' prints them. The test's output holds these lines anew; a kernel may exceed its own by 15 %.
    private const string MeasuredNvrtc = "12.4";
    private const double Slack = 1.15;

    private static readonly Dictionary<string, (double Sm80, double Sm90A)> InstructionsPerProduct = new()
    {
        ["filterGradientBf16_128x128"] = (2.75, 2.92),
        ["filterGradientBf16_128x64"] = (4.03, 4.41),
        ["filterGradientBf16_32x128"] = (6.19, 6.88),
        ["filterGradientBf16_64x128"] = (3.97, 4.34),
        ["filterGradientTf32_128x128"] = (4.64, 3.80),
        ["filterGradientTf32_128x64"] = (6.75, 5.62),
        ["filterGradientTf32_32x128"] = (9.94, 8.62),
        ["filterGradientTf32_64x128"] = (6.72, 5.56),
        ["dataGradientMediumBf16"] = (2.59, 2.50),
        ["dataGradientMediumTf32"] = (6.97, 5.48),
        ["dataGradientNarrowBf16"] = (3.66, 3.64),
        ["dataGradientNarrowTf32"] = (9.02, 7.05),
        ["dataGradientSmallBf16"] = (4.38, 4.41),
        ["dataGradientSmallTf32"] = (10.50, 8.55),
        ["dataGradientSquareBf16"] = (2.55, 2.52),
        ["dataGradientSquareTf32"] = (5.45, 4.45),
        ["dataGradientTallBf16"] = (2.38, 2.41),
        ["dataGradientTallTf32"] = (5.08, 4.13),
        ["forwardMediumBf16"] = (2.35, 2.38),
        ["forwardMediumTf32"] = (5.62, 4.10),
        ["forwardNarrowBf16"] = (3.61, 3.67),
        ["forwardNarrowTf32"] = (7.66, 5.69),
        ["forwardSmallBf16"] = (3.45, 3.52),
        ["forwardSmallTf32"] = (7.70, 5.53),
        ["forwardSquareBf16"] = (1.98, 1.90),
        ["forwardSquareTf32"] = (4.02, 2.90),
        ["forwardTallBf16"] = (2.30, 2.29),
        ["forwardTallTf32"] = (4.30, 3.27),
        ["tensorMultiplyNNLarge"] = (4.20, 3.44),
        ["tensorMultiplyNNSmall"] = (9.19, 8.31),
        ["tensorMultiplyNTLarge"] = (4.25, 3.48),
        ["tensorMultiplyNTSmall"] = (9.44, 8.31),
        ["tensorMultiplyTNLarge"] = (4.09, 3.33),
        ["tensorMultiplyTNSmall"] = (8.88, 7.94),
        ["tensorMultiplyTTLarge"] = (4.23, 3.44),
        ["tensorMultiplyTTSmall"] = (9.38, 8.50),
    };

    // Kernels whose threads own sixteen bytes: LDG, STG or both are that wide somewhere (remainders and statistics are narrower).
    private static readonly Dictionary<string, string[]> WideAccesses = new()
    {
        ["activation.cu"] = ["LDG STG: activationForward activationForwardBf16 activationBackward activationBackwardBf16"],
        ["census.cu"] = ["LDG: flag flagBf16 statistics statisticsBf16"],
        ["compaction.cu"] = ["LDG STG: gather gatherLarge"],
        ["convolution_filter.cu"] = ["LDG: biasGradient", "LDG STG: combineFilterGradient"],
        ["elementwise.cu"] = ["LDG STG: accumulate accumulateBf16 binary mappedAdd mappedAddBf16 narrow unary widen", "STG: fill fillBf16"],
        ["normalization.cu"] = ["LDG STG: apply applyBf16 backwardApply backwardApplyBf16 residualGradient residualGradientBf16", "LDG: backwardSums backwardSumsBf16 moments momentsBf16"],
        ["optimizer.cu"] = ["LDG STG: update updateLarge", "LDG: squareGradients"],
        ["pooling.cu"] = ["LDG STG: averageForward averageForwardBf16 averageBackward averageBackwardBf16 globalAverageForward globalAverageForwardBf16 globalAverageBackward globalAverageBackwardBf16 maximumForward maximumForwardBf16 maximumBackward maximumBackwardBf16"],
        ["random.cu"] = ["LDG STG: dropout", "STG: normal uniform"],
    };

    // Large arguments of sine and cosine are reduced, in NVIDIA's code, with a product whose words are picked at run time.
    private static readonly HashSet<string> WithLocalMemory = ["unary"];

    private static readonly string[] TensorFiles = ["convolution_filter_tensor.cu", "convolution_tensor.cu", "matrix_tensor.cu"];

    private static IEnumerable<TestCaseData> Every => Cases(BuiltInKernels.FileNames);

    private static IEnumerable<TestCaseData> Tensor => Cases(TensorFiles);

    private static IEnumerable<TestCaseData> Wide => Cases(WideAccesses.Keys);

    [OneTimeSetUp]
    public void RequireNvdisasm() => Nvdisasm.Require();

    [TestCaseSource(nameof(Every))]
    public void Nothing_lies_in_local_memory(string fileName, string target)
    {
        foreach (MachineKernel kernel in Nvdisasm.Kernels(fileName, target))
        {
            Assert.That(kernel.LocalAccesses, WithLocalMemory.Contains(kernel.Name) ? Is.Positive : Is.Zero, $"{kernel.Name}: {string.Join("; ", kernel.Instructions.Where(one => one.Is("LDL") || one.Is("STL")).Take(3))}");
        }
    }

    [Test]
    public void An_array_whose_index_is_known_at_run_time_only_is_found_in_local_memory()
    {
        KernelSource source = new(
            "planted.cu",
            """
            extern "C" __global__ void planted(const int* bins, float* sums, int count)
            {
                float kept[32] = {};
                for (int i = threadIdx.x; i < count; i += blockDim.x)
                {
                    kept[bins[i] & 31] += 1.0f;
                }

                for (int i = 0; i < 32; i++)
                {
                    sums[i * blockDim.x + threadIdx.x] = kept[i];
                }
            }
            """,
            null);
        Assert.That(Nvdisasm.Kernels(source, "sm_80").Single().LocalAccesses, Is.Positive);
    }

    [TestCaseSource(nameof(Tensor))]
    public void Products_run_on_tensor_cores_in_a_loop_that_copies_sixteen_bytes_in_the_background(string fileName, string target)
    {
        IReadOnlyList<MachineKernel> kernels = Nvdisasm.Kernels(fileName, target);
        Assert.That(kernels, Is.Not.Empty);
        foreach (MachineKernel kernel in kernels)
        {
            string product = kernel.Name.Contains("Bf16", StringComparison.Ordinal) ? "HMMA.16816.F32.BF16" : "HMMA.1688.F32.TF32";
            Assert.That(kernel.Instructions.Where(one => one.Is("HMMA") && !one.Is(product)), Is.Empty, $"{kernel.Name}: products of another shape");
            IReadOnlyList<MachineInstruction> loop = ProductLoop(kernel).Instructions;
            Assert.That(loop.Count(product), Is.Positive, $"{kernel.Name}: products in a loop");
            Assert.That(loop.Count("LDGSTS.E.BYPASS.128"), Is.Positive, $"{kernel.Name}: copies in the loop of products");

            // Elements that lie side by side where the product wants depth are transposed by the load (bf16), or loaded by fours (tf32).
            bool outerOnly = kernel.Name.StartsWith("filterGradientTf32", StringComparison.Ordinal) || kernel.Name.StartsWith("tensorMultiplyTN", StringComparison.Ordinal);
            Assert.That(loop.Count(outerOnly ? "LDS.128" : "LDSM.16"), Is.Positive, $"{kernel.Name}: wide loads from shared memory in the loop of products");
        }
    }

    [TestCaseSource(nameof(TensorFiles))]
    public void The_loop_of_products_stays_lean(string fileName)
    {
        (string Name, double Sm80, double Sm90A)[] measured =
        [
            .. Nvdisasm.Kernels(fileName, "sm_80").Zip(Nvdisasm.Kernels(fileName, "sm_90a"), (sm80, sm90A) => (sm80.Name, PerProduct(sm80), PerProduct(sm90A))),
        ];
        string table = string.Concat(measured.Select(kernel => string.Create(CultureInfo.InvariantCulture, $"        [\"{kernel.Name}\"] = ({kernel.Sm80:F2}, {kernel.Sm90A:F2}),\n")));
        TestContext.Out.WriteLine(table);
        RequireMeasuredNvrtc();
        foreach ((string name, double sm80, double sm90A) in measured)
        {
            Assert.That(InstructionsPerProduct, Does.ContainKey(name), table);
            (double Sm80, double Sm90A) known = InstructionsPerProduct[name];
            Assert.That(sm80, Is.LessThanOrEqualTo(known.Sm80 * Slack), $"{name} on sm_80: instructions a product, which were {known.Sm80}; look at './saturn kernels loops {name}'. Now:\n{table}");
            Assert.That(sm90A, Is.LessThanOrEqualTo(known.Sm90A * Slack), $"{name} on sm_90a: instructions a product, which were {known.Sm90A}; look at './saturn kernels loops {name} --target sm_90a'. Now:\n{table}");
        }
    }

    [Test]
    public void The_table_names_kernels_that_exist() =>
        Assert.That(InstructionsPerProduct.Keys, Is.SubsetOf(TensorFiles.SelectMany(file => Nvdisasm.Kernels(file, "sm_80")).Select(kernel => kernel.Name)));

    [Test]
    public void Warpgroups_multiply_what_the_tensor_memory_accelerator_copies()
    {
        IReadOnlyList<MachineKernel> kernels = Nvdisasm.Kernels("convolution_wgmma.cu", "sm_90a");
        Assert.That(kernels, Has.Count.EqualTo(12));
        foreach (MachineKernel kernel in kernels)
        {
            Assert.That(kernel.Loops.Any(loop => loop.Instructions.Count("HGMMA.F32.BF16") > 0), Is.True, $"{kernel.Name}: products in a loop");
            string copy = kernel.Name.Contains("Patches", StringComparison.Ordinal) ? "UTMALDG.4D" : "UTMALDG.4D.IM2COL";
            Assert.That(kernel.Loops.Any(loop => loop.Instructions.Count(copy) > 0), Is.True, $"{kernel.Name}: copies of the image in a loop");
            Assert.That(kernel.Loops.Any(loop => loop.Instructions.Count("UTMALDG.3D") > 0), Is.True, $"{kernel.Name}: copies of the filter in a loop");
        }
    }

    [TestCaseSource(nameof(Wide))]
    public void Kernels_limited_by_memory_move_sixteen_bytes_an_instruction(string fileName, string target)
    {
        IReadOnlyList<MachineKernel> kernels = Nvdisasm.Kernels(fileName, target);
        foreach (string[] row in WideAccesses[fileName].Select(row => row.Split(": ")))
        {
            foreach (string name in row[1].Split(' '))
            {
                MachineKernel? kernel = kernels.FirstOrDefault(kernel => kernel.Name == name);
                Assert.That(kernel, Is.Not.Null, $"there is no kernel {name}");
                foreach (string opcode in row[0].Split(' '))
                {
                    Assert.That(kernel.Instructions.Count($"{opcode}.E.128"), Is.Positive, $"{name}: {opcode} of sixteen bytes");
                }
            }
        }
    }

    private static IEnumerable<TestCaseData> Cases(IEnumerable<string> fileNames) =>
        from name in fileNames from target in KernelResourceTable.MachineTargets select new TestCaseData(name, target);

    // A kernel may have another such loop for rows that do not start on sixteen bytes.
    private static MachineLoop ProductLoop(MachineKernel kernel) => kernel.Loops.MaxBy(loop => (loop.Instructions.Count("HMMA"), loop.Instructions.Count("LDGSTS.128"))) ?? new MachineLoop("none", null, []);

    private static double PerProduct(MachineKernel kernel) => (double)ProductLoop(kernel).Instructions.Count / ProductLoop(kernel).Instructions.Count("HMMA");

    private static void RequireMeasuredNvrtc()
    {
        using KernelCompiler compiler = KernelCompiler.Create();
        if (compiler.NvrtcVersion != MeasuredNvrtc)
        {
            Assert.Ignore($"The table was made with NVRTC {MeasuredNvrtc}; this is {compiler.NvrtcVersion}.");
        }
    }
}
