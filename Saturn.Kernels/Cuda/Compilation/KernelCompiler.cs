using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>
/// Compiles <c>.cu</c> files with NVRTC, which needs no GPU and no driver. What was compiled once is kept in the process and on disk. Any number of threads may compile at once.
/// </summary>
public sealed partial class KernelCompiler : IDisposable
{
    /// <summary>The newest major version of NVRTC that all kernels are known to compile with, without a warning.</summary>
    private const int LastTriedVersion = 12;

    // One library and one memory for the process: devices come and go.
    private static readonly Lazy<NvrtcLibrary> SharedLibrary = new(() => NvrtcSearch.OfThisMachine().Find());
    private static readonly Lazy<KernelCache> SharedCache = new(() => new KernelCache(CacheFolder.Kernels(Environment.GetEnvironmentVariable)));

    private readonly NvrtcLibrary library;
    private readonly KernelCache cache;

    internal KernelCompiler(NvrtcLibrary library, KernelCache cache)
    {
        this.library = library;
        this.cache = cache;
    }

    /// <summary>A compiler on the first NVRTC that is found, with the user's cache: <c>~/.cache/saturn/kernels</c>, or <c>SATURN_CACHE_DIR</c>, where <c>off</c> stands for none.</summary>
    /// <exception cref="NvrtcNotFoundException">There is no NVRTC.</exception>
    public static KernelCompiler Create() => new(SharedLibrary.Value, SharedCache.Value);

    /// <summary>The same NVRTC with another cache.</summary>
    internal static KernelCompiler Create(KernelCache cache) => new(SharedLibrary.Value, cache);

    /// <summary>NVRTC's version, such as 12.4.</summary>
    public string NvrtcVersion => library.Version.ToString();

    /// <summary>Where NVRTC was found.</summary>
    public string NvrtcPath => library.Path;

    /// <summary>
    /// Compiles a file. Where the machine code that was asked for is newer than this NVRTC, the result is PTX for the newest architecture it knows, which the driver translates.
    /// </summary>
    /// <exception cref="KernelCompilationException">The file has an error or, with an NVRTC up to version 12, a warning; or a struct's layout differs from C#'s.</exception>
    /// <exception cref="ArgumentException">The target's name is malformed, or its architecture is older than NVRTC supports.</exception>
    public CompiledModule Compile(KernelSource source, KernelTarget target)
    {
        ArgumentNullException.ThrowIfNull(source);
        KernelTarget resolved = Resolve(target);
        string[] options = Options(resolved);
        return cache.Get(Key(source, options), () => CompileNow(source, resolved, options));
    }

    /// <summary>Compiles a file whether or not the result is known, and puts it into the cache.</summary>
    internal CompiledModule CompileAgain(KernelSource source, KernelTarget target)
    {
        KernelTarget resolved = Resolve(target);
        string[] options = Options(resolved);
        return cache.Store(Key(source, options), CompileNow(source, resolved, options));
    }

    /// <summary>The name of a file's result in the cache.</summary>
    internal string Key(KernelSource source, KernelTarget target) => Key(source, Options(Resolve(target)));

    /// <summary>Ends the use of this compiler; the library stays with the process.</summary>
    public void Dispose()
    {
    }

    private static string[] Options(KernelTarget target)
    {
        // No fast mathematics: what a kernel rounds, its source says. Line numbers cost nothing at run time.
        List<string> options = [$"--gpu-architecture={target.Architecture}", "--std=c++17", "-lineinfo"];
        if (!target.IsPtx)
        {
            options.Add("--ptxas-options=-v");
        }

        return [.. options];
    }

    // Everything that the result depends on, each part with its length, so that no two lists of parts read the same.
    private string Key(KernelSource source, string[] options)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Add($"Saturn kernel cache {KernelCache.FormatVersion}");
        Add(library.Identity);
        Add(source.FileName);
        Add(source.Text);
        Add(source.LayoutChecks);
        foreach ((string name, string text) in source.Headers)
        {
            Add(name);
            Add(text);
        }

        Add($"{source.Headers.Count} headers");
        foreach (string option in options)
        {
            Add(option);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());

        void Add(string part)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(part);
            hash.AppendData(BitConverter.GetBytes(bytes.Length));
            hash.AppendData(bytes);
        }
    }

    private KernelTarget Resolve(KernelTarget target)
    {
        int capability = target.Capability;
        IReadOnlyList<int> known = library.Capabilities;
        if (known.Contains(capability))
        {
            // NVRTC 11 knows no features of one architecture alone, which kernels ask the preprocessor for; and its assembler overflows the stack on convolutions for sm_90, so that the driver's must do.
            return library.Version.Major >= 12 ? target : new KernelTarget(capability >= 90 ? $"compute_{capability}" : target.Architecture);
        }

        return !target.IsPtx && capability > known[^1]
            ? new KernelTarget($"compute_{known[^1]}")
            : throw new ArgumentException(
                $"NVRTC {NvrtcVersion} ({NvrtcPath}) does not compile for {target}; it knows {string.Join(", ", known.Select(number => $"sm_{number}"))}. Name another NVRTC in SATURN_NVRTC.");
    }

    private CompiledModule CompileNow(KernelSource source, KernelTarget target, string[] options)
    {
        (byte[]? image, string log, string error) = library.Compile(source.FileName, source.Text + source.LayoutChecks, source.Headers, options, target.IsPtx);
        IReadOnlyList<KernelDiagnostic> diagnostics = CompilerLog.Diagnostics(log, name => source.TextOf(name));

        // NVRTC has no option that makes warnings errors in all versions, so Saturn counts. What a version that nobody has tried warns of must not stop all work: it stays in the module's log.
        bool warningsCount = library.Version.Major <= LastTriedVersion;
        if (image is null || (warningsCount && diagnostics.Count > 0))
        {
            throw new KernelCompilationException(source.FileName, target.Architecture, image is null ? error : "warnings count as errors", diagnostics, log);
        }

        if (!target.IsPtx)
        {
            return new CompiledModule(source.FileName, target.Architecture, image, CompilerLog.Resources(log), log);
        }

        // NVRTC writes the working folder before file names, which would make the result depend on where it was compiled.
        string ptx = FilePath().Replace(Encoding.UTF8.GetString(image), match => source.TextOf(match.Groups["name"].Value) is null ? match.Value : $"{match.Groups["start"].Value}{match.Groups["name"].Value}\"");
        return new CompiledModule(source.FileName, target.Architecture, Encoding.UTF8.GetBytes(ptx), CompilerLog.Entries(ptx), log);
    }

    [GeneratedRegex("""(?<start>\.file\s+\d+\s+")[^"]*[/\\](?<name>[^"/\\]+)".*""")]
    private static partial Regex FilePath();
}
