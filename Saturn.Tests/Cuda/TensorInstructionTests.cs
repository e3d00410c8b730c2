using System.Text;
using NUnit.Framework;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Tests.Cuda;

/// <summary>What the compiler makes of the kernels on tensor cores: their instructions, and copies of 16 bytes in the background.</summary>
public sealed class TensorInstructionTests
{
    [OneTimeSetUp]
    public void RequireNvrtc() => Nvrtc.Require();

    [TestCase("convolution_filter_tensor.cu", "filterGradientBf16_", "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16")]
    [TestCase("convolution_filter_tensor.cu", "filterGradientTf32_", "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", "ld.shared.v4")]
    [TestCase("matrix_tensor.cu", "tensorMultiply", "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", "max.s32")]
    public void Products_run_on_tensor_cores_and_copies_in_the_background(string fileName, string prefix, string product, string read)
    {
        using KernelCompiler compiler = KernelCompiler.Create();
        CompiledModule module = compiler.Compile(BuiltInKernels.All().Single(source => source.FileName == fileName), new KernelTarget("compute_80"));
        string[] kernels = [.. Encoding.UTF8.GetString(module.Image).Split(".entry ").Skip(1).Where(kernel => kernel.StartsWith(prefix, StringComparison.Ordinal))];
        Assert.That(kernels, Is.Not.Empty);
        foreach (string kernel in kernels)
        {
            Assert.That(kernel, Does.Contain(product).And.Contain(read).And.Match(@"cp\.async\.cg\.shared\.global \[[^]]+\], \[[^]]+\], 16"), kernel[..kernel.IndexOf('(')]);
        }
    }
}
