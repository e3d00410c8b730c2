using System.Runtime.InteropServices;
using Saturn.Emulator.Execution.Operations;
using Saturn.Emulator.Ptx;

namespace Saturn.Emulator.Execution;

/// <summary>
/// Turns a kernel's PTX into handlers and register offsets. Parsing is permissive, this is strict: an opcode or a modifier that is not named here is an error with
/// its line, never silently something else. The other parts of the class are the instruction groups of the PTX manual.
/// </summary>
internal sealed unsafe partial class Decoder
{
    private const int NarrowBytes = 4 * Lanes.Count;
    private const int WideBytes = 8 * Lanes.Count;

    private readonly LoadedModule module;
    private readonly PtxKernel kernel;
    private readonly Dictionary<string, int> offsets = [];
    private readonly Dictionary<string, int> predicates = [];
    private readonly Dictionary<(PresetKind, ulong, bool), int> presetOffsets = [];
    private readonly List<Preset> presets = [];
    private readonly List<nint> lists = [];
    private int fileBytes;

    // The instruction being decoded.
    private PtxInstruction source = null!;
    private Instruction result;

    public Decoder(LoadedModule module, PtxKernel kernel)
    {
        this.module = module;
        this.kernel = kernel;
    }

    /// <exception cref="EmulatorException">An instruction is not covered.</exception>
    public EmulatedKernel Decode()
    {
        foreach (PtxRegister register in kernel.Registers.Values)
        {
            if (register.IsPredicate)
            {
                predicates.Add(register.Name, predicates.Count);
            }
            else if (register.Type is "b128" or "b8" or "u8" or "s8")
            {
                throw new EmulatorException($"{module.Name}: registers of type .{register.Type} are not covered ({register.Name} of kernel {kernel.Name}).", EmulatorException.InvalidPtx);
            }
        }

        Instruction[] code = new Instruction[kernel.Instructions.Count + 1];
        for (int i = 0; i < kernel.Instructions.Count; i++)
        {
            source = kernel.Instructions[i];
            result = new Instruction { A = -1, B = -1, C = -1, Destination = -1, Predicate = -1, SecondPredicate = -1, Guard = -1, Source = -1 };
            DecodeGuard();
            DecodeOne();
            code[i] = result;
        }

        // Falling off the end is a return.
        code[^1] = new Instruction { Guard = -1, Kind = InstructionKind.Exit };
        return new EmulatedKernel(module, kernel, code, [.. presets], lists, fileBytes, predicates.Count, hasAsynchronous);
    }

    private string[] Parts => source.Parts;

    /// <summary>The last part of the opcode: the type.</summary>
    private string Type => source.Parts[^1];

    private PtxOperand[] Operands => source.Operands;

    private EmulatorException Unsupported(string? what = null) => new(
        $"{module.Name}: PTX line {source.Line}: {what ?? $"'{source.Opcode}' is not covered by the emulator"}: {module.Source.Lines[source.Line - 1].Trim()} "
        + "(see docs/emulator.md: \"Adding an instruction\").",
        EmulatorException.InvalidPtx);

    private void DecodeGuard()
    {
        if (source.Guard is not null)
        {
            result.Guard = Predicate(source.Guard);
            result.GuardInvert = source.GuardIsNegated ? Lanes.All : 0;
        }
    }

    private void DecodeOne()
    {
        switch (Parts[0])
        {
            case "add" or "sub" or "mul" or "mad" or "fma" or "div" or "rem" or "min" or "max" or "abs" or "neg" or "rcp" or "sqrt" or "rsqrt" or "ex2" or "lg2" or "sin"
                or "cos" or "tanh" or "copysign":
                DecodeArithmetic();
                break;
            case "and" or "or" or "xor" or "not" or "cnot" or "shl" or "shr" or "shf" or "lop3" or "popc" or "clz" or "brev" or "bfind" or "bfe" or "bfi" or "prmt" or "sad"
                or "dp4a":
                DecodeBits();
                break;
            case "setp" or "set" or "selp" or "slct" or "testp":
                DecodeComparison();
                break;
            case "mov" or "cvt" or "cvta" or "isspacep":
                DecodeMove();
                break;
            case "ld" or "ldu" or "st" or "atom" or "red" or "prefetch" or "prefetchu" or "cp" or "ldmatrix" or "membar" or "fence" or "discard" or "applypriority":
                DecodeMemory();
                break;
            case "bra" or "brx" or "ret" or "exit" or "trap" or "bar" or "barrier" or "nanosleep" or "pmevent":
                DecodeControl();
                break;
            case "shfl" or "vote" or "match" or "redux" or "activemask":
                DecodeCollective();
                break;
            case "mma":
                DecodeMatrix();
                break;
            case "mbarrier":
                DecodeSharedBarrier();
                break;
            case "wgmma":
                DecodeWarpgroup();
                break;
            case "elect":
                DecodeElect();
                break;
            case "setmaxnreg" or "griddepcontrol":
                // PTX registers are virtual, and kernels run one after another.
                result.Handler = &CollectiveHandlers.Nothing;
                break;
            default:
                throw Unsupported();
        }
    }

