namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>An instruction of machine code.</summary>
/// <param name="Address">Its address in the kernel, in bytes.</param>
/// <param name="Predicate">The condition under which a lane executes it, such as <c>!P0</c>; empty for none.</param>
/// <param name="Opcode">Operation and modifiers, such as <c>LDG.E.128</c>.</param>
/// <param name="Operands">The text behind the opcode.</param>
public sealed record MachineInstruction(int Address, string Predicate, string Opcode, string Operands)
{
    /// <summary>The operation without its modifiers, such as <c>LDG</c>.</summary>
    public string Name { get; } = Opcode.Split('.')[0];

    /// <summary>Whether this is an operation with at least these modifiers: <c>LDG.E.CONSTANT.128</c> is <c>LDG</c> and <c>LDG.128</c>.</summary>
    public bool Is(string opcode)
    {
        string[] wanted = opcode.Split('.');
        return Name == wanted[0] && wanted.All(Opcode.Split('.').Contains);
    }

    /// <inheritdoc/>
    public override string ToString() => $"/*{Address:x4}*/ {(Predicate.Length == 0 ? "" : $"@{Predicate} ")}{Opcode}{(Operands.Length == 0 ? "" : " ")}{Operands}";
}

/// <summary>Counts instructions by opcode.</summary>
public static class MachineInstructions
{
    /// <summary>How many instructions are one of these opcodes (<see cref="MachineInstruction.Is"/>).</summary>
    public static int Count(this IEnumerable<MachineInstruction> instructions, params string[] opcodes) => instructions.Count(instruction => opcodes.Any(instruction.Is));

    /// <summary>The number of instructions of each operation, without modifiers; the most frequent first.</summary>
    public static IReadOnlyList<(string Name, int Count)> ByName(this IEnumerable<MachineInstruction> instructions) =>
        [.. instructions.CountBy(instruction => instruction.Name).OrderByDescending(pair => pair.Value).ThenBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => (pair.Key, pair.Value))];
}
