using System.Globalization;
using System.Text.RegularExpressions;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>Reads what NVRTC and its assembler print: messages with their places, and the resources of each kernel.</summary>
internal static partial class CompilerLog
{
    /// <summary>The errors and warnings of a log; a place is looked up in the texts by its file name.</summary>
    public static IReadOnlyList<KernelDiagnostic> Diagnostics(string log, Func<string, string?> textOf)
    {
        List<KernelDiagnostic> found = [];
        foreach (string line in log.Split('\n'))
        {
            if (DiagnosticLine().Match(line.TrimEnd()) is { Success: true } match)
            {
                string file = match.Groups["file"].Value;
                int number = int.Parse(match.Groups["line"].Value, CultureInfo.InvariantCulture);
                string[] lines = textOf(file)?.Split('\n') ?? [];
                found.Add(new KernelDiagnostic(
                    file, number, match.Groups["severity"].Value, match.Groups["message"].Value, number <= lines.Length ? lines[number - 1].TrimEnd('\r') : ""));
            }
            else if (AssemblerLine().Match(line.TrimEnd()) is { Success: true } assembler)
            {
                found.Add(new KernelDiagnostic("ptxas", 0, assembler.Groups["severity"].Value, assembler.Groups["message"].Value, ""));
            }
        }

        return found;
    }

    /// <summary>The kernels of machine code, from the assembler's report.</summary>
    public static IReadOnlyList<KernelResources> Resources(string log)
    {
        SortedDictionary<string, KernelResources> kernels = new(StringComparer.Ordinal);
        string? current = null;
        foreach (string line in log.Split('\n'))
        {
            if (EntryLine().Match(line) is { Success: true } entry)
            {
                current = entry.Groups["name"].Value;
                kernels[current] = new KernelResources(current);
            }
            else if (current is not null && StackLine().Match(line) is { Success: true } stack)
            {
                // Functions that were not inlined have lines of their own, which follow their kernel's.
                KernelResources kernel = kernels[current];
                kernels[current] = kernel with
                {
                    StackBytes = Math.Max(kernel.StackBytes ?? 0, Number(stack, "stack")),
                    SpillStoreBytes = (kernel.SpillStoreBytes ?? 0) + Number(stack, "stores"),
                    SpillLoadBytes = (kernel.SpillLoadBytes ?? 0) + Number(stack, "loads"),
                };
            }
            else if (current is not null && RegisterLine().Match(line) is { Success: true } registers)
            {
                Match shared = SharedBytes().Match(line);
                kernels[current] = kernels[current] with { Registers = Number(registers, "registers"), SharedBytes = shared.Success ? Number(shared, "shared") : 0 };
            }
        }

        return [.. kernels.Values];
    }

    /// <summary>The kernels of PTX, by name only.</summary>
    public static IReadOnlyList<KernelResources> Entries(string ptx) =>
        [.. PtxEntry().Matches(ptx).Select(match => match.Groups["name"].Value).Order(StringComparer.Ordinal).Select(name => new KernelResources(name))];

    private static int Number(Match match, string group) => int.Parse(match.Groups[group].Value, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^(?<file>[^\s(][^(]*)\((?<line>\d+)\): (?<severity>catastrophic error|internal error|error|warning)(?: #[\w-]+)?: (?<message>.*)$")]
    private static partial Regex DiagnosticLine();

    [GeneratedRegex(@"^ptxas\s.*?(?<severity>fatal|error|warning)\s*: (?<message>.*)$")]
    private static partial Regex AssemblerLine();

    [GeneratedRegex(@"Compiling entry function '(?<name>[^']+)'")]
    private static partial Regex EntryLine();

    [GeneratedRegex(@"(?<stack>\d+) bytes stack frame, (?<stores>\d+) bytes spill stores, (?<loads>\d+) bytes spill loads")]
    private static partial Regex StackLine();

    [GeneratedRegex(@"Used (?<registers>\d+) registers")]
    private static partial Regex RegisterLine();

    [GeneratedRegex(@"(?<shared>\d+) bytes smem")]
    private static partial Regex SharedBytes();

    [GeneratedRegex(@"\.entry\s+(?<name>[\w$]+)")]
    private static partial Regex PtxEntry();
}
