using System.Numerics;
using Saturn.Emulator.Execution.Operations;

namespace Saturn.Emulator.Execution;

// PTX manual: "Integer Arithmetic Instructions", "Floating-Point Instructions", "Half Precision Floating-Point Instructions".
internal sealed unsafe partial class Decoder
{
    private void DecodeArithmetic()
    {
        switch (Type)
        {
            case "f32":
                DecodeSingle();
                break;
            case "f64":
                DecodeDouble();
                break;
            case "f16" or "f16x2" or "bf16" or "bf16x2":
                DecodeHalf();
                break;
            case "u16":
                DecodeShort<ushort>();
                break;
            case "s16":
                DecodeShort<short>();
                break;
            case "u32" or "b32":
                DecodeInteger<uint>(&Arithmetic.LaneBinary<uint, MultiplyHighUnsigned>, &Arithmetic.LaneTernary<uint, MultiplyHighUnsigned>,
                    &Arithmetic.LaneBinary<uint, DivideUnsigned>, &Arithmetic.LaneBinary<uint, RemainderUnsigned>);
                break;
            case "s32":
                DecodeInteger<int>(&Arithmetic.LaneBinary<int, MultiplyHighSigned>, &Arithmetic.LaneTernary<int, MultiplyHighSigned>,
                    &Arithmetic.LaneBinary<int, DivideSigned>, &Arithmetic.LaneBinary<int, RemainderSigned>);
                break;
            case "u64" or "b64":
                DecodeInteger<ulong>(&Arithmetic.LaneBinary<ulong, MultiplyHighUnsigned>, &Arithmetic.LaneTernary<ulong, MultiplyHighUnsigned>,
                    &Arithmetic.LaneBinary<ulong, DivideUnsigned>, &Arithmetic.LaneBinary<ulong, RemainderUnsigned>);
                break;
            case "s64":
                DecodeInteger<long>(&Arithmetic.LaneBinary<long, MultiplyHighSigned>, &Arithmetic.LaneTernary<long, MultiplyHighSigned>,
                    &Arithmetic.LaneBinary<long, DivideSigned>, &Arithmetic.LaneBinary<long, RemainderSigned>);
                break;
            default:
                throw Unsupported();
        }
    }

    private void DecodeInteger<T>(
        delegate*<Warp, Instruction*, uint, void> multiplyHigh, delegate*<Warp, Instruction*, uint, void> multiplyAddHigh,
        delegate*<Warp, Instruction*, uint, void> divide, delegate*<Warp, Instruction*, uint, void> remainder)
        where T : unmanaged, IBinaryInteger<T>
    {
        switch (Parts[0])
        {
            case "add":
                Allow();
                Binary(&Arithmetic.Binary<T, Add<T>>, Type);
                break;
            case "sub":
                Allow();
                Binary(&Arithmetic.Binary<T, Subtract<T>>, Type);
                break;
            case "min":
                Allow();
                Binary(&Arithmetic.Binary<T, MinimumInteger<T>>, Type);
                break;
            case "max":
                Allow();
                Binary(&Arithmetic.Binary<T, MaximumInteger<T>>, Type);
                break;
            case "abs":
                Allow();
                Unary(&Arithmetic.Unary<T, AbsoluteInteger<T>>, Type);
                break;
            case "neg":
                Allow();
                Unary(&Arithmetic.Unary<T, NegateInteger<T>>, Type);
                break;
            case "div":
                Allow();
                Binary(divide, Type);
                break;
            case "rem":
                Allow();
                Binary(remainder, Type);
                break;
            case "mul":
                Allow("lo", "hi", "wide");
                if (source.Has("wide"))
                {
                    DecodeWide(add: false);
                }
                else
                {
                    Binary(source.Has("hi") ? multiplyHigh : &Arithmetic.Binary<T, MultiplyLow<T>>, Type);
                }

                break;
            case "mad":
                Allow("lo", "hi", "wide");
                if (source.Has("wide"))
                {
                    DecodeWide(add: true);
                }
                else
                {
                    Ternary(source.Has("hi") ? multiplyAddHigh : &Arithmetic.Ternary<T, MultiplyAddLow<T>>, Type);
                }

                break;
            default:
                throw Unsupported();
        }
    }

