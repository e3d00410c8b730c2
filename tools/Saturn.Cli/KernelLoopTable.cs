using Saturn.Kernels.Cuda.Compilation;
using Spectre.Console;

namespace Saturn.Cli;

/// <summary><c>saturn kernels loops</c>: the loops of kernels that multiply or move memory, by what their machine code consists of.</summary>
internal static class KernelLoopTable
{
    private static readonly string[] TensorProducts = ["HMMA", "HGMMA"];
    private static readonly string[] Copies = ["LDGSTS", "UTMALDG"];
    private static readonly string[] WideCopies = ["LDGSTS.128", "UTMALDG"];
    private static readonly string[] SharedLoads = ["LDS", "LDSM"];
    private static readonly string[] Barriers = ["BAR", "DEPBAR", "SYNCS", "WARPGROUP", "WARPSYNC"];

    private static readonly string[] Columns = ["instructions", "products", "instructions a product", "loads", "stores", "copies", "shared loads", "barriers", "rest"];

    /// <summary>Prints a table a kernel; the name is a file's, or one kernel's.</summary>
    public static void Print(KernelCompiler compiler, string name, KernelTarget target)
    {
        if (target.IsPtx)
        {
            throw new ArgumentException($"Loops are those of machine code: --target must be an architecture such as sm_80 or sm_90a, but is {target}.");
        }

        (KernelSource source, string? kernel) = KernelListing.Find(compiler, name, target);
        CompiledModule module = compiler.Compile(source, target);
        foreach (MachineKernel one in Disassembler.Find().Read(module).Where(one => kernel is null || one.Name == kernel))
        {
            Print(one, module);
        }
    }

    private static void Print(MachineKernel kernel, CompiledModule module)
    {
        KernelResources? resources = module.Kernels.FirstOrDefault(one => one.Name == kernel.Name);
        Console.WriteLine(ProgressDisplay.Invariant(
            $"{kernel.Name} ({module.SourceName}, {module.Architecture}): {kernel.Instructions.Count} instructions, {kernel.LocalAccesses} on local memory, {resources?.Registers} registers"));
        MachineLoop[] loops = [.. kernel.Loops.Where(loop => kernel.Loops.Any(one => Works(one) && Encloses(loop, one)))];
        if (loops.Length == 0)
        {
            Console.WriteLine("no loop that multiplies or moves memory");
            Console.WriteLine();
            return;
        }

        Table table = new() { Border = TableBorder.Rounded };
        table.AddColumn("loop");
        foreach (string column in Columns)
        {
            table.AddColumn(new TableColumn(column).RightAligned());
        }

        foreach (MachineLoop loop in loops)
        {
            table.AddRow([$"{new string(' ', 2 * loop.Depth)}{Markup.Escape(loop.Label)}", .. Cells(loop.Instructions)]);
        }

        AnsiConsole.Write(table);
        Console.WriteLine();
    }

    private static IEnumerable<string> Cells(IReadOnlyList<MachineInstruction> loop)
    {
        // Beside products of matrices single multiplications are a matter of addresses and scales.
        string kind = Array.Find(TensorProducts, opcode => loop.Count(opcode) > 0) ?? "FFMA";
        int products = loop.Count(kind), loads = loop.Count("LDG"), stores = loop.Count("STG"), copies = loop.Count(Copies), shared = loop.Count(SharedLoads), barriers = loop.Count(Barriers);
        return
        [
            Figure(loop.Count), products == 0 ? "–" : $"{products} {kind}", products == 0 ? "–" : ProgressDisplay.Invariant($"{(double)loop.Count / products:F2}"), Wide(loop.Count("LDG.128"), loads),
            Wide(loop.Count("STG.128"), stores), Wide(loop.Count(WideCopies), copies), Figure(shared), Figure(barriers), Figure(loop.Count - products - loads - stores - copies - shared - barriers),
        ];
    }

    private static bool Works(MachineLoop loop) => loop.Instructions.Count([.. TensorProducts, .. Copies, "FFMA", "LDG", "STG"]) > 0;

    private static bool Encloses(MachineLoop loop, MachineLoop? other) => other is not null && (other == loop || Encloses(loop, other.Outer));

    private static string Figure(int count) => count == 0 ? "–" : ProgressDisplay.Invariant($"{count}");

    private static string Wide(int wide, int all) => all == 0 ? "–" : ProgressDisplay.Invariant($"{wide} of {all}");
}
