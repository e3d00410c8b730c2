using System.Text;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Cli;

/// <summary>A file's or a kernel's PTX, or its machine code as assembly where nvdisasm is installed.</summary>
internal static class KernelListing
{
    public static string Of(KernelCompiler compiler, string name, KernelTarget target)
    {
        (KernelSource source, string? kernel) = Find(compiler, name, target);
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
        try
        {
            string assembly = Disassembler.Find().Listing(module);
            return text.Append(kernel is null ? assembly : MachineListing.Section(assembly, kernel)).ToString();
        }
        catch (NvdisasmNotFoundException exception)
        {
            text.AppendLine($"// {exception.Message}");
        }

        KernelTarget ptx = new($"compute_{module.Architecture["sm_".Length..]}");
        text.AppendLine($"// This is the PTX for {ptx}:");
        string listing = compiler.Compile(source, ptx).PtxText();
        return text.Append(kernel is null ? listing : Entry(listing, kernel)).ToString();
    }

    /// <summary>A file by its name, or the file of a kernel.</summary>
    /// <exception cref="ArgumentException">There is neither.</exception>
    internal static (KernelSource Source, string? Kernel) Find(KernelCompiler compiler, string name, KernelTarget target)
    {
        foreach (KernelSource source in BuiltInKernels.All())
        {
            if (source.FileName == name || Path.GetFileNameWithoutExtension(source.FileName) == name)
            {
                return (source, null);
            }
        }

        // Some kernels exist for one architecture only; to compile all files for it takes longest, and comes last.
        IReadOnlyList<(KernelSource Source, CompiledModule Module)> all = [];
        foreach (KernelTarget one in (KernelTarget[])[new KernelTarget(KernelResourceTable.PtxTarget), target])
        {
            all = KernelsCommand.CompileAll(compiler, one);
            foreach ((KernelSource source, CompiledModule module) in all)
            {
                if (module.Kernels.Any(kernel => kernel.Name == name))
                {
                    return (source, name);
                }
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
}