    private void DecodeWide(bool add)
    {
        bool signed = IsSigned(Type);
        if (Type is not ("u32" or "s32"))
        {
            throw Unsupported();
        }

        result.Handler = (signed, add) switch
        {
            (true, true) => &SpecialHandlers.MultiplyAddWideSigned,
            (true, false) => &SpecialHandlers.MultiplyWideSigned,
            (false, true) => &SpecialHandlers.MultiplyAddWideUnsigned,
            _ => &SpecialHandlers.MultiplyWideUnsigned,
        };
        result.Destination = Output(Operands[0], wide: true);
        result.A = Input(Operands[1], Type);
        result.B = Input(Operands[2], Type);
        if (add)
        {
            result.C = Input(Operands[3], signed ? "s64" : "u64");
        }
    }

    private void DecodeShort<T>()
        where T : unmanaged, IBinaryInteger<T>
    {
        bool signed = IsSigned(Type);
        switch (source.Opcode)
        {
            case "add.u16" or "add.s16":
                Binary(&Arithmetic.LaneBinary<T, Add<T>>, Type);
                break;
            case "sub.u16" or "sub.s16":
                Binary(&Arithmetic.LaneBinary<T, Subtract<T>>, Type);
                break;
            case "mul.lo.u16" or "mul.lo.s16":
                Binary(&Arithmetic.LaneBinary<T, MultiplyLow<T>>, Type);
                break;
            case "mad.lo.u16" or "mad.lo.s16":
                Ternary(&Arithmetic.LaneTernary<T, MultiplyAddLow<T>>, Type);
                break;
            case "min.u16" or "min.s16":
                Binary(&Arithmetic.LaneBinary<T, MinimumInteger<T>>, Type);
                break;
            case "max.u16" or "max.s16":
                Binary(&Arithmetic.LaneBinary<T, MaximumInteger<T>>, Type);
                break;
            case "neg.s16":
                Unary(&Arithmetic.LaneUnary<T, T, NegateInteger<T>>, Type);
                break;
            case "div.u16" or "div.s16":
                Binary(signed ? &Arithmetic.LaneBinary<short, DivideSigned> : &Arithmetic.LaneBinary<ushort, DivideUnsigned>, Type);
                break;
            case "rem.u16" or "rem.s16":
                Binary(signed ? &Arithmetic.LaneBinary<short, RemainderSigned> : &Arithmetic.LaneBinary<ushort, RemainderUnsigned>, Type);
                break;
            case "mul.wide.u16" or "mul.wide.s16":
                result.Handler = signed ? &SpecialHandlers.MultiplyWide16<short, int> : &SpecialHandlers.MultiplyWide16<ushort, uint>;
                result.Destination = Output(Operands[0], wide: false);
                result.A = Input(Operands[1], Type);
                result.B = Input(Operands[2], Type);
                break;
            default:
                throw Unsupported();
        }
    }

