using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Kernels.Cuda.Driver;

/// <summary>
/// Looks for the CUDA driver's library: <c>SATURN_CUDA_DRIVER</c>, the loader's path, then the folders where distributions, WSL and containers put it. Every step is recorded.
/// </summary>
/// <param name="environment">Reads environment variables.</param>
/// <param name="root">Where absolute folders begin: <c>/</c>, or a test's own.</param>
/// <param name="load">Loads a library by path or name, or throws with the loader's reason.</param>
internal sealed class DriverSearch(Func<string, string?> environment, string root, Func<string, nint> load)
{
    /// <summary>The variable that names the library or its folder.</summary>
    public const string Variable = "SATURN_CUDA_DRIVER";

    // The compatibility package comes last: where the machine's own driver is found, it fits the kernel module for certain.
    private static readonly string[] Folders =
    [
        "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib/wsl/lib", "usr/lib/x86_64-linux-gnu/nvidia/current", "usr/lib64/nvidia",
        "usr/local/nvidia/lib64", "run/opengl-driver/lib", "usr/local/cuda/compat",
    ];

    private readonly List<NativeLibraryAttempt> attempts = [];

    /// <summary>The library's file name on this system.</summary>
    public static string FileName => OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1";

    /// <summary>What was tried, in order; the last one is what was found.</summary>
    public IReadOnlyList<NativeLibraryAttempt> Attempts => attempts;

    /// <summary>A search of this machine.</summary>
    public static DriverSearch OfThisMachine() => new(Environment.GetEnvironmentVariable, "/", NativeLibrary.Load);

    /// <summary>The first library that loads and has every function that Saturn calls, or null.</summary>
    public DriverFunctions? Find()
    {
        // A named library that does not do must not be replaced silently by another one.
        if (environment(Variable) is { Length: > 0 } named)
        {
            string path = Directory.Exists(named) ? Path.Combine(named, FileName) : named;
            return TryFile(Variable, Path.GetFullPath(path));
        }

        attempts.Add(new NativeLibraryAttempt(Variable, "", "not set"));
        DriverFunctions? found = TryLoad("loader path", FileName, null);
        if (found is not null || OperatingSystem.IsWindows())
        {
            return found;
        }

        foreach (string folder in Folders)
        {
            if (TryFile("usual folder", Path.Combine(root, folder, FileName)) is { } library)
            {
                return library;
            }
        }

        return null;
    }

    private DriverFunctions? TryFile(string place, string path)
    {
        if (!File.Exists(path))
        {
            attempts.Add(new NativeLibraryAttempt(place, path, "no such file"));
            return null;
        }

        return TryLoad(place, path, path);
    }

    private DriverFunctions? TryLoad(string place, string name, string? path)
    {
        try
        {
            DriverFunctions functions = new(load(name), path ?? NvrtcSearch.LoadedPath(Path.GetFileNameWithoutExtension(FileName)) ?? name);
            attempts.Add(new NativeLibraryAttempt(place, functions.Path, "found"));
            return functions;
        }
        catch (Exception exception) when (exception is DllNotFoundException or BadImageFormatException or EntryPointNotFoundException)
        {
            attempts.Add(NativeLibraryAttempt.Failed(place, name, exception));
            return null;
        }
    }
}
