using System.Runtime.InteropServices;
using Saturn.Emulator.Ptx;

namespace Saturn.Emulator.Execution;

/// <summary>What a register that is written before the kernel starts holds.</summary>
internal enum PresetKind
{
    /// <summary>An immediate of the code.</summary>
    Constant,

    /// <summary>The address of a kernel argument.</summary>
    ArgumentAddress,

    ThreadX,
    ThreadY,
    ThreadZ,
    BlockSizeX,
    BlockSizeY,
    BlockSizeZ,
    BlockX,
    BlockY,
    BlockZ,
    GridX,
    GridY,
    GridZ,
    Lane,
    WarpIndex,
    LaneMaskEqual,
    LaneMaskLess,
    LaneMaskLessOrEqual,
    LaneMaskGreater,
    LaneMaskGreaterOrEqual,
    DynamicSharedBytes,
    TotalSharedBytes,
    Zero,
}

/// <summary>A register that holds a preset: its offset in the register file, what it holds, and whether its lanes are 64 bits wide.</summary>
internal readonly record struct Preset(int Offset, PresetKind Kind, ulong Value, bool IsWide);

/// <summary>One kernel, decoded: its instructions, the layout of a warp's registers, and the memory it needs.</summary>
internal sealed unsafe class EmulatedKernel : IDisposable
{
    private const int LongestText = 160;

    private readonly PtxKernel source;
    private readonly Preset[] presets;
    private readonly List<nint> registerLists;

    public EmulatedKernel(LoadedModule module, PtxKernel source, Instruction[] code, Preset[] presets, List<nint> registerLists, int registerFileBytes, int predicateCount, bool hasAsynchronous)
    {
        Module = module;
        this.source = source;
        this.presets = presets;
        this.registerLists = registerLists;
        RegisterFileBytes = registerFileBytes;
        PredicateCount = predicateCount;
        HasAsynchronous = hasAsynchronous;
        Code = (Instruction*)NativeMemory.Alloc((nuint)code.Length, (nuint)sizeof(Instruction));
        code.CopyTo(new Span<Instruction>(Code, code.Length));
        InstructionCount = code.Length;
        ArgumentBytes = source.Parameters.Count == 0 ? 0 : source.Parameters.Max(parameter => parameter.Offset + parameter.Bytes);
        StaticSharedBytes = SpaceBytes(PtxSpace.Shared);
        LocalBytes = (SpaceBytes(PtxSpace.Local) + 15) / 16 * 16;
    }

    public LoadedModule Module { get; }

    public string Name => source.Name;

    public int ArgumentBytes { get; }

    public int StaticSharedBytes { get; }

    public int LocalBytes { get; }

    /// <summary>Virtual registers of 32 bits; the hardware's compiler needs fewer, so this is no measure of occupancy.</summary>
    public int RegisterCount => source.Registers.Values.Sum(register => register.IsPredicate ? 0 : register.IsWide ? 2 : 1);

    public int MaximumThreads => source.MaximumThreads;

    public Instruction* Code { get; }

    public int InstructionCount { get; }

    public int RegisterFileBytes { get; }

    public int PredicateCount { get; }

    /// <summary>Whether it uses barrier objects, bulk copies or products of warpgroups.</summary>
    public bool HasAsynchronous { get; }

    /// <summary>Opcodes of the kernel, for the census.</summary>
    public IEnumerable<string> Opcodes => source.Instructions.Select(instruction => instruction.Opcode);

    /// <summary>Adds what lanes did, by instruction, to the account of a driver.</summary>
    public void AddTraffic(long[] lanes, MemoryTraffic traffic)
    {
        for (int i = 0; i < source.Instructions.Count; i++)
        {
            if (lanes[i] > 0)
            {
                traffic.Add(source.Instructions[i].Parts, lanes[i]);
            }
        }
    }

    /// <summary>Writes what stays the same for all blocks of a launch.</summary>
    public void WriteConstants(Warp warp)
    {
        foreach (Preset preset in presets)
        {
            Write(warp, preset);
        }
    }