    private void DecodeSingle()
    {
        Allow("rn", "rz", "rm", "rp", "ftz", "sat", "approx", "full", "NaN");
        switch (Parts[0])
        {
            case "add":
                Binary(SingleBinary<Add<float>>(&Arithmetic.LaneBinary<float, AddDirected<TowardsZero>>, &Arithmetic.LaneBinary<float, AddDirected<TowardsNegative>>,
                    &Arithmetic.LaneBinary<float, AddDirected<TowardsPositive>>), Type);
                break;
            case "sub":
                Binary(SingleBinary<Subtract<float>>(&Arithmetic.LaneBinary<float, SubtractDirected<TowardsZero>>,
                    &Arithmetic.LaneBinary<float, SubtractDirected<TowardsNegative>>, &Arithmetic.LaneBinary<float, SubtractDirected<TowardsPositive>>), Type);
                break;
            case "mul":
                Binary(SingleBinary<Multiply<float>>(&Arithmetic.LaneBinary<float, MultiplyDirected<TowardsZero>>,
                    &Arithmetic.LaneBinary<float, MultiplyDirected<TowardsNegative>>, &Arithmetic.LaneBinary<float, MultiplyDirected<TowardsPositive>>), Type);
                break;
            case "div":
                Binary(SingleBinary<Divide<float>>(&Arithmetic.LaneBinary<float, DivideDirected<TowardsZero>>,
                    &Arithmetic.LaneBinary<float, DivideDirected<TowardsNegative>>, &Arithmetic.LaneBinary<float, DivideDirected<TowardsPositive>>), Type);
                break;
            case "min":
                Binary(source.Has("NaN") ? SingleBinary<MinimumNaN<float>>() : SingleBinary<MinimumNumber<float>>(), Type);
                break;
            case "max":
                Binary(source.Has("NaN") ? SingleBinary<MaximumNaN<float>>() : SingleBinary<MaximumNumber<float>>(), Type);
                break;
            case "copysign":
                Binary(&Arithmetic.Binary<float, CopySign>, Type);
                break;
            case "fma" or "mad":
                Ternary(SingleFusedMultiplyAdd(), Type);
                break;
            case "abs":
                Unary(SingleUnary<AbsoluteFloat>(), Type);
                break;
            case "neg":
                Unary(SingleUnary<NegateFloat>(), Type);
                break;
            case "rcp":
                Unary(SingleUnary<Reciprocal>(), Type);
                break;
            case "sqrt":
                Unary(source.Has("rz") ? &Arithmetic.LaneUnary<float, float, SquareRootDirected<TowardsZero>> : SingleUnary<SquareRoot<float>>(), Type);
                break;
            case "rsqrt":
                Unary(SingleUnary<ReciprocalSquareRoot>(), Type);
                break;
            case "ex2":
                Unary(SingleUnary<ExponentialBase2>(), Type);
                break;
            case "lg2":
                Unary(SingleLaneUnary<LogarithmBase2>(), Type);
                break;
            case "sin":
                Unary(SingleLaneUnary<Sine>(), Type);
                break;
            case "cos":
                Unary(SingleLaneUnary<Cosine>(), Type);
                break;
            case "tanh":
                Unary(SingleLaneUnary<HyperbolicTangent>(), Type);
                break;
            default:
                throw Unsupported();
        }
    }

    private delegate*<Warp, Instruction*, uint, void> SingleUnary<TOperation>()
        where TOperation : struct, IUnary<float>
    {
        if (source.Has("rz") || source.Has("rm") || source.Has("rp"))
        {
            throw Unsupported();
        }

        return (source.Has("ftz"), source.Has("sat")) switch
        {
            (false, false) => &Arithmetic.Unary<float, TOperation>,
            (true, false) => &Arithmetic.Unary<float, Flushed1<TOperation>>,
            (false, true) => &Arithmetic.Unary<float, Saturated1<TOperation>>,
            _ => &Arithmetic.Unary<float, Saturated1<Flushed1<TOperation>>>,
        };
    }

    private delegate*<Warp, Instruction*, uint, void> SingleLaneUnary<TOperation>()
        where TOperation : struct, ILaneUnary<float, float> =>
        source.Has("ftz") ? &Arithmetic.LaneUnary<float, float, FlushedLane<TOperation>> : &Arithmetic.LaneUnary<float, float, TOperation>;

    private delegate*<Warp, Instruction*, uint, void> SingleBinary<TOperation>(
        delegate*<Warp, Instruction*, uint, void> zero = null, delegate*<Warp, Instruction*, uint, void> down = null,
        delegate*<Warp, Instruction*, uint, void> up = null)
        where TOperation : struct, IBinary<float>
    {
        if (source.Has("rz") || source.Has("rm") || source.Has("rp"))
        {
            delegate*<Warp, Instruction*, uint, void> directed = source.Has("rz") ? zero : source.Has("rm") ? down : up;
            return directed == null || source.Has("ftz") || source.Has("sat") ? throw Unsupported() : directed;
        }

        return (source.Has("ftz"), source.Has("sat")) switch
        {
            (false, false) => &Arithmetic.Binary<float, TOperation>,
            (true, false) => &Arithmetic.Binary<float, Flushed2<TOperation>>,
            (false, true) => &Arithmetic.Binary<float, Saturated2<TOperation>>,
            _ => &Arithmetic.Binary<float, Saturated2<Flushed2<TOperation>>>,
        };
    }

