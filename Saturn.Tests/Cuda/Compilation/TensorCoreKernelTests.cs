using System.Text;
using System.Text.RegularExpressions;
using NUnit.Framework;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Tests.Cuda.Compilation;

/// <summary>Kernels that are written for tensor cores use them, and copy and load sixteen bytes at a time; no speed shows on the emulator, but the text of the kernels does.</summary>
public sealed class TensorCoreKernelTests
{
    [TestCase("convolution_tensor.cu", 20)]
    public void Every_kernel_multiplies_on_tensor_cores_and_copies_in_the_background(string fileName, int kernels)
    {
        Nvrtc.Require();
        using KernelCompiler compiler = KernelCompiler.Create();
        KernelSource source = BuiltInKernels.All().Single(source => source.FileName == fileName);
        string text = Encoding.UTF8.GetString(compiler.Compile(source, new KernelTarget("compute_80")).Image);
        MatchCollection entries = Regex.Matches(text, @"\.entry (?<name>\w+)\(.*?^\}", RegexOptions.Singleline | RegexOptions.Multiline);
        Assert.That(entries, Has.Count.EqualTo(kernels));
        foreach (Match entry in entries)
        {
            string name = entry.Groups["name"].Value;
            string type = name.EndsWith("Bf16", StringComparison.Ordinal) ? "m16n8k16.row.col.f32.bf16.bf16.f32" : "m16n8k8.row.col.f32.tf32.tf32.f32";
            Assert.That(entry.Value, Does.Contain($"mma.sync.aligned.{type}"), name);
            Assert.That(entry.Value, Does.Match(@"cp\.async\.cg\.shared\.global \[%r\d+\], \[%rd\d+\], 16, %r\d+;"), name);
            Assert.That(entry.Value, Does.Contain("ldmatrix.sync.aligned.m8n8.x4"), name);
            Assert.That(entry.Value, Does.Contain("st.global.v4"), name);
            Assert.That(entry.Value, Does.Not.Contain(".local"), $"{name} keeps its sums in registers");
            Assert.That(name.EndsWith("Tf32", StringComparison.Ordinal), Is.EqualTo(Regex.IsMatch(entry.Value, @"max\.s32\s+%r\d+, %r\d+, %r\d+;")), $"{name}: only float32 is rounded");
        }
    }
}