    /// <summary>Writes what differs from block to block.</summary>
    public void WriteBlockRegisters(Warp warp)
    {
        foreach (Preset preset in presets)
        {
            if (preset.Kind is PresetKind.BlockX or PresetKind.BlockY or PresetKind.BlockZ)
            {
                Write(warp, preset);
            }
        }
    }

    /// <summary>The instruction as written; of one with very many operands the beginning.</summary>
    public string Text(Instruction* instruction)
    {
        string text = Module.Source.Lines[Of(instruction).Line - 1].Trim().TrimEnd(';');
        return text.Length <= LongestText ? text : text[..LongestText] + "…";
    }

    /// <summary>PTX line and source line of an instruction.</summary>
    public string Locate(Instruction* instruction)
    {
        PtxInstruction of = Of(instruction);
        string place = $"{Module.Name}, PTX line {of.Line}";
        if (of.SourceLine > 0)
        {
            place = $"{FileName(of.SourceFile)}:{of.SourceLine} ({place})";
        }

        return of.InlinedAt.Line > 0 ? $"{place}, inlined at {FileName(of.InlinedAt.File)}:{of.InlinedAt.Line}" : place;
    }

    public void Dispose()
    {
        NativeMemory.Free(Code);
        foreach (nint list in registerLists)
        {
            NativeMemory.Free((void*)list);
        }
    }

    private string FileName(int file) => Module.Source.Files.TryGetValue(file, out string? name) ? name : "?";

    // The decoder closes every kernel with one more exit, which stands for no instruction of its own.
    private PtxInstruction Of(Instruction* instruction) => source.Instructions[(int)Math.Min(instruction - Code, source.Instructions.Count - 1)];

    private int SpaceBytes(PtxSpace space) =>
        source.Variables.Where(variable => variable.Space == space).Select(variable => variable.Offset + variable.Bytes).DefaultIfEmpty(0).Max();

    private static void Write(Warp warp, in Preset preset)
    {
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            ulong value = Value(warp, preset, lane);
            if (preset.IsWide)
            {
                ((ulong*)(warp.Registers + preset.Offset))[lane] = value;
            }
            else
            {
                ((uint*)(warp.Registers + preset.Offset))[lane] = (uint)value;
            }
        }
    }

    private static ulong Value(Warp warp, in Preset preset, int lane)
    {
        Block block = warp.Block;
        uint thread = (uint)(warp.Index * Lanes.Count + lane);
        uint one = 1u << lane;
        return preset.Kind switch
        {
            PresetKind.Constant => preset.Value,
            PresetKind.ArgumentAddress => (ulong)block.Arguments + preset.Value,
            PresetKind.ThreadX => thread % block.Geometry.BlockX,
            PresetKind.ThreadY => thread / block.Geometry.BlockX % block.Geometry.BlockY,
            PresetKind.ThreadZ => thread / block.Geometry.BlockX / block.Geometry.BlockY,
            PresetKind.BlockSizeX => block.Geometry.BlockX,
            PresetKind.BlockSizeY => block.Geometry.BlockY,
            PresetKind.BlockSizeZ => block.Geometry.BlockZ,
            PresetKind.BlockX => block.X,
            PresetKind.BlockY => block.Y,
            PresetKind.BlockZ => block.Z,
            PresetKind.GridX => block.Geometry.GridX,
            PresetKind.GridY => block.Geometry.GridY,
            PresetKind.GridZ => block.Geometry.GridZ,
            PresetKind.Lane => (ulong)lane,
            PresetKind.WarpIndex => (ulong)warp.Index,
            PresetKind.LaneMaskEqual => one,
            PresetKind.LaneMaskLess => one - 1,
            PresetKind.LaneMaskLessOrEqual => one | (one - 1),
            PresetKind.LaneMaskGreater => ~(one | (one - 1)),
            PresetKind.LaneMaskGreaterOrEqual => ~(one - 1),
            PresetKind.DynamicSharedBytes => block.Geometry.SharedBytes,
            PresetKind.TotalSharedBytes => (ulong)block.Kernel.StaticSharedBytes + block.Geometry.SharedBytes,
            _ => 0,
        };
    }
}
