using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Diagnostics;

namespace Saturn.Kernels.Cuda.Cublas;

/// <summary>
/// Looks for cuBLAS: <c>SATURN_CUBLAS</c>, the CUDA folders, the loader's path, and Python packages, in this order. Every step is recorded. Saturn works without it.
/// </summary>
/// <param name="environment">Reads environment variables.</param>
/// <param name="root">Where absolute folders begin: <c>/</c>, or a test's own.</param>
/// <param name="load">Loads a library by path or name, or throws with the loader's reason.</param>
internal sealed class CublasSearch(Func<string, string?> environment, string root, Func<string, nint> load)
{
    private static readonly string[] FileNames = OperatingSystem.IsWindows()
        ? ["cublas64_13.dll", "cublas64_12.dll", "cublas64_11.dll"]
        : ["libcublas.so.13", "libcublas.so.12", "libcublas.so.11"];

    private static readonly string[] InsidePackages = OperatingSystem.IsWindows() ? ["nvidia/cu13/bin/x86_64", "nvidia/cublas/bin"] : ["nvidia/cu13/lib", "nvidia/cublas/lib"];

    private readonly List<NativeLibraryAttempt> attempts = [];

    /// <summary>What was tried, in order; the last one is what was found.</summary>
    public IReadOnlyList<NativeLibraryAttempt> Attempts => attempts;

    /// <summary>A search of this machine.</summary>
    public static CublasSearch OfThisMachine() => new(Environment.GetEnvironmentVariable, "/", NativeLibrary.Load);

    /// <summary>The first library that loads and has every function that Saturn calls; null where there is none or it is turned off.</summary>
    public CublasLibrary? Find()
    {
        string variable = EnvironmentVariable.Cublas.Name;
        switch (environment(variable))
        {
            case "off":
                attempts.Add(new NativeLibraryAttempt(variable, "", "turned off"));
                return null;
            case { Length: > 0 } named:
                // A named library that does not do must not be replaced silently by another one.
                return Directory.Exists(named) ? TryFolder(variable, named) : TryFile(variable, Path.GetFullPath(named));
        }

        attempts.Add(new NativeLibraryAttempt(variable, "", "not set"));
        CudaFolders folders = new(environment, root);
        return folders.Toolkits().Where(place => place.Folder is not null).Select(place => TryFolder(place.Place, place.Folder!)).FirstOrDefault(found => found is not null)
            ?? FileNames.Select(name => TryLoad("loader path", name)).FirstOrDefault(found => found is not null)
            ?? folders.PythonPackages().SelectMany(packages => InsidePackages.Select(inside => Path.Combine(packages, inside)))
                .Select(folder => TryFolder("Python package", folder)).FirstOrDefault(found => found is not null);
    }

    private CublasLibrary? TryFolder(string place, string folder)
    {
        string[] files = [.. FileNames.Select(name => Path.Combine(folder, name)).Where(File.Exists)];
        if (files.Length == 0)
        {
            attempts.Add(new NativeLibraryAttempt(place, folder, $"none of {string.Join(", ", FileNames)}"));
        }

        return files.Select(file => TryFile(place, file)).FirstOrDefault(found => found is not null);
    }

    private CublasLibrary? TryFile(string place, string path)
    {
        if (!File.Exists(path))
        {
            attempts.Add(new NativeLibraryAttempt(place, path, "no such file or folder"));
            return null;
        }

        // cuBLAS opens this companion by name, and finds it beside itself only where it is loaded already.
        string companion = Path.Combine(Path.GetDirectoryName(path)!, Path.GetFileName(path).Replace("cublas", "cublasLt", StringComparison.Ordinal));
        return !File.Exists(companion) || TryLoad(place, companion, load) ? TryLoad(place, path) : null;
    }

    private CublasLibrary? TryLoad(string place, string path)
    {
        CublasLibrary? library = null;
        if (TryLoad(place, path, name =>
        {
            nint handle = load(name);
            library = new CublasLibrary(handle, name);
            return handle;
        }))
        {
            attempts.Add(new NativeLibraryAttempt(place, path, "found"));
        }

        return library;
    }

    private bool TryLoad(string place, string path, Func<string, nint> open)
    {
        try
        {
            open(path);
            return true;
        }
        catch (Exception exception) when (exception is DllNotFoundException or BadImageFormatException or EntryPointNotFoundException)
        {
            attempts.Add(NativeLibraryAttempt.Failed(place, path, exception));
            return false;
        }
    }
}
