using Saturn.Emulator.Execution.Operations;
using Saturn.Emulator.Ptx;

namespace Saturn.Emulator.Execution;

// PTX manual: "Data Movement and Conversion Instructions": mov, cvt, cvta, isspacep.
internal sealed unsafe partial class Decoder
{
    private void DecodeMove()
    {
        switch (Parts[0])
        {
            case "mov":
                DecodeMov();
                break;
            case "cvt":
                DecodeConversion();
                break;
            case "cvta":
                DecodeAddressConversion();
                break;
            default:
                result.Handler = &MoveHandlers.IsInWindow;
                result.Predicate = Predicate(Operands[0].Text);
                result.A = Input(Operands[1], "u64");
                result.Immediate = (long)Window(Parts[1]);
                break;
        }
    }

    private void DecodeMov()
    {
        if (Type == "pred")
        {
            result.Handler = &PredicateHandlers.Combine;
            result.Predicate = Predicate(Operands[0].Text);
            if (IsPredicate(Operands[1]))
            {
                SourcePredicate(Operands[1]);
            }
            else
            {
                // An immediate: p = (p ^ p) ^ value needs any predicate; its own bits are combined to all or none.
                result.Source = result.Predicate;
                result.A = result.Predicate;
                result.Mode = Comparison.ExclusiveOr;
                result.SourceInvert = PtxLiteral.Parse(Operands[1].Text, out _) != 0 ? Lanes.All : 0;
            }

            return;
        }

        bool wide = IsWideType(Type);
        if (Operands[0].Kind == PtxOperandKind.Vector)
        {
            DecodeUnpack(wide);
        }
        else if (Operands[1].Kind == PtxOperandKind.Vector)
        {
            DecodePack(wide);
        }
        else
        {
            Unary(wide ? &Arithmetic.Unary<ulong, Copy<ulong>> : &Arithmetic.Unary<uint, Copy<uint>>, Type);
        }
    }

    private void DecodePack(bool wide)
    {
        PtxOperand[] elements = Operands[1].Elements;
        string type = wide && elements.Length == 2 ? "b32" : "b16";
        result.Destination = Output(Operands[0], wide);
        result.Count = wide ? (byte)8 : (byte)4;
        if (elements.Length == 4)
        {
            result.Handler = &MoveHandlers.Quarters;
            result.Registers = List(Input(elements[0], type), Input(elements[1], type), Input(elements[2], type), Input(elements[3], type));
            return;
        }

        result.Handler = &MoveHandlers.Pack;
        result.A = Input(elements[0], type);
        result.B = Input(elements[1], type);
    }

    private void DecodeUnpack(bool wide)
    {
        PtxOperand[] elements = Operands[0].Elements;
        result.A = Input(Operands[1], Type);
        result.Count = wide ? (byte)8 : (byte)4;
        if (elements.Length == 4)
        {
            result.Handler = &MoveHandlers.Quarters;
            result.Mode = 1;
            result.Registers = List(
                Output(elements[0], wide: false), Output(elements[1], wide: false), Output(elements[2], wide: false), Output(elements[3], wide: false));
            return;
        }

        result.Handler = &MoveHandlers.Unpack;
        result.Destination = Output(elements[0], wide: false);
        result.B = Output(elements[1], wide: false);
    }

    private static ulong Window(string space) => space switch
    {
        "shared" or "shared::cta" => MemoryHandlers.SharedWindow,
        "local" => MemoryHandlers.LocalWindow,
        _ => 0,
    };

    private void DecodeAddressConversion()
    {
        // cvta.to.space: generic to space; cvta.space: space to generic.
        bool toSpace = Parts[1] == "to";
        ulong window = Window(Parts[toSpace ? 2 : 1]);
        if (!IsWideType(Type))
        {
            throw Unsupported();
        }

        Unary(&MoveHandlers.ShiftWindow, Type);
        result.Immediate = (long)(toSpace ? 0ul - window : window);
    }

