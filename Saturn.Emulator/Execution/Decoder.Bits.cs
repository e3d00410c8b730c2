using Saturn.Emulator.Execution.Operations;
using Saturn.Emulator.Ptx;

namespace Saturn.Emulator.Execution;

// PTX manual: "Logic and Shift Instructions", the bit operations of "Integer Arithmetic Instructions", and "Comparison and Selection Instructions".
internal sealed unsafe partial class Decoder
{
    private void DecodeBits()
    {
        bool wide = IsWideType(Type);
        switch (Parts[0])
        {
            case "and" or "or" or "xor" or "not" when Type == "pred":
                DecodePredicateLogic();
                break;
            case "and":
                Allow();
                Binary(wide ? &Arithmetic.Binary<ulong, And<ulong>> : &Arithmetic.Binary<uint, And<uint>>, Type);
                break;
            case "or":
                Allow();
                Binary(wide ? &Arithmetic.Binary<ulong, Or<ulong>> : &Arithmetic.Binary<uint, Or<uint>>, Type);
                break;
            case "xor":
                Allow();
                Binary(wide ? &Arithmetic.Binary<ulong, ExclusiveOr<ulong>> : &Arithmetic.Binary<uint, ExclusiveOr<uint>>, Type);
                break;
            case "not":
                Allow();
                Unary(
                    Type == "b16" ? &Arithmetic.LaneUnary<ushort, ushort, Not<ushort>> : wide ? &Arithmetic.Unary<ulong, Not<ulong>> : &Arithmetic.Unary<uint, Not<uint>>, Type);
                break;
            case "cnot":
                Allow();
                Unary(wide ? &Arithmetic.LaneUnary<ulong, ulong, LogicalNot<ulong>> : &Arithmetic.LaneUnary<uint, uint, LogicalNot<uint>>, Type);
                break;
            case "shl" or "shr":
                Allow();
                DecodeShift();
                break;
            case "shf":
                Ternary(
                    (source.Has("l"), source.Has("wrap")) switch
                    {
                        (true, true) => &Arithmetic.LaneTernary<uint, FunnelLeftWrap>,
                        (false, true) => &Arithmetic.LaneTernary<uint, FunnelRightWrap>,
                        (true, false) => &Arithmetic.LaneTernary<uint, FunnelLeftClamp>,
                        _ => &Arithmetic.LaneTernary<uint, FunnelRightClamp>,
                    },
                    "b32");
                break;
            case "lop3":
                Allow();
                result.Handler = &SpecialHandlers.LogicOf3;
                result.Destination = Output(Operands[0], wide: false);
                result.A = Input(Operands[1], "b32");
                result.B = Input(Operands[2], "b32");
                result.C = Input(Operands[3], "b32");
                result.Immediate = (long)PtxLiteral.Parse(Operands[4].Text, out _);
                break;
            case "popc":
                DecodeCount(&Arithmetic.LaneUnary<uint, uint, CountOnes>, &Arithmetic.LaneUnary<ulong, uint, CountOnes>);
                break;
            case "clz":
                DecodeCount(&Arithmetic.LaneUnary<uint, uint, CountLeadingZeros>, &Arithmetic.LaneUnary<ulong, uint, CountLeadingZeros>);
                break;
            case "brev":
                Allow();
                Unary(wide ? &Arithmetic.LaneUnary<ulong, ulong, ReverseBits> : &Arithmetic.LaneUnary<uint, uint, ReverseBits>, Type);
                break;
            case "bfind":
                DecodeFindLeading();
                break;
            case "bfe":
                Allow();
                result.Handler = Type switch
                {
                    "u32" => &SpecialHandlers.ExtractField<uint>,
                    "s32" => &SpecialHandlers.ExtractField<int>,
                    "u64" => &SpecialHandlers.ExtractField<ulong>,
                    "s64" => &SpecialHandlers.ExtractField<long>,
                    _ => throw Unsupported(),
                };
                result.Destination = Output(Operands[0], wide);
                result.A = Input(Operands[1], Type);
                result.B = Input(Operands[2], "u32");
                result.C = Input(Operands[3], "u32");
                break;
            case "bfi":
                Allow();
                result.Handler = wide ? &SpecialHandlers.InsertField<ulong> : &SpecialHandlers.InsertField<uint>;
                result.Destination = Output(Operands[0], wide);
                result.A = Input(Operands[1], Type);
                result.B = Input(Operands[2], Type);
                result.C = Input(Operands[3], "u32");
                result.Registers = List(Input(Operands[4], "u32"));
                break;
            case "prmt":
                Allow();
                Ternary(&Arithmetic.LaneTernary<uint, PermuteBytes>, "b32");
                break;
            case "sad":
                Allow();
                Ternary(
                    Type switch
                    {
                        "u32" => &Arithmetic.LaneTernary<uint, AbsoluteDifference>,
                        "s32" => &Arithmetic.LaneTernary<int, AbsoluteDifference>,
                        _ => throw Unsupported(),
                    },
                    Type);
                break;
            default: // dp4a.atype.btype
                result.Handler = &SpecialHandlers.DotProductOfBytes;
                result.Mode = (byte)((Parts[1] == "s32" ? 1 : 0) | (Parts[2] == "s32" ? 2 : 0));
                result.Destination = Output(Operands[0], wide: false);
                result.A = Input(Operands[1], "b32");
                result.B = Input(Operands[2], "b32");
                result.C = Input(Operands[3], "b32");
                break;
        }
    }

