using NUnit.Framework;
using Saturn.Bench;
using Saturn.Bench.Gpu;
using Saturn.Bench.Works;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Tests.Cuda;

namespace Saturn.Tests.Bench;

/// <summary>What the catalog of works covers.</summary>
[TestFixture]
public sealed class KernelCatalogTests
{
    [SetUp]
    public void RequireNvrtc() => Nvrtc.Require();

    [Test]
    public void Every_kernel_is_launched_by_a_work_at_the_timed_size()
    {
        // Which kernel and tile is launched depends on the sizes alone, so nothing has to be computed to see it.
        HashSet<string> launched = [];
        foreach (Precision precision in Enum.GetValues<Precision>())
        {
            Launch(new IdleDriver(), precision, _ => true);
        }

        Launch(new IdleDriver(version: 12_040), Precision.Fp32, work => work.Family is "optimizer" or "compaction");
        Launch(new IdleDriver(EmulatedArchitecture.Hopper), Precision.Bf16, work => work.Family.StartsWith("convolution", StringComparison.Ordinal) || work.Family == "fusion", warpgroups: true);
        using KernelCompiler compiler = KernelCompiler.Create();
        string[] all = [.. BuiltInKernels.All().SelectMany(source => compiler.Compile(source, new KernelTarget(source.FileName == "convolution_wgmma.cu" ? "compute_90a" : "compute_80")).Kernels)
            .Select(kernel => kernel.Name)];
        if (Version.Parse(compiler.NvrtcVersion) < new Version(12, 1))
        {
            // Such a compiler has no large arguments.
            all = [.. all.Except(["updateLarge", "gatherLarge"])];
        }

        Assert.That(all, Has.Length.GreaterThan(100).And.Contains("forward128"));
        Assert.That(string.Join(' ', all.Except(launched)), Is.Empty, "kernels that no work launches");

        void Launch(IdleDriver driver, Precision precision, Func<KernelWork, bool> isChosen, bool warpgroups = false)
        {
            using CudaDevice device = new("idle", driver, precision: precision, warpgroups: warpgroups);
            foreach (KernelWork work in KernelCatalog.At(new WorkScale(128)).Where(isChosen))
            {
                ElementType activations = WorkCheck.ActivationType(device);
                using WorkArrays arrays = new(device, activations, activations == ElementType.BFloat16) { AreEmpty = true };
                try
                {
                    work.Prepare(device, arrays)();
                }
                catch (NotSupportedException) when (work.Family is "fusion" or "elementwise")
                {
                    // By the way in tf32 and bf16 alone; conversions in bf16 alone.
                }
            }

            launched.UnionWith(driver.FunctionNames);
        }
    }

    [TestCase(Precision.Fp32)]
    [TestCase(Precision.Tf32)]
    [TestCase(Precision.Bf16)]
    public void Works_that_launch_the_rarer_kernels_agree_with_the_host(Precision precision)
    {
        const string filter = "convolution variants,rearrangement,images,mapped,softmax forward,softmax backward,average,union,uniform,index,norm of all,186 small,62 small,transposed,fill,exponential,bfloat16,gradient of a residual,13→13,sum over 72";
        BenchTable table = KernelCountBench.Run("emulated", precision, filter, "", new Deadline(double.PositiveInfinity));
        Assert.That(table.Rows, Has.Count.GreaterThan(35));
        string[] failed = [.. table.Rows.Where(row => !long.TryParse(row[1], out _)).Select(row => $"{row[0]}: {row[1]}")];
        Assert.That(failed, precision == Precision.Bf16 ? Is.Empty : Is.All.Contains("all activations are float32").And.Exactly(2).Items);
    }

    [Test]
    public void Names_are_unique() => Assert.That(KernelCatalog.At(new WorkScale(128)).Select(work => work.Name), Is.Unique);
}
