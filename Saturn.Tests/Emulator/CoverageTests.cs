using NUnit.Framework;
using Saturn.Emulator.Execution;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Tests.Architecture;
using Saturn.Tests.Cuda;

namespace Saturn.Tests.Emulator;

/// <summary>The emulator covers every instruction of every kernel, and its page says which those are.</summary>
public sealed class CoverageTests
{
    private const string Heading = "## Opcodes of Saturn's kernels";

    [Test]
    public void Every_instruction_of_every_kernel_is_covered_and_the_page_lists_them()
    {
        Nvrtc.Require();
        using KernelCompiler compiler = KernelCompiler.Create();
        SortedSet<string> opcodes = new(StringComparer.Ordinal);
        foreach ((KernelSource source, string target) in BuiltInKernels.All().SelectMany(source => ((string[])["compute_80", "compute_90a"]).Select(target => (source, target))))
        {
            CompiledModule compiled = compiler.Compile(source, new KernelTarget(target));
            using LoadedModule module = LoadedModule.Load(compiled.Image, compiled.SourceName);
            foreach (string kernel in module.KernelNames)
            {
                // Decoding throws at the first instruction that is not covered.
                opcodes.UnionWith(module.GetKernel(kernel).Opcodes.Select(opcode => opcode.Split('.')[0]));
            }
        }

        string page = File.ReadAllText(Path.Combine(FloorTests.Root, "docs", "emulator.md"));
        string listed = page[page.IndexOf(Heading, StringComparison.Ordinal)..];
        Assert.That(opcodes.Where(opcode => !listed.Contains($"`{opcode}`", StringComparison.Ordinal)), Is.Empty, "opcodes that docs/emulator.md does not list");
    }
}
