using NUnit.Framework;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Tests.Cuda.Compilation;

/// <summary>The search for nvdisasm over a file system made up in a temporary folder.</summary>
[Platform("Linux")]
public sealed class NvdisasmSearchTests
{
    private string root = null!;
    private Dictionary<string, string> environment = null!;

    [SetUp]
    public void CreateRoot()
    {
        root = Directory.CreateTempSubdirectory("saturn-search-").FullName;
        environment = new() { ["HOME"] = Path.Combine(root, "home"), ["PATH"] = $"{Path.Combine(root, "nowhere")}:{Path.Combine(root, "usr/bin")}" };
    }

    [TearDown]
    public void DeleteRoot() => Directory.Delete(root, true);

    [Test]
    public void Places_are_tried_in_order()
    {
        environment["SATURN_NVDISASM"] = Path.Combine(root, "named");
        environment["CUDA_PATH"] = Path.Combine(root, "toolkit");
        string[] files =
        [
            Place("named/nvdisasm"), Place("usr/bin/nvdisasm"), Place("toolkit/bin/nvdisasm"), Place("usr/local/cuda/bin/nvdisasm"), Place("usr/local/cuda-12.9/bin/nvdisasm"), Place("usr/local/cuda-11.8/bin/nvdisasm"),
            Place("opt/cuda/bin/nvdisasm"), Place("home/.cache/saturn/nvdisasm/nvdisasm"),
        ];
        foreach (string file in files)
        {
            Assert.That(Search().Find(), Is.EqualTo(file));
            File.Delete(file);
            environment.Remove("SATURN_NVDISASM");
        }

        NvdisasmNotFoundException exception = Assert.Throws<NvdisasmNotFoundException>(() => Search().Find())!;
        Assert.That(exception.Message, Does.Contain("tools/install-nvrtc.sh --disassembler").And.Contain("SATURN_NVDISASM: not set; PATH: no nvdisasm").And.Contain("CUDA_HOME: not set").And.Contain($"{root}/opt/cuda/bin: no nvdisasm"));
    }

    [TestCase("cache", "cache/nvdisasm/nvdisasm")]
    [TestCase("off", "home/.cache/saturn/nvdisasm/nvdisasm")]
    public void The_cache_folder_may_be_elsewhere_or_turned_off(string chosen, string expected)
    {
        environment["SATURN_CACHE_DIR"] = chosen == "off" ? chosen : Path.Combine(root, chosen);
        Assert.That(Place(expected), Is.EqualTo(Search().Find()));
    }

    [TestCase("elsewhere")]
    [TestCase("empty")]
    public void A_named_program_that_is_not_there_is_never_replaced_by_another(string named)
    {
        Place("usr/bin/nvdisasm");
        Directory.CreateDirectory(Path.Combine(root, "empty"));
        environment["SATURN_NVDISASM"] = Path.Combine(root, named);
        NvdisasmNotFoundException exception = Assert.Throws<NvdisasmNotFoundException>(() => Search().Find())!;
        Assert.That(exception.Searched.Single().ToString(), Does.StartWith($"SATURN_NVDISASM: {root}/{named}").And.EndsWith("no such file"));
    }

    private string Place(string path)
    {
        string file = Path.Combine(root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, "");
        return file;
    }

    private NvdisasmSearch Search() => new(environment.GetValueOrDefault, root);
}