    private void DecodePredicateLogic()
    {
        result.Handler = &PredicateHandlers.Combine;
        result.Predicate = Predicate(Operands[0].Text);
        SourcePredicate(Operands[1]);
        switch (Parts[0])
        {
            case "not":
                result.SourceInvert ^= Lanes.All;
                return;
            case "and":
                result.Mode = Comparison.And;
                break;
            case "or":
                result.Mode = Comparison.Or;
                break;
            default:
                result.Mode = Comparison.ExclusiveOr;
                break;
        }

        if (Operands[2].IsNegated)
        {
            throw Unsupported();
        }

        result.A = Predicate(Operands[2].Text);
    }

    private void DecodeShift()
    {
        bool left = Parts[0] == "shl";
        bool wide = IsWideType(Type);
        result.Destination = Output(Operands[0], wide);
        result.A = Input(Operands[1], Type);
        if (Type is "b16" or "u16" or "s16")
        {
            result.B = Input(Operands[2], "u32");
            result.Handler = left
                ? &Arithmetic.LaneBinary<ushort, ShiftLeft>
                : IsSigned(Type) ? &Arithmetic.LaneBinary<short, ShiftRightSigned> : &Arithmetic.LaneBinary<ushort, ShiftRightUnsigned>;
            return;
        }

        if (PtxLiteral.IsLiteral(Operands[2].Text))
        {
            DecodeConstantShift(left, wide, (long)PtxLiteral.Parse(Operands[2].Text, out _));
            return;
        }

        result.B = Input(Operands[2], "u32");
        if (wide)
        {
            result.Handler = &SpecialHandlers.ShiftWide;
            result.Mode = (byte)(left ? 0 : IsSigned(Type) ? 2 : 1);
        }
        else
        {
            result.Handler = left
                ? &Arithmetic.LaneBinary<uint, ShiftLeft>
                : IsSigned(Type) ? &Arithmetic.LaneBinary<int, ShiftRightSigned> : &Arithmetic.LaneBinary<uint, ShiftRightUnsigned>;
        }
    }

    private void DecodeConstantShift(bool left, bool wide, long count)
    {
        int bits = wide ? 64 : 32;
        bool signed = !left && IsSigned(Type);
        result.Immediate = Math.Min(count, bits - 1);
        if (count >= bits && !signed)
        {
            result.Handler = wide ? &SpecialHandlers.Zero<ulong> : &SpecialHandlers.Zero<uint>;
        }
        else if (left)
        {
            result.Handler = wide ? &SpecialHandlers.ShiftLeftConstant<ulong> : &SpecialHandlers.ShiftLeftConstant<uint>;
        }
        else if (signed)
        {
            result.Handler = wide ? &SpecialHandlers.ShiftRightConstant<long> : &SpecialHandlers.ShiftRightConstant<int>;
        }
        else
        {
            result.Handler = wide ? &SpecialHandlers.ShiftRightConstant<ulong> : &SpecialHandlers.ShiftRightConstant<uint>;
        }
    }

    private void DecodeCount(delegate*<Warp, Instruction*, uint, void> narrow, delegate*<Warp, Instruction*, uint, void> wide)
    {
        Allow();
        result.Handler = IsWideType(Type) ? wide : narrow;
        result.Destination = Output(Operands[0], wide: false);
        result.A = Input(Operands[1], Type);
    }

    private void DecodeFindLeading()
    {
        Allow("shiftamt");
        result.Handler = (Type, source.Has("shiftamt")) switch
        {
            ("u32", false) => &Arithmetic.LaneUnary<uint, uint, FindLeadingBit>,
            ("s32", false) => &Arithmetic.LaneUnary<int, uint, FindLeadingBit>,
            ("u64", false) => &Arithmetic.LaneUnary<ulong, uint, FindLeadingBit>,
            ("s64", false) => &Arithmetic.LaneUnary<long, uint, FindLeadingBit>,
            ("u32", true) => &Arithmetic.LaneUnary<uint, uint, FindLeadingShift>,
            ("s32", true) => &Arithmetic.LaneUnary<int, uint, FindLeadingShift>,
            _ => throw Unsupported(),
        };
        result.Destination = Output(Operands[0], wide: false);
        result.A = Input(Operands[1], Type);
    }

