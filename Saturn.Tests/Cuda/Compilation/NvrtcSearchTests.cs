using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Tests.Cuda.Compilation;

/// <summary>The search for NVRTC over a file system made up in a temporary folder: its order, and what it says when nothing does.</summary>
[Platform("Linux")]
public sealed class NvrtcSearchTests
{
    private string root = null!;
    private Dictionary<string, string> environment = null!;
    private List<string> loaded = null!;

    [SetUp]
    public void CreateRoot()
    {
        root = Directory.CreateTempSubdirectory("saturn-search-").FullName;
        environment = new() { ["HOME"] = Path.Combine(root, "home") };
        loaded = [];
    }

    [TearDown]
    public void DeleteRoot() => Directory.Delete(root, true);

    [Test]
    public void Places_are_tried_in_order_and_all_are_named()
    {
        environment["CUDA_PATH"] = Path.Combine(root, "toolkit");
        environment["VIRTUAL_ENV"] = Path.Combine(root, "venv");
        string[] files =
        [
            Place("toolkit/lib64/libnvrtc.so.12"), Place("usr/local/cuda/targets/x86_64-linux/lib/libnvrtc.so.13"), Place("usr/local/cuda-12.9/lib64/libnvrtc.so.12"),
            Place("usr/local/cuda-11.8/lib64/libnvrtc.so.11.2"), Place("home/.cache/saturn/nvrtc/libnvrtc.so.12"), Place("venv/lib/python3.12/site-packages/nvidia/cu13/lib/libnvrtc.so.13"),
            Place("home/.local/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"), Place("home/.pyenv/versions/3.12.1/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"),
            Place("usr/lib/python3.11/dist-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"),
        ];
        NvrtcNotFoundException exception = Assert.Throws<NvrtcNotFoundException>(() => Search(_ => null).Find())!;
        string[] expected = [.. files[..4], "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", .. files[4..]];
        Assert.That(loaded, Is.EqualTo(expected));
        Assert.That(exception.Message, Does.Contain("tools/install-nvrtc.sh").And.Contain("SATURN_NVRTC"));
        foreach (string path in expected)
        {
            Assert.That(exception.Message, Does.Contain($"{path}: cannot be loaded here"));
        }

        Assert.That(exception.Message, Does.Contain("CUDA_HOME: not set").And.Contain($"{Path.Combine(root, "toolkit/targets/x86_64-linux/lib")}: no such folder"));
    }

    [Test]
    public void The_newest_version_of_a_folder_is_tried_first()
    {
        environment["SATURN_CACHE_DIR"] = Path.Combine(root, "cache");
        string[] files = [Place("cache/nvrtc/libnvrtc.so.13"), Place("cache/nvrtc/libnvrtc.so.12"), Place("cache/nvrtc/libnvrtc.so.11.2")];
        Assert.Throws<NvrtcNotFoundException>(() => Search(_ => null).Find());
        Assert.That(loaded.Where(Path.IsPathRooted), Is.EqualTo(files));
    }

    [Test]
    public void Caching_turned_off_leaves_the_installed_library_in_its_place()
    {
        environment["SATURN_CACHE_DIR"] = "off";
        string file = Place("home/.cache/saturn/nvrtc/libnvrtc.so.12");
        Assert.Throws<NvrtcNotFoundException>(() => Search(_ => null).Find());
        Assert.That(loaded, Does.Contain(file));
    }

    [TestCase("elsewhere", "no such file or folder")]
    [TestCase("empty", "none of libnvrtc.so.13, libnvrtc.so.12, libnvrtc.so.11.2")]
    [TestCase("broken/libnvrtc.so.12", "cannot be loaded here")]
    [TestCase("broken", "cannot be loaded here")]
    public void A_named_library_that_does_not_do_is_never_replaced_by_another(string named, string expected)
    {
        Place("home/.cache/saturn/nvrtc/libnvrtc.so.12");
        Place("broken/libnvrtc.so.12");
        Directory.CreateDirectory(Path.Combine(root, "empty"));
        environment["SATURN_NVRTC"] = Path.Combine(root, named);
        NvrtcNotFoundException exception = Assert.Throws<NvrtcNotFoundException>(() => Search(_ => null).Find())!;
        Assert.That(exception.Searched, Has.Count.EqualTo(1));
        Assert.That(exception.Searched[0].ToString(), Does.StartWith("SATURN_NVRTC: ").And.Contain(expected));
    }

    [Test]
    public void A_library_without_nvrtcs_functions_is_refused()
    {
        Place("home/.cache/saturn/nvrtc/libnvrtc.so.12");
        NvrtcNotFoundException exception = Assert.Throws<NvrtcNotFoundException>(() => Search(path => Path.IsPathRooted(path) ? NativeLibrary.GetMainProgramHandle() : null).Find())!;
        Assert.That(exception.Message, Does.Contain("nvrtcGetErrorString"));
    }

    [Test]
    public void A_library_whose_companion_is_missing_is_passed_over_and_a_complete_one_is_taken()
    {
        Nvrtc.Require();
        using KernelCompiler compiler = KernelCompiler.Create();
        string builtins = $"libnvrtc-builtins.so.{compiler.NvrtcVersion}";
        string alone = Place("usr/local/cuda/lib64/libnvrtc.so.12");
        string complete = Place("home/.cache/saturn/nvrtc/libnvrtc.so.12");
        string companion = Place($"home/.cache/saturn/nvrtc/{builtins}");
        NvrtcSearch search = Search(path => path == alone || path == complete || path == companion ? NativeLibrary.Load(compiler.NvrtcPath) : null);
        NvrtcLibrary library = search.Find();
        Assert.That(library.Path, Is.EqualTo(complete));
        Assert.That(library.Version.ToString(), Is.EqualTo(compiler.NvrtcVersion));
        Assert.That(loaded[^1], Is.EqualTo(companion));
        Assert.That(search.Attempts.Single(attempt => attempt.Path == alone).Outcome, Does.Contain($"{builtins} is not beside it"));
        Assert.That(search.Attempts[^1].ToString(), Is.EqualTo($"Saturn's cache: {complete}: version {compiler.NvrtcVersion}"));
    }

    private string Place(string path)
    {
        string file = Path.Combine(root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, "");
        return file;
    }

    private NvrtcSearch Search(Func<string, nint?> handleOf) => new(environment.GetValueOrDefault, root, path =>
    {
        loaded.Add(path);
        return handleOf(path) ?? throw new DllNotFoundException("cannot be loaded here");
    });
}
