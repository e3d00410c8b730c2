namespace Saturn.Emulator.Execution;

/// <summary>What the warp's loop does with an instruction itself; everything else is a call of the handler.</summary>
internal enum InstructionKind : byte
{
    /// <summary>Call the handler, go on with the next instruction.</summary>
    Plain,

    /// <summary>Go to <see cref="Instruction.Target"/> with the lanes whose guard holds.</summary>
    Branch,

    /// <summary>Call the handler, which puts a target per lane into the warp's scratch area (<c>brx.idx</c>).</summary>
    IndexedBranch,

    /// <summary>The lanes whose guard holds have finished.</summary>
    Exit,

    /// <summary>The warp waits until the block has arrived; the handler does what comes with the barrier (reductions).</summary>
    Barrier,

    /// <summary>A whole-warp operation with a member mask: the lanes named in it must come together first.</summary>
    Collective,

    /// <summary>A wait for a barrier object: the handler says by <see cref="Warp.GivesUp"/> that it is not over, and the lanes try again later.</summary>
    Wait,
}

/// <summary>
/// One decoded instruction. Registers are byte offsets into the warp's register file, where each has 32 lanes of four bytes (16-bit, 32-bit) or eight (64-bit);
/// immediates and special registers are registers too, written once. Predicates are indices of 32-bit masks.
/// </summary>
internal unsafe struct Instruction
{
    /// <summary>Executes the instruction for the lanes of the mask.</summary>
    public delegate*<Warp, Instruction*, uint, void> Handler;

    /// <summary>The destination register (or the first), or the address register of a store.</summary>
    public int Destination;

    public int A;

    public int B;

    public int C;

    /// <summary>Further registers: vector loads and stores, matrix fragments; null if there are none.</summary>
    public int* Registers;

    /// <summary>Byte offset of an address, or an immediate of the operation.</summary>
    public long Immediate;

    /// <summary>Predicate written (−1: none), and a second one (setp p|q, shfl d|p).</summary>
    public int Predicate;

    public int SecondPredicate;

    /// <summary>Predicate read as an operand, with what it is exclusive-ored.</summary>
    public int Source;

    public uint SourceInvert;

    /// <summary>Guarding predicate (−1: none), with what it is exclusive-ored.</summary>
    public int Guard;

    public uint GuardInvert;

    public int Target;

    public InstructionKind Kind;

    /// <summary>Bytes of one memory element.</summary>
    public byte Size;

    /// <summary>Elements of a vector access, or a small parameter of the operation.</summary>
    public byte Count;

    /// <summary>Operation-specific choice: comparison, rounding, boolean combination.</summary>
    public byte Mode;
}
