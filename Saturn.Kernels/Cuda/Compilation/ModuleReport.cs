using Saturn.Kernels.Diagnostics;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>Shows a module as it is loaded, as far as <c>SATURN_DEBUG</c> and <c>SATURN_DUMP</c> ask for it.</summary>
internal static class ModuleReport
{
    /// <summary>Prints and writes what the environment asks for.</summary>
    public static void Show(KernelSource source, CompiledModule compiled)
    {
        Print(Console.Error, (int)EnvironmentVariable.Debug.Number(0, 5), source, compiled);
        if (EnvironmentVariable.Dump.Value is { } folder)
        {
            Write(folder, source, compiled);
        }
    }

    /// <summary>The module's name from level 1, its source from level 4, its PTX or resources from level 5.</summary>
    internal static void Print(TextWriter writer, int level, KernelSource source, CompiledModule compiled)
    {
        if (level >= 1)
        {
            writer.WriteLine($"module {compiled.SourceName} for {compiled.Architecture}: {string.Join(", ", compiled.Kernels.Select(kernel => kernel.Name))}");
        }

        if (level >= 4)
        {
            writer.WriteLine(source.Text);
        }

        if (level >= 5)
        {
            writer.WriteLine(compiled.IsPtx ? compiled.PtxText() : string.Join(Environment.NewLine, compiled.Kernels));
        }
    }

    /// <summary>Writes NAME.cu with its layout checks, NAME.ARCHITECTURE.ptx or .cubin, and NAME.ARCHITECTURE.log.</summary>
    internal static void Write(string folder, KernelSource source, CompiledModule compiled)
    {
        Directory.CreateDirectory(folder);
        string name = $"{Path.GetFileNameWithoutExtension(compiled.SourceName)}.{compiled.Architecture}";
        Put(compiled.SourceName, path => File.WriteAllText(path, source.Text + Environment.NewLine + source.LayoutChecks));
        Put(name + (compiled.IsPtx ? ".ptx" : ".cubin"), path => File.WriteAllBytes(path, compiled.IsPtx ? compiled.Image[..^1] : compiled.Image));
        Put(name + ".log", path => File.WriteAllText(path, compiled.Log));

        void Put(string file, Action<string> write)
        {
            string path = Path.Combine(folder, file);
            string temporary = $"{path}.{Environment.ProcessId}.tmp";
            write(temporary);
            File.Move(temporary, path, overwrite: true);
        }
    }
}
