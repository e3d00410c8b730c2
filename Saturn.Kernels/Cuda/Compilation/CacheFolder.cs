namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>
/// Where Saturn keeps what it can make or fetch again: <c>SATURN_CACHE_DIR</c>, or the user's cache folder. <c>SATURN_CACHE_DIR=off</c> turns caches off; an installed NVRTC and an installed nvdisasm are still found.
/// </summary>
internal static class CacheFolder
{
    /// <summary>The folder of compiled kernels, or null where caching is off.</summary>
    public static string? Kernels(Func<string, string?> environment) => IsOff(environment) ? null : Path.Combine(Root(environment), "kernels");

    /// <summary>The folder that tools/install-nvrtc.sh fills.</summary>
    public static string Nvrtc(Func<string, string?> environment) => Path.Combine(Root(environment), "nvrtc");

    /// <summary>The folder that tools/install-nvrtc.sh --disassembler fills.</summary>
    public static string Nvdisasm(Func<string, string?> environment) => Path.Combine(Root(environment), "nvdisasm");

    private static bool IsOff(Func<string, string?> environment) => environment("SATURN_CACHE_DIR") == "off";

    private static string Root(Func<string, string?> environment)
    {
        if (environment("SATURN_CACHE_DIR") is { Length: > 0 } chosen && chosen != "off")
        {
            return Path.GetFullPath(chosen);
        }

        if (OperatingSystem.IsWindows())
        {
            return Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "saturn", "cache");
        }

        string caches = environment("XDG_CACHE_HOME") is { Length: > 0 } named ? named : Path.Combine(environment("HOME") ?? Path.GetTempPath(), ".cache");
        return Path.Combine(caches, "saturn");
    }
}
