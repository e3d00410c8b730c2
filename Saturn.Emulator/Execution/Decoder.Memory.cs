using Saturn.Emulator.Execution.Operations;
using Saturn.Emulator.Ptx;

namespace Saturn.Emulator.Execution;

// PTX manual: ld, st, atom, red, cp.async, ldmatrix, membar and prefetch.
internal sealed unsafe partial class Decoder
{
    private void DecodeMemory()
    {
        switch (Parts[0])
        {
            case "ld" or "ldu":
                DecodeLoad();
                break;
            case "st":
                DecodeStore();
                break;
            case "atom" or "red":
                DecodeAtomic();
                break;
            case "cp" when Parts.Length > 4 && Parts[2] == "bulk":
                DecodeBulkCopy();
                break;
            case "cp":
                DecodeAsynchronousCopy();
                break;
            case "fence" when Parts[1] == "proxy" && Parts[2] == "async":
                result.Handler = &BarrierHandlers.FenceProxy;
                break;
            case "ldmatrix":
                DecodeLoadMatrix();
                break;
            default:
                // Memory is consistent between blocks after every instruction here, and hints change nothing.
                result.Handler = &CollectiveHandlers.Nothing;
                break;
        }
    }

    /// <summary>Checks the modifiers of a load or store; what only hints at caching or ordering changes nothing here.</summary>
    private AddressSpace DecodeAccess()
    {
        AddressSpace space = AddressSpace.Generic;
        int count = 1;
        for (int i = 1; i < Parts.Length - 1; i++)
        {
            switch (Parts[i])
            {
                case "global" or "const" or "param":
                    space = AddressSpace.Device;
                    break;
                case "shared" or "shared::cta":
                    space = AddressSpace.Shared;
                    break;
                case "local":
                    space = AddressSpace.Local;
                    break;
                case "v2":
                    count = 2;
                    break;
                case "v4":
                    count = 4;
                    break;
                case "nc" or "volatile" or "relaxed" or "acquire" or "release" or "weak" or "gpu" or "cta" or "sys" or "ca" or "cg" or "cs" or "lu" or "cv" or "wb" or "wt"
                    or "L1::evict_last" or "L1::evict_first" or "L1::no_allocate" or "L2::64B" or "L2::128B" or "L2::256B" or "L2::cache_hint":
                    break;
                default:
                    throw Unsupported();
            }
        }

        result.Count = (byte)count;
        result.Size = Type switch
        {
            "b8" or "u8" or "s8" => 1,
            "b16" or "u16" or "s16" or "f16" => 2,
            "b32" or "u32" or "s32" or "f32" => 4,
            "b64" or "u64" or "s64" or "f64" => 8,
            _ => throw Unsupported(),
        };
        return space;
    }

    private void DecodeAddress(PtxOperand address, AddressSpace space)
    {
        result.Mode |= (byte)space;
        result.Immediate = address.Offset;
        if (address.Text.Length == 0)
        {
            return;
        }

        if (kernel.Registers.TryGetValue(address.Text, out PtxRegister? register))
        {
            result.A = RegisterOffset(register);
            result.Mode |= register.IsWide ? MemoryHandlers.WideAddress : (byte)0;
            return;
        }

        if (kernel.Variables.Find(variable => variable.Name == address.Text) is PtxVariable variable)
        {
            result.Immediate += variable.Offset;
            return;
        }

        if (module.TryAddress(address.Text, out nint place))
        {
            result.Immediate += place;
            return;
        }

        result.A = VariableAddress(new PtxOperand { Kind = PtxOperandKind.Word, Text = address.Text }, wide: true);
        result.Mode |= MemoryHandlers.WideAddress;
    }

    private void DecodeData(PtxOperand operand, bool isLoad)
    {
        PtxOperand[] elements = operand.Kind == PtxOperandKind.Vector ? operand.Elements : [operand];
        if (elements.Length != result.Count)
        {
            throw Unsupported();
        }

        bool wide = false;
        Span<int> registers = stackalloc int[elements.Length];
        for (int i = 0; i < elements.Length; i++)
        {
            wide = RegisterIsWide(elements[i], Type);
            registers[i] = isLoad ? Output(elements[i], wide) : Input(elements[i], wide ? "b64" : result.Size == 4 ? Type : "b32");
        }

        result.Mode |= wide ? MemoryHandlers.WideData : (byte)0;
        result.Registers = List(registers);
    }

    private void DecodeLoad()
    {
        AddressSpace space = DecodeAccess();
        if (Parts[1] == "param" && kernel.Parameters.Find(parameter => parameter.Name == Operands[1].Text) is PtxVariable parameter)
        {
            result.Handler = &MemoryHandlers.LoadArgument;
            result.Immediate = parameter.Offset + Operands[1].Offset;
        }
        else
        {
            DecodeAddress(Operands[1], space);
            result.Handler = space switch
            {
                AddressSpace.Device => &MemoryHandlers.LoadDevice,
                AddressSpace.Shared => &MemoryHandlers.LoadShared,
                AddressSpace.Local => &MemoryHandlers.LoadLocal,
                _ => &MemoryHandlers.LoadGeneric,
            };
        }

        result.Mode |= IsSigned(Type) ? MemoryHandlers.SignExtend : (byte)0;
        if (result.Size == 4 && !RegisterIsWide(Operands[0].Kind == PtxOperandKind.Vector ? Operands[0].Elements[0] : Operands[0], Type))
        {
            result.Mode &= unchecked((byte)~MemoryHandlers.SignExtend);
        }

        DecodeData(Operands[0], isLoad: true);
    }

