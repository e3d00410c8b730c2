using System.Runtime.InteropServices;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>
/// Looks for NVRTC: <c>SATURN_NVRTC</c>, the CUDA folders, the loader's path, the folder that tools/install-nvrtc.sh fills, and Python packages, in this order. Every step is recorded.
/// </summary>
/// <param name="environment">Reads environment variables.</param>
/// <param name="root">Where absolute folders begin: <c>/</c>, or a test's own.</param>
/// <param name="load">Loads a library by path or name, or throws with the loader's reason.</param>
internal sealed class NvrtcSearch(Func<string, string?> environment, string root, Func<string, nint> load)
{
    private static readonly Version Oldest = new(11, 8);

    // Newest first. Windows names carry the version of the interface: 11.2 stands for 11.2 to 11.8.
    private static readonly string[] FileNames = OperatingSystem.IsWindows()
        ? ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll", "nvrtc64_112_0.dll"]
        : ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"];

    private readonly CudaFolders folders = new(environment, root);
    private readonly List<NativeLibraryAttempt> attempts = [];

    /// <summary>What was tried, in order; the last one is what was found.</summary>
    public IReadOnlyList<NativeLibraryAttempt> Attempts => attempts;

    /// <summary>A search of this machine.</summary>
    public static NvrtcSearch OfThisMachine() => new(Environment.GetEnvironmentVariable, "/", NativeLibrary.Load);

    /// <summary>The first library that does.</summary>
    /// <exception cref="NvrtcNotFoundException">There is none.</exception>
    public NvrtcLibrary Find()
    {
        // A named library that does not do must not be replaced silently by another one.
        if (environment("SATURN_NVRTC") is { Length: > 0 } named)
        {
            return TryNamed(named) ?? throw new NvrtcNotFoundException(attempts);
        }

        attempts.Add(new NativeLibraryAttempt("SATURN_NVRTC", "", "not set"));
        foreach ((string place, string? folder) in folders.Toolkits())
        {
            if (folder is null)
            {
                attempts.Add(new NativeLibraryAttempt(place, "", "not set"));
            }
            else if (TryFolder(place, folder) is { } library)
            {
                return library;
            }
        }

        foreach (string name in FileNames)
        {
            if (TryLoad("loader path", name, null) is { } library)
            {
                return library;
            }
        }

        foreach ((string place, string folder) in PackagedFolders())
        {
            if (TryFolder(place, folder) is { } library)
            {
                return library;
            }
        }

        throw new NvrtcNotFoundException(attempts);
    }

    private NvrtcLibrary? TryNamed(string named)
    {
        const string Place = "SATURN_NVRTC";
        if (Directory.Exists(named))
        {
            return TryFolder(Place, named);
        }

        if (!File.Exists(named))
        {
            attempts.Add(new NativeLibraryAttempt(Place, named, "no such file or folder"));
            return null;
        }

        return TryLoad(Place, Path.GetFullPath(named), Path.GetDirectoryName(Path.GetFullPath(named)));
    }

    private IEnumerable<(string Place, string Folder)> PackagedFolders()
    {
        yield return ("Saturn's cache", CacheFolder.Nvrtc(environment));
        string[] inside = OperatingSystem.IsWindows() ? ["nvidia/cu13/bin/x86_64", "nvidia/cuda_nvrtc/bin"] : ["nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"];
        foreach (string packages in folders.PythonPackages())
        {
            foreach (string folder in inside)
            {
                // Pythons are many; only packages that are there are worth a line.
                if (Directory.Exists(Path.Combine(packages, folder)))
                {
                    yield return ("Python package", Path.Combine(packages, folder));
                }
            }
        }

        attempts.Add(new NativeLibraryAttempt("Python packages", "", $"no other {string.Join(" or ", inside)} in the site-packages of {string.Join(", ", folders.PythonHomes())}"));
    }

    private NvrtcLibrary? TryFolder(string place, string folder)
    {
        if (!Directory.Exists(folder))
        {
            attempts.Add(new NativeLibraryAttempt(place, folder, "no such folder"));
            return null;
        }

        bool any = false;
        foreach (string name in FileNames)
        {
            string path = Path.Combine(folder, name);
            if (File.Exists(path))
            {
                any = true;
                if (TryLoad(place, path, folder) is { } library)
                {
                    return library;
                }
            }
        }

        if (!any)
        {
            attempts.Add(new NativeLibraryAttempt(place, folder, $"none of {string.Join(", ", FileNames)}"));
        }

        return null;
    }

    private NvrtcLibrary? TryLoad(string place, string path, string? folder)
    {
        try
        {
            NvrtcLibrary library = new(load(path), folder is null ? LoadedPath(path) ?? path : path);
            if (library.Version < Oldest)
            {
                attempts.Add(new NativeLibraryAttempt(place, path, $"is version {library.Version}, and Saturn needs {Oldest} or newer"));
                return null;
            }

            LoadBuiltins(library.Version, folder);
            attempts.Add(new NativeLibraryAttempt(place, library.Path, $"version {library.Version}"));
            return library;
        }
        catch (Exception exception) when (exception is DllNotFoundException or BadImageFormatException or EntryPointNotFoundException or InvalidOperationException)
        {
            attempts.Add(NativeLibraryAttempt.Failed(place, path, exception));
            return null;
        }
    }

    // NVRTC opens its builtins library by name at the first compilation and finds it only on the loader's path, or where it is already loaded.
    private void LoadBuiltins(Version version, string? folder)
    {
        string name = OperatingSystem.IsWindows() ? $"nvrtc-builtins64_{version.Major}{version.Minor}.dll" : $"libnvrtc-builtins.so.{version.Major}.{version.Minor}";
        if (folder is not null && File.Exists(Path.Combine(folder, name)))
        {
            load(Path.Combine(folder, name));
            return;
        }

        try
        {
            load(name);
        }
        catch (DllNotFoundException)
        {
            throw new DllNotFoundException($"its companion {name} is not beside it and not on the loader's path");
        }
    }

    /// <summary>The file of a loaded library whose name begins so, or null: the loader does not tell where it found a library, the process's memory map does.</summary>
    internal static string? LoadedPath(string name)
    {
        try
        {
            string? line = OperatingSystem.IsLinux() ? File.ReadLines("/proc/self/maps").FirstOrDefault(line => Path.GetFileName(line).StartsWith(name, StringComparison.Ordinal)) : null;
            return line?[line.IndexOf('/')..];
        }
        catch (IOException)
        {
            return null;
        }
    }
}