    // ------------------------------------------------------------------ registers and operands

    private int Allocate(bool wide)
    {
        int offset = fileBytes;
        fileBytes += wide ? WideBytes : NarrowBytes;
        return offset;
    }

    private int RegisterOffset(PtxRegister register)
    {
        if (!offsets.TryGetValue(register.Name, out int offset))
        {
            offset = Allocate(register.IsWide);
            offsets.Add(register.Name, offset);
        }

        return offset;
    }

    private int PresetOffset(PresetKind kind, ulong value, bool wide)
    {
        if (!presetOffsets.TryGetValue((kind, value, wide), out int offset))
        {
            offset = Allocate(wide);
            presetOffsets.Add((kind, value, wide), offset);
            presets.Add(new Preset(offset, kind, value, wide));
        }

        return offset;
    }

    private int Constant(ulong value, bool wide) => PresetOffset(PresetKind.Constant, wide ? value : (uint)value, wide);

    private int Predicate(string name) =>
        predicates.TryGetValue(name, out int index) ? index : throw Unsupported($"'{name}' is no predicate register");

    private bool IsPredicate(PtxOperand operand) => operand.Kind == PtxOperandKind.Word && predicates.ContainsKey(operand.Text);

    /// <summary>A destination register; "_" is a register that nobody reads.</summary>
    private int Output(PtxOperand operand, bool wide)
    {
        if (operand.Text == "_")
        {
            return PresetOffset(PresetKind.Zero, ulong.MaxValue, wide);
        }

        PtxRegister register = Register(operand);
        if (register.IsWide != wide)
        {
            throw Unsupported($"register {register.Name} has the wrong size");
        }

        return RegisterOffset(register);
    }

    private PtxRegister Register(PtxOperand operand) =>
        kernel.Registers.TryGetValue(operand.Text, out PtxRegister? register) && !register.IsPredicate
            ? register
            : throw Unsupported($"'{operand}' is no register");

    /// <summary>A source operand as a register: a register, a special register, an immediate of the given type, or a variable's address.</summary>
    private int Input(PtxOperand operand, string type)
    {
        bool wide = type is "b64" or "u64" or "s64" or "f64";
        if (operand.Kind != PtxOperandKind.Word)
        {
            throw Unsupported($"operand '{operand}' is not covered here");
        }

        if (kernel.Registers.TryGetValue(operand.Text, out PtxRegister? register))
        {
            if (register.IsPredicate || operand.IsNegated)
            {
                throw Unsupported($"operand '{operand}' is not covered here");
            }

            if (register.IsWide != wide)
            {
                throw Unsupported($"register {register.Name} has the wrong size");
            }

            return RegisterOffset(register);
        }

        if (PtxLiteral.IsLiteral(operand.Text))
        {
            return Constant(Immediate(operand, type), wide);
        }

        if (operand.Text[0] == '%')
        {
            return Special(operand.Text, wide);
        }

        return VariableAddress(operand, wide);
    }

    private ulong Immediate(PtxOperand operand, string type)
    {
        ulong bits = PtxLiteral.Parse(operand.Text, out PtxLiteral.Kind kind);
        switch (type)
        {
            case "f32":
                float single = kind switch
                {
                    PtxLiteral.Kind.Single => BitConverter.UInt32BitsToSingle((uint)bits),
                    PtxLiteral.Kind.Double => (float)BitConverter.UInt64BitsToDouble(bits),
                    _ => bits,
                };
                return BitConverter.SingleToUInt32Bits(operand.IsNegated ? -single : single);
            case "f64":
                double value = kind switch
                {
                    PtxLiteral.Kind.Single => BitConverter.UInt32BitsToSingle((uint)bits),
                    PtxLiteral.Kind.Double => BitConverter.UInt64BitsToDouble(bits),
                    _ => bits,
                };
                return BitConverter.DoubleToUInt64Bits(operand.IsNegated ? -value : value);
            default:
                bits = operand.IsNegated ? unchecked(0ul - bits) : bits;
                return type is "b16" or "u16" or "s16" or "f16" or "bf16" ? (ushort)bits : bits;
        }
    }