    private void DecodeStore()
    {
        AddressSpace space = DecodeAccess();
        DecodeAddress(Operands[0], space);
        DecodeData(Operands[1], isLoad: false);
        result.Handler = space switch
        {
            AddressSpace.Device => &MemoryHandlers.StoreDevice,
            AddressSpace.Shared => &MemoryHandlers.StoreShared,
            AddressSpace.Local => &MemoryHandlers.StoreLocal,
            _ => &MemoryHandlers.StoreGeneric,
        };
    }

    // atom{.sem}{.scope}{.space}.op.type d, [a], b{, c}; red the same without d.
    private void DecodeAtomic()
    {
        AddressSpace space = AddressSpace.Generic;
        AtomicOperation? operation = null;
        for (int i = 1; i < Parts.Length - 1; i++)
        {
            switch (Parts[i])
            {
                case "global":
                    space = AddressSpace.Device;
                    break;
                case "shared" or "shared::cta":
                    space = AddressSpace.Shared;
                    break;
                case "relaxed" or "acquire" or "release" or "acq_rel" or "gpu" or "cta" or "sys":
                    break;
                default:
                    operation = Parts[i] switch
                    {
                        "add" => AtomicOperation.Add,
                        "min" => AtomicOperation.Minimum,
                        "max" => AtomicOperation.Maximum,
                        "and" => AtomicOperation.And,
                        "or" => AtomicOperation.Or,
                        "xor" => AtomicOperation.ExclusiveOr,
                        "exch" => AtomicOperation.Exchange,
                        "cas" => AtomicOperation.CompareAndSwap,
                        "inc" => AtomicOperation.Increment,
                        "dec" => AtomicOperation.Decrement,
                        _ => throw Unsupported(),
                    };
                    break;
            }
        }

        int first = Parts[0] == "atom" ? 1 : 0;
        bool wide = IsWideType(Type);
        result.Count = (byte)(operation ?? throw Unsupported());
        DecodeAddress(Operands[first], space);
        result.Destination = first == 1 ? Output(Operands[0], wide) : -1;
        result.B = Input(Operands[first + 1], Type);
        result.C = Operands.Length > first + 2 ? Input(Operands[first + 2], Type) : result.B;
        result.Handler = Type switch
        {
            "u32" or "b32" => &AtomicHandlers.Invoke32<uint>,
            "s32" => &AtomicHandlers.Invoke32<int>,
            "f32" => &AtomicHandlers.Invoke32<float>,
            "u64" or "b64" => &AtomicHandlers.Invoke64<ulong>,
            "s64" => &AtomicHandlers.Invoke64<long>,
            "f64" => &AtomicHandlers.Invoke64<double>,
            _ => throw Unsupported(),
        };
    }

    // cp.async.ca|cg.shared.global{hints} [dst], [src], size{, src-size | ignore-src}; cp.async.commit_group; cp.async.wait_group n; cp.async.wait_all
    private void DecodeAsynchronousCopy()
    {
        if (Parts[1] != "async" || Parts.Length < 3)
        {
            throw Unsupported();
        }

        switch (Parts[2])
        {
            case "commit_group":
                result.Handler = &AsynchronousHandlers.Commit;
                return;
            case "wait_group":
                result.Handler = &AsynchronousHandlers.Wait;
                result.Immediate = (long)PtxLiteral.Parse(Operands[0].Text, out _);
                return;
            case "wait_all":
                result.Handler = &AsynchronousHandlers.Wait;
                result.Immediate = -1;
                return;
            case "ca" or "cg":
                break;
            default:
                throw Unsupported();
        }

        DecodeAddress(Operands[1], AddressSpace.Device);
        PtxOperand destination = Operands[0];
        result.Target = (int)destination.Offset;
        if (kernel.Registers.TryGetValue(destination.Text, out PtxRegister? register))
        {
            result.Destination = RegisterOffset(register);
            result.Mode |= register.IsWide ? MemoryHandlers.WideData : (byte)0;
        }
        else
        {
            result.Destination = VariableAddress(new PtxOperand { Kind = PtxOperandKind.Word, Text = destination.Text }, wide: false);
        }

        result.Size = (byte)PtxLiteral.Parse(Operands[2].Text, out _);
        if (Operands.Length > 3 && IsPredicate(Operands[3]))
        {
            SourcePredicate(Operands[3]);
        }
        else if (Operands.Length > 3)
        {
            result.B = Input(Operands[3], "u32");
        }

        result.Handler = &AsynchronousHandlers.Copy;
    }

    // ldmatrix.sync.aligned.m8n8.xN{.trans}.shared.b16 {r…}, [p]
    private void DecodeLoadMatrix()
    {
        result.Count = source.Has("x4") ? (byte)4 : source.Has("x2") ? (byte)2 : (byte)1;
        result.Size = 16;
        result.Predicate = source.Has("trans") ? 1 : 0;
        DecodeAddress(Operands[1], source.Has("shared") || source.Has("shared::cta") ? AddressSpace.Shared : AddressSpace.Generic);
        PtxOperand[] elements = Operands[0].Elements;
        Span<int> registers = stackalloc int[elements.Length];
        for (int i = 0; i < elements.Length; i++)
        {
            registers[i] = Output(elements[i], wide: false);
        }

        result.Registers = List(registers);
        result.Handler = &MatrixHandlers.LoadMatrix;
    }
}
