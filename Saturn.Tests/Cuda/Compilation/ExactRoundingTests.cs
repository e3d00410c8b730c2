using System.Text;
using System.Text.RegularExpressions;
using NUnit.Framework;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Tests.Cuda.Compilation;

/// <summary>
/// Kernels that give the host's bits round every operation where the host does. In PTX, a float32 product or sum without <c>.rn</c> may still be fused when machine code is made; the emulator
/// does not fuse, so only the text shows it.
/// </summary>
public sealed partial class ExactRoundingTests
{
    [TestCase("optimizer.cu", "update")]
    [TestCase("optimizer.cu", "updateLarge")]
    public void No_operation_is_left_to_the_compiler_to_fuse(string fileName, string kernel)
    {
        Nvrtc.Require();
        using KernelCompiler compiler = KernelCompiler.Create();
        KernelSource source = BuiltInKernels.All().Single(source => source.FileName == fileName);
        string text = Encoding.UTF8.GetString(compiler.Compile(source, new KernelTarget("compute_80")).Image);
        Match entry = Regex.Match(text, $@"\.entry {kernel}\(.*?^\}}", RegexOptions.Singleline | RegexOptions.Multiline);
        Assert.That(entry.Success, Is.True, $"{fileName} has no kernel {kernel}");
        Assert.That(RoundedProduct().IsMatch(entry.Value), Is.True, "the kernel multiplies");
        Assert.That(Fusable().Matches(entry.Value).Select(match => match.Value), Is.Empty);
    }

    [GeneratedRegex(@"mul\.rn\.f32")]
    private static partial Regex RoundedProduct();

    [GeneratedRegex(@"^\s*(@!?%p\d+\s+)?(mul|add|sub|mad)(\.ftz|\.sat)*\.f32.*$", RegexOptions.Multiline)]
    private static partial Regex Fusable();
}
