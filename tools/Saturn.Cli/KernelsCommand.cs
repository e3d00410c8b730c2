using System.CommandLine;
using System.Diagnostics;
using Saturn.Kernels.Cuda.Compilation;
using Spectre.Console;

namespace Saturn.Cli;

/// <summary><c>saturn kernels</c>: what the CUDA kernels are, what they compile to, and what they take. Needs NVRTC, no GPU.</summary>
internal static class KernelsCommand
{
    public static Command Create()
    {
        Command command = new("kernels", "List the CUDA kernels, compile them for any architecture, or show their PTX, machine code and loops; needs NVRTC (tools/install-nvrtc.sh) and no GPU.");
        command.Subcommands.Add(CreateList());
        command.Subcommands.Add(CreateBuild());
        command.Subcommands.Add(CreateShow());
        command.Subcommands.Add(CreateLoops());
        return command;
    }

    private static Command CreateList()
    {
        Command command = new("list", "The files of kernels/, with their headers, argument structs and kernels.");
        command.SetAction(_ =>
        {
            using KernelCompiler compiler = KernelCompiler.Create();
            Table table = new() { Border = TableBorder.Rounded };
            table.AddColumns("file", "includes", "argument structs", "kernels");
            foreach ((KernelSource source, CompiledModule module) in CompileAll(compiler, new KernelTarget(KernelResourceTable.PtxTarget)))
            {
                table.AddRow(
                    Markup.Escape(source.FileName), Lines(source.Headers.Keys), Lines(source.ArgumentTypes.Select(type => type.Name)), Lines(module.Kernels.Select(kernel => kernel.Name)));
            }

            AnsiConsole.Write(table);
            return 0;
        });
        return command;
    }

    private static Command CreateBuild()
    {
        Command command = new("build", "Compile all kernels afresh and in parallel, into the cache; show registers, spills, shared memory and seconds.");
        Option<string> target = TrainCommand.Add(command, "--target", "Machine code such as sm_80 or sm_90a, or PTX such as compute_80.", KernelResourceTable.MachineTargets[0]);
        Option<bool> markdown = TrainCommand.Add(command, "--table", "Print docs/kernel-resources.md instead, without compiling what the cache holds.", false);
        command.SetAction(result =>
        {
            using KernelCompiler compiler = KernelCompiler.Create();
            if (result.GetValue(markdown))
            {
                Console.Write(KernelResourceTable.ToMarkdown(compiler));
                return 0;
            }

            Build(compiler, new KernelTarget(result.GetValue(target)!));
            return 0;
        });
        return command;
    }

    private static Command CreateShow()
    {
        Command command = new("show", "Print a file's or a kernel's PTX; for machine code its assembly where nvdisasm is installed.");
        Argument<string> name = new("name") { Description = "A file such as elementwise.cu, or a kernel." };
        command.Arguments.Add(name);
        Option<string> target = TrainCommand.Add(command, "--target", "PTX such as compute_80, or machine code such as sm_90a.", KernelResourceTable.PtxTarget);
        command.SetAction(result =>
        {
            using KernelCompiler compiler = KernelCompiler.Create();
            Console.WriteLine(KernelListing.Of(compiler, result.GetValue(name)!, new KernelTarget(result.GetValue(target)!)));
            return 0;
        });
        return command;
    }

    private static Command CreateLoops()
    {
        Command command = new("loops", "Show the loops of machine code that multiply or move memory, and what they consist of; needs nvdisasm (tools/install-nvrtc.sh --disassembler).");
        Argument<string> name = new("name") { Description = "A file such as convolution_tensor.cu, or a kernel." };
        command.Arguments.Add(name);
        Option<string> target = TrainCommand.Add(command, "--target", "Machine code such as sm_80 or sm_90a.", KernelResourceTable.MachineTargets[0]);
        command.SetAction(result =>
        {
            using KernelCompiler compiler = KernelCompiler.Create();
            KernelLoopTable.Print(compiler, result.GetValue(name)!, new KernelTarget(result.GetValue(target)!));
            return 0;
        });
        return command;
    }

    /// <summary>All files, compiled or from the cache, in the order of their names.</summary>
    internal static IReadOnlyList<(KernelSource Source, CompiledModule Module)> CompileAll(KernelCompiler compiler, KernelTarget target) =>
        [.. BuiltInKernels.All().AsParallel().AsOrdered().WithExecutionMode(ParallelExecutionMode.ForceParallelism).Select(source => (source, compiler.Compile(source, target)))];

    private static void Build(KernelCompiler compiler, KernelTarget target)
    {
        // The longest first, so that no processor ends up alone with it.
        KernelSource[] sources = [.. BuiltInKernels.All().OrderByDescending(source => source.Text.Length)];
        (CompiledModule Module, TimeSpan Cold)[] built = new (CompiledModule, TimeSpan)[sources.Length];
        Stopwatch cold = Stopwatch.StartNew();
        Parallel.For(0, sources.Length, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, i =>
        {
            Stopwatch watch = Stopwatch.StartNew();
            built[i] = (compiler.CompileAgain(sources[i], target), watch.Elapsed);
        });
        cold.Stop();

        // A process that starts now would read what was just written.
        Stopwatch warm = Stopwatch.StartNew();
        foreach (KernelSource source in sources)
        {
            compiler.Compile(source, target);
        }

        warm.Stop();
        Table table = new() { Border = TableBorder.Rounded };
        table.AddColumn("file");
        table.AddColumn("kernel");
        foreach (string column in (string[])["registers", "spilled bytes", "stack bytes", "shared bytes", "seconds"])
        {
            table.AddColumn(new TableColumn(column).RightAligned());
        }

        foreach ((CompiledModule module, TimeSpan time) in built.OrderBy(one => one.Module.SourceName, StringComparer.Ordinal))
        {
            string file = module.SourceName;
            string seconds = ProgressDisplay.Invariant($"{time.TotalSeconds:F2}");
            foreach (KernelResources kernel in module.Kernels)
            {
                table.AddRow(
                    Markup.Escape(file), Markup.Escape(kernel.Name), Figure(kernel.Registers), Figure(kernel.SpillStoreBytes + kernel.SpillLoadBytes), Figure(kernel.StackBytes),
                    Figure(kernel.SharedBytes), seconds);
                (file, seconds) = ("", "");
            }
        }

        AnsiConsole.Write(table);
        Console.WriteLine(ProgressDisplay.Invariant(
            $"{sources.Length} files, {built.Sum(one => one.Module.Kernels.Count)} kernels for {target}, NVRTC {compiler.NvrtcVersion}: {cold.Elapsed.TotalSeconds:F2} s compiled on {Environment.ProcessorCount} processors, {warm.Elapsed.TotalMilliseconds:F0} ms from the cache."));
    }

    private static string Figure(int? value) => value is null ? "–" : ProgressDisplay.Invariant($"{value}");

    private static string Lines(IEnumerable<string> names) => Markup.Escape(string.Join('\n', names));
}