    private int Special(string name, bool wide)
    {
        PresetKind kind = name switch
        {
            "%tid.x" => PresetKind.ThreadX,
            "%tid.y" => PresetKind.ThreadY,
            "%tid.z" => PresetKind.ThreadZ,
            "%ntid.x" => PresetKind.BlockSizeX,
            "%ntid.y" => PresetKind.BlockSizeY,
            "%ntid.z" => PresetKind.BlockSizeZ,
            "%ctaid.x" => PresetKind.BlockX,
            "%ctaid.y" => PresetKind.BlockY,
            "%ctaid.z" => PresetKind.BlockZ,
            "%nctaid.x" => PresetKind.GridX,
            "%nctaid.y" => PresetKind.GridY,
            "%nctaid.z" => PresetKind.GridZ,
            "%laneid" => PresetKind.Lane,
            "%warpid" => PresetKind.WarpIndex,
            "%lanemask_eq" => PresetKind.LaneMaskEqual,
            "%lanemask_lt" => PresetKind.LaneMaskLess,
            "%lanemask_le" => PresetKind.LaneMaskLessOrEqual,
            "%lanemask_gt" => PresetKind.LaneMaskGreater,
            "%lanemask_ge" => PresetKind.LaneMaskGreaterOrEqual,
            "%dynamic_smem_size" => PresetKind.DynamicSharedBytes,
            "%total_smem_size" => PresetKind.TotalSharedBytes,
            "%smid" or "%clock" or "%clock64" or "%globaltimer" or "%gridid" => PresetKind.Zero,
            "%nsmid" => PresetKind.GridX,
            _ => throw Unsupported($"special register {name} is not covered"),
        };
        return PresetOffset(kind, 0, wide);
    }

    private int VariableAddress(PtxOperand operand, bool wide)
    {
        ulong offset = (ulong)operand.Offset;
        if (kernel.Parameters.Find(parameter => parameter.Name == operand.Text) is PtxVariable parameter)
        {
            return PresetOffset(PresetKind.ArgumentAddress, (ulong)parameter.Offset + offset, wide);
        }

        if (kernel.Variables.Find(variable => variable.Name == operand.Text) is PtxVariable variable)
        {
            return Constant((ulong)variable.Offset + offset, wide);
        }

        if (module.TryAddress(operand.Text, out nint address))
        {
            return Constant((ulong)address + offset, wide);
        }

        throw Unsupported($"'{operand.Text}' is neither register nor variable");
    }

    private int* List(params ReadOnlySpan<int> values)
    {
        int* list = (int*)NativeMemory.Alloc((nuint)Math.Max(values.Length, 1), sizeof(int));
        values.CopyTo(new Span<int>(list, values.Length));
        lists.Add((nint)list);
        return list;
    }

    private void SourcePredicate(PtxOperand operand)
    {
        result.Source = Predicate(operand.Text);
        result.SourceInvert = operand.IsNegated ? Lanes.All : 0;
    }

    private static bool IsWideType(string type) => type is "b64" or "u64" or "s64" or "f64";

    private static bool IsSigned(string type) => type[0] == 's';

    /// <summary>Refuses modifiers that nobody has thought about: what changes the result must be handled, not skipped.</summary>
    private void Allow(params ReadOnlySpan<string> modifiers)
    {
        for (int i = 1; i < Parts.Length - 1; i++)
        {
            if (!modifiers.Contains(Parts[i]))
            {
                throw Unsupported();
            }
        }
    }

    private void Unary(delegate*<Warp, Instruction*, uint, void> handler, string type, string? inputType = null)
    {
        result.Handler = handler;
        result.Destination = Output(Operands[0], IsWideType(type));
        result.A = Input(Operands[1], inputType ?? type);
    }

    private void Binary(delegate*<Warp, Instruction*, uint, void> handler, string type)
    {
        Unary(handler, type);
        result.B = Input(Operands[2], type);
    }

    private void Ternary(delegate*<Warp, Instruction*, uint, void> handler, string type)
    {
        Binary(handler, type);
        result.C = Input(Operands[3], type);
    }
}
