using System.Diagnostics;
using System.Text;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Cli;

/// <summary>A file's or a kernel's PTX, or its machine code as assembly where nvdisasm is installed.</summary>
internal static class KernelListing
{
    public static string Of(KernelCompiler compiler, string name, KernelTarget target)
    {
        (KernelSource source, string? kernel) = Find(compiler, name);
        CompiledModule module = compiler.Compile(source, target);
        if (module.IsPtx)
        {
            return kernel is null ? module.PtxText() : Entry(module.PtxText(), kernel);
        }

        StringBuilder text = new();
        foreach (KernelResources one in module.Kernels.Where(one => kernel is null || one.Name == kernel))
        {
            text.AppendLine(
                $"// {one.Name}: {one.Registers} registers, {one.SpillStoreBytes} + {one.SpillLoadBytes} bytes spilled, {one.StackBytes} bytes of stack, {one.SharedBytes} bytes of shared memory");
        }

        text.AppendLine($"// {module.Image.Length} bytes of machine code for {module.Architecture}");
        if (FindDisassembler() is { } disassembler)
        {
            return text.Append(Disassemble(disassembler, module.Image)).ToString();
        }

        KernelTarget ptx = new($"compute_{module.Architecture["sm_".Length..]}");
        text.AppendLine($"// nvdisasm, which prints machine code, is not on the PATH; this is the PTX for {ptx}");
        string listing = compiler.Compile(source, ptx).PtxText();
        return text.Append(kernel is null ? listing : Entry(listing, kernel)).ToString();
    }

    private static (KernelSource Source, string? Kernel) Find(KernelCompiler compiler, string name)
    {
        IReadOnlyList<(KernelSource Source, CompiledModule Module)> all = KernelsCommand.CompileAll(compiler, new KernelTarget(KernelResourceTable.PtxTarget));
        foreach ((KernelSource source, _) in all)
        {
            if (source.FileName == name || Path.GetFileNameWithoutExtension(source.FileName) == name)
            {
                return (source, null);
            }
        }

        foreach ((KernelSource source, CompiledModule module) in all)
        {
            if (module.Kernels.Any(kernel => kernel.Name == name))
            {
                return (source, name);
            }
        }

        throw new ArgumentException(
            $"No kernel or file is named '{name}'; there are {string.Join("; ", all.Select(one => $"{one.Source.FileName}: {string.Join(", ", one.Module.Kernels.Select(kernel => kernel.Name))}"))}.");
    }

    // From the line that declares the kernel to the brace that closes it, which stands at the beginning of a line.
    private static string Entry(string ptx, string kernel)
    {
        string[] lines = ptx.Split('\n');
        int first = Array.FindIndex(lines, line => line.Contains(".entry " + kernel + "(", StringComparison.Ordinal));
        int last = Array.FindIndex(lines, first, line => line.StartsWith('}'));
        return string.Join('\n', lines[first..(last + 1)]);
    }

    private static string? FindDisassembler()
    {
        string file = OperatingSystem.IsWindows() ? "nvdisasm.exe" : "nvdisasm";
        IEnumerable<string> cuda = ((string[])["CUDA_PATH", "CUDA_HOME"]).Select(Environment.GetEnvironmentVariable).OfType<string>().Append("/usr/local/cuda").Select(home => Path.Combine(home, "bin"));
        string[] path = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries);
        return path.Concat(cuda).Select(folder => Path.Combine(folder, file)).FirstOrDefault(File.Exists);
    }

    private static string Disassemble(string disassembler, byte[] image)
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, image);
            ProcessStartInfo start = new(disassembler, ["--print-code", path]) { RedirectStandardOutput = true };
            using Process process = Process.Start(start)!;
            string listing = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0 ? listing : throw new InvalidOperationException($"{disassembler} failed with exit code {process.ExitCode}.");
        }
        finally
        {
            File.Delete(path);
        }
    }
}