    private delegate*<Warp, Instruction*, uint, void> SingleFusedMultiplyAdd()
    {
        bool plain = !source.Has("ftz") && !source.Has("sat");
        if (source.Has("rz"))
        {
            return plain ? &Arithmetic.LaneTernary<float, FusedMultiplyAddDirected<TowardsZero>> : throw Unsupported();
        }

        if (source.Has("rm"))
        {
            return plain ? &Arithmetic.LaneTernary<float, FusedMultiplyAddDirected<TowardsNegative>> : throw Unsupported();
        }

        if (source.Has("rp"))
        {
            return plain ? &Arithmetic.LaneTernary<float, FusedMultiplyAddDirected<TowardsPositive>> : throw Unsupported();
        }

        return (source.Has("ftz"), source.Has("sat")) switch
        {
            (false, false) => &Arithmetic.Ternary<float, FusedMultiplyAdd>,
            (true, false) => &Arithmetic.Ternary<float, Flushed3<FusedMultiplyAdd>>,
            (false, true) => &Arithmetic.Ternary<float, Saturated3<FusedMultiplyAdd>>,
            _ => &Arithmetic.Ternary<float, Saturated3<Flushed3<FusedMultiplyAdd>>>,
        };
    }

    private void DecodeDouble()
    {
        Allow("rn", "approx", "ftz");
        switch (Parts[0])
        {
            case "add":
                Binary(&Arithmetic.Binary<double, Add<double>>, Type);
                break;
            case "sub":
                Binary(&Arithmetic.Binary<double, Subtract<double>>, Type);
                break;
            case "mul":
                Binary(&Arithmetic.Binary<double, Multiply<double>>, Type);
                break;
            case "div":
                Binary(&Arithmetic.Binary<double, Divide<double>>, Type);
                break;
            case "min":
                Binary(&Arithmetic.Binary<double, MinimumNumber<double>>, Type);
                break;
            case "max":
                Binary(&Arithmetic.Binary<double, MaximumNumber<double>>, Type);
                break;
            case "copysign":
                Binary(&Arithmetic.Binary<double, CopySign>, Type);
                break;
            case "fma" or "mad":
                Ternary(&Arithmetic.Ternary<double, FusedMultiplyAdd>, Type);
                break;
            case "abs":
                Unary(&Arithmetic.Unary<double, AbsoluteFloat>, Type);
                break;
            case "neg":
                Unary(&Arithmetic.Unary<double, NegateFloat>, Type);
                break;
            case "rcp":
                Unary(&Arithmetic.Unary<double, Reciprocal>, Type);
                break;
            case "sqrt":
                Unary(&Arithmetic.Unary<double, SquareRoot<double>>, Type);
                break;
            case "rsqrt":
                Unary(&Arithmetic.Unary<double, ReciprocalSquareRoot>, Type);
                break;
            default:
                throw Unsupported();
        }
    }

    private void DecodeHalf()
    {
        Allow("rn", "approx", "NaN");
        HalfOperation operation = Parts[0] switch
        {
            "add" => HalfOperation.Add,
            "sub" => HalfOperation.Subtract,
            "mul" => HalfOperation.Multiply,
            "fma" => HalfOperation.FusedMultiplyAdd,
            "min" => source.Has("NaN") ? HalfOperation.MinimumNaN : HalfOperation.Minimum,
            "max" => source.Has("NaN") ? HalfOperation.MaximumNaN : HalfOperation.Maximum,
            "neg" => HalfOperation.Negate,
            "abs" => HalfOperation.Absolute,
            "ex2" => HalfOperation.ExponentialBase2,
            "tanh" => HalfOperation.HyperbolicTangent,
            _ => throw Unsupported(),
        };
        result.Handler = Type[0] == 'b' ? &HalfHandlers.Invoke<BrainFormat> : &HalfHandlers.Invoke<HalfFormat>;
        result.Mode = (byte)operation;
        result.Count = Type.EndsWith("x2", StringComparison.Ordinal) ? (byte)2 : (byte)1;
        string bits = result.Count == 2 ? "b32" : "b16";
        result.Destination = Output(Operands[0], wide: false);
        result.A = Input(Operands[1], bits);
        result.B = Operands.Length > 2 ? Input(Operands[2], bits) : result.A;
        result.C = Operands.Length > 3 ? Input(Operands[3], bits) : result.A;
    }
}
