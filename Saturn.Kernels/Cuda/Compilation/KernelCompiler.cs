using System.Text;
using System.Text.RegularExpressions;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>
/// Compiles <c>.cu</c> files with NVRTC, which needs no GPU and no driver. What was compiled once is kept in the process and on disk. Any number of threads may compile at once.
/// </summary>
public sealed partial class KernelCompiler : IDisposable
{
    // One library and one memory for the process: devices come and go.
    private static readonly Lazy<NvrtcLibrary> Shared = new(() => NvrtcSearch.OfThisMachine().Find());

    private readonly NvrtcLibrary library;

    internal KernelCompiler(NvrtcLibrary library) => this.library = library;

    /// <summary>A compiler on the first NVRTC that is found.</summary>
    /// <exception cref="NvrtcNotFoundException">There is none.</exception>
    public static KernelCompiler Create() => new(Shared.Value);

    /// <summary>NVRTC's version, such as 12.4.</summary>
    public string NvrtcVersion => library.Version.ToString();

    /// <summary>Where NVRTC was found.</summary>
    public string NvrtcPath => library.Path;

    /// <summary>
    /// Compiles a file. Where the machine code that was asked for is newer than this NVRTC, the result is PTX for the newest architecture it knows, which the driver translates.
    /// </summary>
    /// <exception cref="KernelCompilationException">The file has an error or a warning, or a struct's layout differs from C#'s.</exception>
    /// <exception cref="ArgumentException">The target's name is malformed, or its architecture is older than NVRTC supports.</exception>
    public CompiledModule Compile(KernelSource source, KernelTarget target)
    {
        ArgumentNullException.ThrowIfNull(source);
        KernelTarget resolved = Resolve(target);
        string[] options = Options(resolved);
        return CompileNow(source, resolved, options);
    }

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

    private KernelTarget Resolve(KernelTarget target)
    {
        int capability = target.Capability;
        IReadOnlyList<int> known = library.Capabilities;
        if (known.Contains(capability))
        {
            return target;
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
        if (image is null || diagnostics.Count > 0)
        {
            // NVRTC has no option that makes warnings errors in all versions, so Saturn counts.
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

    [GeneratedRegex("""(?<start>\.file\s+\d+\s+")[^"]*/(?<name>[^"/]+)".*""")]
    private static partial Regex FilePath();
}
