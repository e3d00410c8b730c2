namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>The folders in which the libraries and programs of CUDA toolkits, and NVIDIA's Python packages, lie.</summary>
/// <param name="environment">Reads environment variables.</param>
/// <param name="root">Where absolute folders begin: <c>/</c>, or a test's own.</param>
internal sealed class CudaFolders(Func<string, string?> environment, string root)
{
    /// <summary>Folders with libraries of CUDA toolkits, and what names them; null for a variable that is not set.</summary>
    public IEnumerable<(string Place, string? Folder)> Toolkits()
    {
        string[] below = OperatingSystem.IsWindows() ? ["bin", "bin/x64"] : ["lib64", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib", "lib"];
        return Homes().SelectMany(home => home.Folder is null ? [home] : below.Select(folder => (home.Place, (string?)Path.Combine(home.Folder, folder))));
    }

    /// <summary>Folders with programs of CUDA toolkits, and what names them; null for a variable that is not set.</summary>
    public IEnumerable<(string Place, string? Folder)> Programs()
    {
        IEnumerable<(string Place, string? Home)> homes = [.. Homes(), ("CUDA folder", Path.Combine(root, "opt/cuda"))];
        return homes.Select(one => (one.Place, one.Home is null ? null : Path.Combine(one.Home, "bin")));
    }

    private IEnumerable<(string Place, string? Folder)> Homes()
    {
        foreach (string variable in (string[])["CUDA_PATH", "CUDA_HOME"])
        {
            yield return (variable, environment(variable) is { Length: > 0 } home ? home : null);
        }

        if (OperatingSystem.IsWindows())
        {
            yield break;
        }

        // /usr/local/cuda is a link to the version that the machine's owner prefers; the others follow, newest first.
        string local = Path.Combine(root, "usr/local");
        string[] installed = Folders(local, "cuda-*").OrderByDescending(folder => Version.TryParse(Path.GetFileName(folder)["cuda-".Length..], out Version? version) ? version : new Version(0, 0)).ToArray();
        foreach (string home in (string[])[Path.Combine(local, "cuda"), .. installed])
        {
            yield return ("CUDA folder", home);
        }
    }

    /// <summary>Folders of installed packages of the usual Pythons; some may not exist.</summary>
    public IEnumerable<string> PythonPackages()
    {
        foreach (string home in PythonHomes())
        {
            if (OperatingSystem.IsWindows())
            {
                yield return Path.Combine(home, "Lib", "site-packages");
                continue;
            }

            foreach (string version in Folders(Path.Combine(home, "lib"), "python3*"))
            {
                yield return Path.Combine(version, "site-packages");
                yield return Path.Combine(version, "dist-packages");
            }
        }
    }

    /// <summary>Where the usual Pythons keep their libraries.</summary>
    public IEnumerable<string> PythonHomes()
    {
        foreach (string variable in (string[])["VIRTUAL_ENV", "CONDA_PREFIX"])
        {
            if (environment(variable) is { Length: > 0 } home)
            {
                yield return home;
            }
        }

        if (OperatingSystem.IsWindows())
        {
            string programs = Path.Combine(environment("LOCALAPPDATA") ?? "", "Programs", "Python");
            foreach (string version in Folders(programs, "Python3*"))
            {
                yield return version;
            }

            yield break;
        }

        if (environment("HOME") is { Length: > 0 } user)
        {
            yield return Path.Combine(user, ".local");
            foreach (string version in Folders(Path.Combine(user, ".pyenv/versions"), "*"))
            {
                yield return version;
            }
        }

        yield return Path.Combine(root, "usr/local");
        yield return Path.Combine(root, "usr");
    }

    private static string[] Folders(string parent, string pattern) => Directory.Exists(parent) ? [.. Directory.GetDirectories(parent, pattern).Order(StringComparer.Ordinal)] : [];
}
