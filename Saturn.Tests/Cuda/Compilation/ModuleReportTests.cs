using NUnit.Framework;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Tests.Cuda.Compilation;

/// <summary>What SATURN_DEBUG and SATURN_DUMP show of a module.</summary>
public sealed class ModuleReportTests
{
    private const string Text = "extern \"C\" __global__ void nothing() {}";

    [TestCase(0, false, false, false)]
    [TestCase(1, true, false, false)]
    [TestCase(4, true, true, false)]
    [TestCase(5, true, true, true)]
    public void Each_level_adds_to_the_one_before(int level, bool name, bool source, bool image)
    {
        (KernelSource kernel, CompiledModule compiled) = Compile("compute_80");
        StringWriter writer = new();
        ModuleReport.Print(writer, level, kernel, compiled);
        Assert.That(writer.ToString().Contains("module empty.cu for compute_80: nothing"), Is.EqualTo(name));
        Assert.That(writer.ToString().Contains(Text), Is.EqualTo(source));
        Assert.That(writer.ToString().Contains(".visible .entry nothing"), Is.EqualTo(image));
    }

    [TestCase("compute_80", "empty.compute_80.ptx")]
    [TestCase("sm_80", "empty.sm_80.cubin")]
    public void Files_are_written_whole(string architecture, string image)
    {
        (KernelSource kernel, CompiledModule compiled) = Compile(architecture);
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, "dump-" + architecture);
        ModuleReport.Write(folder, kernel, compiled);
        Assert.That(
            Directory.GetFiles(folder).Select(Path.GetFileName), Is.EquivalentTo(new[] { "empty.cu", image, Path.ChangeExtension(image, ".log") }));
        Assert.That(File.ReadAllText(Path.Combine(folder, "empty.cu")), Does.StartWith(Text));
        Directory.Delete(folder, recursive: true);
    }

    private static (KernelSource Source, CompiledModule Compiled) Compile(string architecture)
    {
        Nvrtc.Require();
        using KernelCompiler compiler = KernelCompiler.Create();
        KernelSource source = new("empty.cu", Text, null);
        return (source, compiler.Compile(source, new KernelTarget(architecture)));
    }
}
