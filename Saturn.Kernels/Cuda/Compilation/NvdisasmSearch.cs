namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>
/// Looks for nvdisasm: <c>SATURN_NVDISASM</c>, the PATH, the CUDA folders, and the folder that tools/install-nvrtc.sh --disassembler fills, in this order. Every step is recorded.
/// </summary>
/// <param name="environment">Reads environment variables.</param>
/// <param name="root">Where absolute folders begin: <c>/</c>, or a test's own.</param>
internal sealed class NvdisasmSearch(Func<string, string?> environment, string root)
{
    private static readonly string FileName = OperatingSystem.IsWindows() ? "nvdisasm.exe" : "nvdisasm";

    private readonly List<NativeLibraryAttempt> attempts = [];

    /// <summary>A search of this machine.</summary>
    public static NvdisasmSearch OfThisMachine() => new(Environment.GetEnvironmentVariable, "/");

    /// <summary>The path of the first one.</summary>
    /// <exception cref="NvdisasmNotFoundException">There is none.</exception>
    public string Find()
    {
        // A named program that is not there must not be replaced silently by another one.
        if (environment("SATURN_NVDISASM") is { Length: > 0 } named)
        {
            string path = Path.GetFullPath(Directory.Exists(named) ? Path.Combine(named, FileName) : named);
            return File.Exists(path) ? path : throw Missing("SATURN_NVDISASM", path, "no such file");
        }

        attempts.Add(new NativeLibraryAttempt("SATURN_NVDISASM", "", "not set"));
        foreach (string folder in (environment("PATH") ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            if (File.Exists(Path.Combine(folder, FileName)))
            {
                return Path.GetFullPath(Path.Combine(folder, FileName));
            }
        }

        attempts.Add(new NativeLibraryAttempt("PATH", "", $"no {FileName}"));
        foreach ((string place, string? folder) in new CudaFolders(environment, root).Programs().Append(("Saturn's cache", CacheFolder.Nvdisasm(environment))))
        {
            if (folder is not null && File.Exists(Path.Combine(folder, FileName)))
            {
                return Path.Combine(folder, FileName);
            }

            attempts.Add(new NativeLibraryAttempt(place, folder ?? "", folder is null ? "not set" : Directory.Exists(folder) ? $"no {FileName}" : "no such folder"));
        }

        throw new NvdisasmNotFoundException(attempts);
    }

    private NvdisasmNotFoundException Missing(string place, string path, string outcome)
    {
        attempts.Add(new NativeLibraryAttempt(place, path, outcome));
        return new NvdisasmNotFoundException(attempts);
    }
}