    private void DecodeComparison()
    {
        switch (Parts[0])
        {
            case "selp":
                result.Handler = IsWideType(Type) ? &SpecialHandlers.Select<ulong> : &SpecialHandlers.Select<uint>;
                result.Destination = Output(Operands[0], IsWideType(Type));
                result.A = Input(Operands[1], Type);
                result.B = Input(Operands[2], Type);
                SourcePredicate(Operands[3]);
                break;
            case "slct":
                DecodeSelectBySign();
                break;
            case "testp":
                result.Handler = Type == "f64" ? &PredicateHandlers.Test<double> : &PredicateHandlers.Test<float>;
                result.Predicate = Predicate(Operands[0].Text);
                result.A = Input(Operands[1], Type);
                result.Mode = Parts[1] switch
                {
                    "finite" => 0,
                    "infinite" => 1,
                    "number" => 2,
                    "notanumber" => 3,
                    "normal" => 4,
                    "subnormal" => 5,
                    _ => throw Unsupported(),
                };
                break;
            default:
                DecodeSetPredicate();
                break;
        }
    }

    private void DecodeSelectBySign()
    {
        string type = Parts[^2];
        result.Handler = (IsWideType(type), Type) switch
        {
            (false, "s32") => &SpecialHandlers.SelectBySign<uint, int>,
            (false, "f32") => &SpecialHandlers.SelectBySign<uint, float>,
            (true, "s32") => &SpecialHandlers.SelectBySign<ulong, int>,
            (true, "f32") => &SpecialHandlers.SelectBySign<ulong, float>,
            _ => throw Unsupported(),
        };
        result.Destination = Output(Operands[0], IsWideType(type));
        result.A = Input(Operands[1], type);
        result.B = Input(Operands[2], type);
        result.C = Input(Operands[3], Type);
    }

    // setp.CmpOp[.BoolOp][.ftz].type p[|q], a, b[, c]; set.CmpOp[.BoolOp][.ftz].dtype.stype d, a, b[, c]
    private void DecodeSetPredicate()
    {
        bool isSet = Parts[0] == "set";
        if (isSet)
        {
            result.Destination = Output(Operands[0], wide: false);
            result.Immediate = Parts[^2] == "f32" ? 1 : 0;
        }
        else
        {
            result.Predicate = Operands[0].Text == "_" ? -1 : Predicate(Operands[0].Text);
            result.SecondPredicate = Operands[0].Second is string second and not "_" ? Predicate(second) : -1;
        }

        result.A = Input(Operands[1], Type);
        result.B = Input(Operands[2], Type);
        for (int i = 2; i < Parts.Length - (isSet ? 2 : 1); i++)
        {
            result.Mode = Parts[i] switch
            {
                "and" => Comparison.And,
                "or" => Comparison.Or,
                "xor" => Comparison.ExclusiveOr,
                "ftz" when Type != "f32" => result.Mode,
                _ => throw Unsupported(),
            };
        }

        if (result.Mode != Comparison.Plain)
        {
            SourcePredicate(Operands[3]);
        }

        result.Handler = Compare(Parts[1]);
    }

    private delegate*<Warp, Instruction*, uint, void> Compare(string comparison)
    {
        // Unordered comparisons are complements of the opposite ordered ones; lo, ls, hi, hs are the unsigned names.
        bool isFloat = Type[0] is 'f';
        (string ordered, bool complement) = comparison switch
        {
            "ltu" => ("ge", true),
            "leu" => ("gt", true),
            "gtu" => ("le", true),
            "geu" => ("lt", true),
            "equ" => ("ne", true),
            "neu" => ("eq", true),
            "nan" => ("num", true),
            "lo" => ("lt", false),
            "ls" => ("le", false),
            "hi" => ("gt", false),
            "hs" => ("ge", false),
            "ne" when !isFloat => ("eq", true),
            _ => (comparison, false),
        };
        result.Count = complement ? (byte)1 : (byte)0;
        return ordered switch
        {
            "eq" => Compare<Equal>(),
            "ne" => Compare<NotEqual>(),
            "lt" => Compare<Less>(),
            "le" => Compare<LessOrEqual>(),
            "gt" => Compare<Greater>(),
            "ge" => Compare<GreaterOrEqual>(),
            "num" => Compare<Ordered>(),
            _ => throw Unsupported(),
        };
    }

    private delegate*<Warp, Instruction*, uint, void> Compare<TComparison>()
        where TComparison : struct, IComparison => Type switch
        {
            "u32" or "b32" => &Comparison.Vector<uint, TComparison>,
            "s32" => &Comparison.Vector<int, TComparison>,
            "u64" or "b64" => &Comparison.Vector<ulong, TComparison>,
            "s64" => &Comparison.Vector<long, TComparison>,
            "f32" => &Comparison.Vector<float, TComparison>,
            "f64" => &Comparison.Vector<double, TComparison>,
            "u16" or "b16" => &Comparison.Lane<ushort, TComparison>,
            "s16" => &Comparison.Lane<short, TComparison>,
            "f16" => &Comparison.Lane<Half, TComparison>,
            _ => throw Unsupported(),
        };
}
