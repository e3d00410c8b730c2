using System.ComponentModel;
using System.Diagnostics;
using System.Text.RegularExpressions;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>Prints machine code as assembly, by nvdisasm, a program of the CUDA toolkit that needs no GPU. Any number of threads may use it at once.</summary>
public sealed partial class Disassembler
{
    private readonly Lazy<Version> version;

    private Disassembler(string path)
    {
        Path = path;
        version = new Lazy<Version>(() => Version.TryParse(Release().Match(Run("--version")).Groups["version"].Value, out Version? found) ? found : new Version(0, 0));
    }

    /// <summary>Where nvdisasm was found.</summary>
    public string Path { get; }

    /// <summary>The CUDA version that it belongs to, such as 12.4; it may not know the machine code of a newer one.</summary>
    public Version Version => version.Value;

    /// <summary>The first nvdisasm that is found: <c>SATURN_NVDISASM</c>, the PATH, CUDA's folders, Saturn's cache folder.</summary>
    /// <exception cref="NvdisasmNotFoundException">There is none.</exception>
    public static Disassembler Find() => new(NvdisasmSearch.OfThisMachine().Find());

    /// <summary>The listing of a module's machine code.</summary>
    /// <exception cref="ArgumentException">The module is PTX.</exception>
    /// <exception cref="InvalidOperationException">nvdisasm cannot be run, or does not know this machine code.</exception>
    public string Listing(CompiledModule module)
    {
        ArgumentNullException.ThrowIfNull(module);
        if (module.IsPtx)
        {
            throw new ArgumentException($"{module.SourceName} was compiled to PTX for {module.Architecture}, which has no machine code; ask for a target such as sm_80.");
        }

        string file = System.IO.Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(file, module.Image);
            return Run("--print-code", file);
        }
        finally
        {
            File.Delete(file);
        }
    }

    /// <summary>The kernels of a module, by instructions and loops.</summary>
    /// <exception cref="ArgumentException">The module is PTX.</exception>
    /// <exception cref="InvalidOperationException">nvdisasm cannot be run, or does not know this machine code.</exception>
    public IReadOnlyList<MachineKernel> Read(CompiledModule module) => MachineListing.Kernels(Listing(module));

    private string Run(params string[] arguments)
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo(Path, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0 ? output : throw new InvalidOperationException($"{Path} failed with exit code {process.ExitCode}: {errors.Result.Trim().ReplaceLineEndings("; ")}.");
        }
        catch (Win32Exception exception)
        {
            throw new InvalidOperationException($"{Path} cannot be run: {exception.Message}.", exception);
        }
    }

    [GeneratedRegex(@"release (?<version>\d+\.\d+)")]
    private static partial Regex Release();
}