    private NumberType Number(string type) => type switch
    {
        "u8" => NumberType.U8,
        "u16" => NumberType.U16,
        "u32" => NumberType.U32,
        "u64" => NumberType.U64,
        "s8" => NumberType.S8,
        "s16" => NumberType.S16,
        "s32" => NumberType.S32,
        "s64" => NumberType.S64,
        "f16" => NumberType.F16,
        "bf16" => NumberType.BF16,
        "f32" => NumberType.F32,
        "f64" => NumberType.F64,
        _ => throw Unsupported(),
    };

    // cvt[.rounding][.ftz][.sat].dtype.atype d, a
    private void DecodeConversion()
    {
        string to = Parts[^2];
        string from = Parts[^1];
        if (to is "f16x2" or "bf16x2")
        {
            result.Handler = &Conversion.PackPair;
            result.Count = (byte)(to == "f16x2" ? NumberType.F16 : NumberType.BF16);
            result.Mode = (byte)(source.Has("rz") ? RoundingMode.Zero : RoundingMode.Nearest);
            result.Immediate = source.Has("relu") ? 8 : 0;
            result.Destination = Output(Operands[0], wide: false);
            result.A = Input(Operands[1], "f32");
            result.B = Input(Operands[2], "f32");
            return;
        }

        if (to == "tf32")
        {
            result.Handler = &Conversion.ToTensorFloat;
            result.Destination = Output(Operands[0], wide: false);
            result.A = Input(Operands[1], "f32");
            return;
        }

        RoundingMode rounding = RoundingMode.Nearest;
        int flags = 0;
        for (int i = 1; i < Parts.Length - 2; i++)
        {
            switch (Parts[i])
            {
                case "rn":
                    break;
                case "rz":
                    rounding = RoundingMode.Zero;
                    break;
                case "rm":
                    rounding = RoundingMode.Down;
                    break;
                case "rp":
                    rounding = RoundingMode.Up;
                    break;
                case "rni" or "rzi" or "rmi" or "rpi":
                    rounding = Parts[i] switch { "rni" => RoundingMode.Nearest, "rzi" => RoundingMode.Zero, "rmi" => RoundingMode.Down, _ => RoundingMode.Up };
                    flags |= Conversion.ToIntegral;
                    break;
                case "ftz":
                    flags |= Conversion.FlushSubnormals;
                    break;
                case "sat":
                    flags |= Conversion.Saturate;
                    break;
                default:
                    throw Unsupported();
            }
        }

        NumberType target = Number(to);
        bool wideOutput = RegisterIsWide(Operands[0], to);
        bool wideInput = RegisterIsWide(Operands[1], from);
        if (wideOutput != IsWideType(to) || wideInput != IsWideType(from))
        {
            throw Unsupported();
        }

        result.Destination = Output(Operands[0], wideOutput);
        result.A = Input(Operands[1], wideInput ? "b64" : from is "f32" or "f16" ? from : IsWideType(from) ? from : "b32");
        result.Source = (int)Number(from);
        result.Count = (byte)target;
        result.Mode = (byte)rounding;
        result.Immediate = flags;
        result.Handler = (from, to, flags) switch
        {
            ("u32", "u64" or "s64", 0) => &Conversion.WidenUnsigned,
            ("s32", "u64" or "s64", 0) => &Conversion.WidenSigned,
            ("u64" or "s64", "u32" or "s32", 0) => &Conversion.Narrow,
            ("u32" or "s32", "u32" or "s32", 0) => &Arithmetic.Unary<uint, Copy<uint>>,
            ("u64" or "s64", "u64" or "s64", 0) => &Arithmetic.Unary<ulong, Copy<ulong>>,
            ("s32", "f32", 0) when rounding == RoundingMode.Nearest => &Conversion.SignedToSingle,
            ("f32", "f64", 0) => &Conversion.SingleToDouble,
            ("f64", "f32", 0) when rounding == RoundingMode.Nearest => &Conversion.DoubleToSingle,
            _ => &Conversion.General,
        };
    }

    // Registers may be wider than the type: cvt.u32.u8 reads the low byte of a 16- or 32-bit register.
    private bool RegisterIsWide(PtxOperand operand, string type) =>
        kernel.Registers.TryGetValue(operand.Text, out PtxRegister? register) ? register.IsWide : IsWideType(type);
}
