using System.Collections.Concurrent;
using NUnit.Framework;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Tests.Cuda;

/// <summary>Machine code for tests: a file is disassembled once for each target. Where nvdisasm is missing, tests that ask for it are skipped with the reason.</summary>
public static class Nvdisasm
{
    private static readonly ConcurrentDictionary<(string File, string Target), IReadOnlyList<MachineKernel>> Known = [];

    private static readonly Lazy<(Disassembler? Found, string Reason)> Search = new(() =>
    {
        try
        {
            return (Disassembler.Find(), "");
        }
        catch (NvdisasmNotFoundException exception)
        {
            return (null, exception.Message);
        }
    });

    /// <summary>Returns where kernels can be compiled and machine code be read; otherwise the test ends as skipped.</summary>
    public static void Require()
    {
        Nvrtc.Require();
        if (Search.Value.Found is null)
        {
            Assert.Ignore(Search.Value.Reason);
        }
    }

    /// <summary>The kernels of a file of <c>kernels/</c>.</summary>
    public static IReadOnlyList<MachineKernel> Kernels(string fileName, string target) =>
        Known.TryGetValue((fileName, target), out IReadOnlyList<MachineKernel>? kernels)
            ? kernels
            : Known[(fileName, target)] = Kernels(BuiltInKernels.All().Single(source => source.FileName == fileName), target);

    /// <summary>The kernels of a source.</summary>
    public static IReadOnlyList<MachineKernel> Kernels(KernelSource source, string target)
    {
        Require();
        using KernelCompiler compiler = KernelCompiler.Create();
        CompiledModule module = compiler.Compile(source, new KernelTarget(target));
        if (module.IsPtx)
        {
            Assert.Ignore($"NVRTC {compiler.NvrtcVersion} makes no machine code for {target}.");
        }

        Disassembler disassembler = Search.Value.Found!;
        try
        {
            return disassembler.Read(module);
        }
        catch (InvalidOperationException exception) when (disassembler.Version < Version.Parse(compiler.NvrtcVersion))
        {
            Assert.Ignore($"nvdisasm {disassembler.Version} is older than NVRTC {compiler.NvrtcVersion}: {exception.Message}");
            throw;
        }
    }
}
