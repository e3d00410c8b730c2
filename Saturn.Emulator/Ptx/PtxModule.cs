namespace Saturn.Emulator.Ptx;

/// <summary>A translated <c>.cu</c> file: its kernels and the variables of its global and constant memory.</summary>
internal sealed class PtxModule
{
    public required string Name { get; init; }

    /// <summary>The lines of the text, for messages.</summary>
    public required string[] Lines { get; init; }

    public List<PtxKernel> Kernels { get; } = [];

    public List<PtxVariable> Variables { get; } = [];

    /// <summary>Source files by the number that <c>.loc</c> uses.</summary>
    public Dictionary<int, string> Files { get; } = [];
}

/// <summary>One <c>.entry</c>.</summary>
internal sealed class PtxKernel
{
    public required string Name { get; init; }

    public List<PtxVariable> Parameters { get; } = [];

    /// <summary>Variables of shared and local memory.</summary>
    public List<PtxVariable> Variables { get; } = [];

    /// <summary>Registers by name, such as %r12.</summary>
    public Dictionary<string, PtxRegister> Registers { get; } = [];

    public List<PtxInstruction> Instructions { get; } = [];

    /// <summary>Index of the instruction behind each label.</summary>
    public Dictionary<string, int> Labels { get; } = [];

    /// <summary>Lists of labels for <c>brx.idx</c>.</summary>
    public Dictionary<string, string[]> BranchTargets { get; } = [];

    /// <summary>The product of <c>.maxntid</c> or <c>.reqntid</c>; 1024 where neither is given.</summary>
    public int MaximumThreads { get; set; } = 1024;
}

internal enum PtxSpace
{
    Generic,
    Parameter,
    Global,
    Constant,
    Shared,
    Local,
}

/// <summary>A variable of some memory: its bytes, alignment, offset inside its space, and initial value.</summary>
internal sealed record PtxVariable(string Name, PtxSpace Space, int Bytes, int Alignment, bool IsExternal)
{
    public int Offset { get; set; }

    public byte[]? Initial { get; init; }
}

/// <summary>A virtual register: its PTX type without the dot, such as f32 or pred.</summary>
internal sealed record PtxRegister(string Name, string Type)
{
    public bool IsPredicate => Type == "pred";

    public bool IsWide => Type is "b64" or "u64" or "s64" or "f64";
}

/// <summary>One instruction as written: guard, opcode in its parts, operands, and where it came from.</summary>
internal sealed class PtxInstruction
{
    /// <summary>Name of the guarding predicate, or null.</summary>
    public string? Guard { get; init; }

    public bool GuardIsNegated { get; init; }

    /// <summary>The opcode as written, such as <c>ld.global.v4.f32</c>.</summary>
    public required string Opcode { get; init; }

    /// <summary>The parts between the dots.</summary>
    public required string[] Parts { get; init; }

    public required PtxOperand[] Operands { get; init; }

    /// <summary>Line in the PTX, from 1.</summary>
    public required int Line { get; init; }

    /// <summary>Number of the source file, 0 if unknown.</summary>
    public int SourceFile { get; init; }

    /// <summary>Line in the source file.</summary>
    public int SourceLine { get; init; }

    /// <summary>Where the source line was inlined into the kernel, or (0, 0).</summary>
    public (int File, int Line) InlinedAt { get; init; }

    public bool Has(string part) => Array.IndexOf(Parts, part, 1) > 0;
}

internal enum PtxOperandKind
{
    /// <summary>A register, special register, label, variable or literal: <see cref="PtxOperand.Text"/>.</summary>
    Word,

    /// <summary>[base + offset]</summary>
    Address,

    /// <summary>{a, b, …}</summary>
    Vector,
}

/// <summary>One operand.</summary>
internal sealed class PtxOperand
{
    public required PtxOperandKind Kind { get; init; }

    /// <summary>The word, or the base of an address; empty for an address that is a plain number.</summary>
    public string Text { get; init; } = "";

    /// <summary>Whether a predicate is negated (!%p) or a number has a minus sign.</summary>
    public bool IsNegated { get; init; }

    /// <summary>The offset of an address or of a variable's name.</summary>
    public long Offset { get; init; }

    /// <summary>The elements of a vector, or the coordinates behind an address.</summary>
    public PtxOperand[] Elements { get; init; } = [];

    /// <summary>The second destination of d|p.</summary>
    public string? Second { get; init; }

    public override string ToString() => Kind switch
    {
        PtxOperandKind.Address => $"[{Text}+{Offset}]",
        PtxOperandKind.Vector => "{" + string.Join(", ", (object[])Elements) + "}",
        _ => (IsNegated ? "!" : "") + Text,
    };
}
