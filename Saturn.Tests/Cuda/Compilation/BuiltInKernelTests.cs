using NUnit.Framework;
using Saturn.Cli;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Tests.Architecture;

namespace Saturn.Tests.Cuda.Compilation;

/// <summary>Every file of <c>kernels/</c>, on every architecture that is looked after: it compiles without warnings, its structs match C#'s, and no kernel spills.</summary>
public sealed class BuiltInKernelTests
{
    private static readonly string[] Targets = [KernelResourceTable.PtxTarget, .. KernelResourceTable.MachineTargets];

    private static IEnumerable<TestCaseData> Cases =>
        from name in BuiltInKernels.FileNames from target in Targets select new TestCaseData(name, target);

    [OneTimeSetUp]
    public void RequireNvrtc() => Nvrtc.Require();

    [TestCaseSource(nameof(Cases))]
    public void A_kernel_file_compiles_and_does_not_spill(string fileName, string target)
    {
        using KernelCompiler compiler = KernelCompiler.Create();
        KernelSource source = BuiltInKernels.All().Single(source => source.FileName == fileName);
        Assert.That(source.ArgumentTypes, Is.Not.Empty, $"no struct is marked [KernelArguments(\"{fileName}\")]");
        CompiledModule module = compiler.Compile(source, new KernelTarget(target));
        Assert.That(module.Kernels.Count > 0 || KernelResourceTable.MachineTargets.Any(other => compiler.Compile(source, new KernelTarget(other)).Kernels.Count > 0), "no architecture has a kernel of this file");
        Assert.That(module.Log, Does.Not.Contain("serialized"), "products of warpgroups wait for each other (C7508, C7510, C7515)");
        if (Version.Parse(compiler.NvrtcVersion).Major >= 12)
        {
            // NVRTC 11.8 makes PTX for sm_90.
            Assert.That(module.Architecture, Is.EqualTo(target));
        }

        foreach (KernelResources kernel in module.Kernels)
        {
            // PTX has no registers to spill.
            (int?, int?) none = new KernelTarget(module.Architecture).IsPtx ? (null, null) : (0, 0);
            Assert.That((kernel.SpillStoreBytes, kernel.SpillLoadBytes), Is.EqualTo(none), $"{kernel.Name} spills on {target}");
        }
    }

    [Test]
    public void The_page_of_kernel_resources_says_what_the_compiler_says()
    {
        using KernelCompiler compiler = KernelCompiler.Create();
        string page = File.ReadAllText(Path.Combine(FloorTests.Root, KernelResourceTable.Page));
        string version = KernelResourceTable.VersionOf(page);
        Assert.That(version, Is.Not.Empty);
        if (version != compiler.NvrtcVersion)
        {
            Assert.Ignore($"{KernelResourceTable.Page} was made with NVRTC {version}; this is {compiler.NvrtcVersion}.");
        }

        Assert.That(page, Is.EqualTo(KernelResourceTable.ToMarkdown(compiler)), $"The kernels changed: run './saturn kernels build --table > {KernelResourceTable.Page}' and look at the difference.");
    }
}
