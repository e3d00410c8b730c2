using System.Globalization;
using System.Text.RegularExpressions;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>Reads what <c>nvdisasm --print-code</c> prints: a section a kernel, in it labels and instructions.</summary>
public static partial class MachineListing
{
    /// <summary>The kernels of a listing, in the order of their names.</summary>
    public static IReadOnlyList<MachineKernel> Kernels(string listing) =>
        [.. Sections(listing).Select(section => Read(section.Kernel, section.Lines)).OrderBy(kernel => kernel.Name, StringComparer.Ordinal)];

    /// <summary>One kernel's part of a listing.</summary>
    /// <exception cref="ArgumentException">There is no such kernel.</exception>
    public static string Section(string listing, string kernel) =>
        Sections(listing).FirstOrDefault(section => section.Kernel == kernel) is { Lines: { } lines }
            ? string.Join('\n', lines)
            : throw new ArgumentException($"The listing has no kernel '{kernel}'.");

    private static IEnumerable<(string Kernel, List<string> Lines)> Sections(string listing)
    {
        (string Kernel, List<string> Lines)? current = null;
        foreach (string line in listing.Split('\n'))
        {
            if (line.StartsWith("//---", StringComparison.Ordinal))
            {
                if (current is { } complete)
                {
                    yield return complete;
                }

                current = SectionLine().Match(line) is { Success: true } match ? (match.Groups["kernel"].Value, []) : null;
            }

            current?.Lines.Add(line.TrimEnd('\r'));
        }

        if (current is { } last)
        {
            yield return last;
        }
    }

    private static MachineKernel Read(string kernel, List<string> lines)
    {
        List<MachineInstruction> instructions = [];
        Dictionary<string, int> labels = [];
        foreach (string line in lines)
        {
            if (LabelLine().Match(line) is { Success: true } label)
            {
                labels[label.Groups["label"].Value] = instructions.Count;
            }
            else if (InstructionLine().Match(line) is { Success: true } match)
            {
                instructions.Add(new MachineInstruction(
                    int.Parse(match.Groups["address"].Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture), match.Groups["predicate"].Value, match.Groups["opcode"].Value,
                    match.Groups["operands"].Value));
            }
        }

        return new MachineKernel(kernel, instructions, MachineLoops.Find(instructions, labels));
    }

    [GeneratedRegex(@"^//-+ \.text\.(?<kernel>\S+)\s")]
    private static partial Regex SectionLine();

    [GeneratedRegex(@"^(?<label>[^\s:]+):\s*$")]
    private static partial Regex LabelLine();

    [GeneratedRegex(@"^\s+/\*(?<address>[0-9a-f]+)\*/\s+(?:@(?<predicate>!?U?P[0-9T]+)\s+)?(?<opcode>[A-Z][A-Za-z0-9_.]*)\s*(?<operands>.*?)\s*;")]
    private static partial Regex InstructionLine();
}
