namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>A kernel's machine code.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Instructions">All instructions in the order of their addresses, with those of functions that were not inlined, which stand behind the kernel.</param>
/// <param name="Loops">Its loops in the order of their heads, an outer one before those inside of it.</param>
public sealed record MachineKernel(string Name, IReadOnlyList<MachineInstruction> Instructions, IReadOnlyList<MachineLoop> Loops)
{
    /// <summary>Loads from and stores to local memory: spilled registers, and arrays that stand there because their index is known at run time only.</summary>
    public int LocalAccesses => Instructions.Count("LDL", "STL");
}

/// <summary>A loop: a head that every way into it passes, and what lies on a way from the head back to it.</summary>
/// <param name="Label">The label of the head, or its address where it has none.</param>
/// <param name="Outer">The loop around it, or null.</param>
/// <param name="Instructions">
/// Its instructions in the order of their addresses, without those of loops inside of it, and without the code for lanes of a warp that have parted (<c>BRA.DIV</c>), which is laid out elsewhere and executed hardly ever.
/// </param>
public sealed record MachineLoop(string Label, MachineLoop? Outer, IReadOnlyList<MachineInstruction> Instructions)
{
    /// <summary>The number of loops around it.</summary>
    public int Depth => Outer is null ? 0 : Outer.Depth + 1;
}
