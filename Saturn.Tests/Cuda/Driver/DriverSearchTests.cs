using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Cuda.Driver;

namespace Saturn.Tests.Cuda.Driver;

/// <summary>The search for the CUDA driver's library, in a root folder of the test's own.</summary>
public sealed class DriverSearchTests
{
    private DirectoryInfo root = null!;

    [SetUp]
    public void MakeRoot() => root = Directory.CreateTempSubdirectory("saturn-driver-");

    [TearDown]
    public void DeleteRoot() => root.Delete(recursive: true);

    [Test]
    public void A_missing_driver_is_told_with_every_place_searched_and_what_to_do()
    {
        string message = Assert.Throws<CudaException>(() => LibCudaDriver.Open(Search()))!.Message;
        Assert.That(message, Does.Contain("install the NVIDIA driver").And.Contain("--device cpu or --device emulated").And.Contain("SATURN_CUDA_DRIVER: not set").And.Contain("loader path"));
        if (!OperatingSystem.IsWindows())
        {
            Assert.That(message, Does.Contain("usr/lib/x86_64-linux-gnu").And.Contain("usr/lib64").And.Contain("usr/lib/wsl/lib").And.Contain("usr/local/cuda/compat"));
        }
    }

    [Test]
    public void A_library_that_was_named_is_not_replaced_by_another()
    {
        Place("usr/lib64");
        DriverSearch search = Search(("SATURN_CUDA_DRIVER", "/nowhere/libcuda.so.1"));
        Assert.That(search.Find(), Is.Null);
        Assert.That(search.Attempts, Has.Count.EqualTo(1));
        Assert.That(search.Attempts[0].ToString(), Does.Contain("/nowhere/libcuda.so.1").And.Contain("no such file"));
    }

    [Test]
    public void A_library_that_lacks_functions_is_no_driver()
    {
        string folder = Place("named");
        DriverSearch search = Search(("SATURN_CUDA_DRIVER", folder));
        Assert.That(search.Find(), Is.Null);
        Assert.That(search.Attempts[^1].Outcome, Does.Contain("cuInit"));
    }

    [Test]
    public void Usual_folders_follow_the_loaders_path()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Ignore("Windows has the loader's path only.");
        }

        Place("usr/lib/wsl/lib");
        DriverSearch search = Search();
        Assert.That(search.Find(), Is.Null);
        string[] places = [.. search.Attempts.Select(attempt => attempt.Path)];
        Assert.That(places[1], Is.EqualTo(DriverSearch.FileName));
        int tried = Array.FindIndex(places, place => place.Contains("wsl"));
        Assert.That(search.Attempts[tried].Outcome, Does.Contain("cuInit"));
        Assert.That(places[^1], Does.Contain("compat"), "the compatibility package comes last");
    }

    private string Place(string folder)
    {
        DirectoryInfo made = root.CreateSubdirectory(folder);
        File.WriteAllText(Path.Combine(made.FullName, DriverSearch.FileName), "");
        return made.FullName;
    }

    // Any library stands in for one of the wrong kind; the loader's path has none.
    private DriverSearch Search(params (string Name, string Value)[] environment) => new(
        name => environment.FirstOrDefault(pair => pair.Name == name).Value, root.FullName,
        path => Path.IsPathRooted(path) ? NativeLibrary.GetMainProgramHandle() : throw new DllNotFoundException("cannot open shared object file"));
}
