using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Cuda.Cublas;

namespace Saturn.Tests.Cuda.Cublas;

/// <summary>The search for cuBLAS over a file system made up in a temporary folder: its order, what turns it off, and that nothing depends on it.</summary>
[Platform("Linux")]
public sealed class CublasSearchTests
{
    private string root = null!;
    private Dictionary<string, string> environment = null!;
    private List<string> loaded = null!;

    [SetUp]
    public void CreateRoot()
    {
        root = Directory.CreateTempSubdirectory("saturn-cublas-").FullName;
        environment = new() { ["HOME"] = Path.Combine(root, "home") };
        loaded = [];
    }

    [TearDown]
    public void DeleteRoot() => Directory.Delete(root, true);

    [Test]
    public void Places_are_tried_in_order_each_companion_before_its_library()
    {
        environment["CUDA_PATH"] = Path.Combine(root, "toolkit");
        string[] files =
        [
            Place("toolkit/lib64/libcublasLt.so.12"), Place("toolkit/lib64/libcublas.so.12"), Place("usr/local/cuda/lib64/libcublas.so.13"), Place("usr/local/cuda/lib64/libcublas.so.11"),
            Place("home/.local/lib/python3.11/site-packages/nvidia/cublas/lib/libcublasLt.so.12"), Place("home/.local/lib/python3.11/site-packages/nvidia/cublas/lib/libcublas.so.12"),
        ];
        CublasSearch search = Search(path => path.Contains("Lt", StringComparison.Ordinal) ? 1 : throw new DllNotFoundException("cannot be loaded here"));
        Assert.That(search.Find(), Is.Null);
        Assert.That(loaded, Is.EqualTo((string[])[.. files[..4], "libcublas.so.13", "libcublas.so.12", "libcublas.so.11", .. files[4..]]));
        string all = string.Join('\n', search.Attempts);
        foreach (string path in loaded.Where(path => !path.Contains("Lt", StringComparison.Ordinal)))
        {
            Assert.That(all, Does.Contain($"{path}: cannot be loaded here"));
        }
    }

    [Test]
    public void It_can_be_turned_off()
    {
        environment["SATURN_CUBLAS"] = "off";
        Place("usr/local/cuda/lib64/libcublas.so.13");
        CublasSearch search = Search(_ => 1);
        Assert.That(search.Find(), Is.Null);
        Assert.That(loaded, Is.Empty);
        Assert.That(search.Attempts[^1].ToString(), Is.EqualTo("SATURN_CUBLAS: turned off"));
    }

    [TestCase("elsewhere", "no such file or folder")]
    [TestCase("empty", "none of libcublas.so.13, libcublas.so.12, libcublas.so.11")]
    [TestCase("broken/libcublas.so.12", "cublasCreate_v2")]
    [TestCase("broken", "cublasCreate_v2")]
    public void A_named_library_that_does_not_do_is_never_replaced_by_another(string named, string expected)
    {
        Place("usr/local/cuda/lib64/libcublas.so.13");
        Place("broken/libcublas.so.12");
        Directory.CreateDirectory(Path.Combine(root, "empty"));
        environment["SATURN_CUBLAS"] = Path.Combine(root, named);
        // Any library stands in for one that lacks the functions.
        CublasSearch search = Search(_ => NativeLibrary.GetMainProgramHandle());
        Assert.That(search.Find(), Is.Null);
        Assert.That(search.Attempts[^1].ToString(), Does.Contain(expected));
        Assert.That(loaded, Has.None.Contains("usr/local"));
    }

    [Test]
    public void The_emulator_never_looks_for_it()
    {
        using CudaDevice device = new("idle", new IdleDriver());
        Assert.That(device.Context.Cublas, Is.Null);
    }

    private string Place(string file)
    {
        string path = Path.Combine(root, file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, "");
        return path;
    }

    private CublasSearch Search(Func<string, nint> load) => new(environment.GetValueOrDefault, root, path =>
    {
        loaded.Add(path);
        return load(path);
    });
}
