using System.Numerics;
using System.Runtime.Intrinsics;

namespace Saturn.Emulator.Execution.Operations;

/// <summary>bfloat16 by its bits: the upper half of a float32.</summary>
internal static class BrainFloat
{
    public static float ToSingle(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    /// <summary>Rounds to nearest even; NaN becomes the canonical 0x7FFF, as the hardware's conversion gives.</summary>
    public static ushort FromSingle(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? (ushort)0x7FFF : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    public static ushort FromSingleTowardsZero(float value) =>
        float.IsNaN(value) ? (ushort)0x7FFF : (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);
}

/// <summary>The type of a conversion's side.</summary>
internal enum NumberType : byte
{
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    BF16,
    F32,
    F64,
}

/// <summary>How a conversion rounds.</summary>
internal enum RoundingMode : byte
{
    /// <summary>To nearest, ties to even.</summary>
    Nearest,

    /// <summary>Towards zero.</summary>
    Zero,

    /// <summary>Towards negative infinity.</summary>
    Down,

    /// <summary>Towards positive infinity.</summary>
    Up,
}

/// <summary>cvt: vectors for the conversions that kernels are full of, lane by lane for the others.</summary>
internal static unsafe class Conversion
{
    public const byte Saturate = 1;
    public const byte FlushSubnormals = 2;

    /// <summary>Whether a float32 or float16 result is first rounded to an integer (cvt.rni and the like between floating-point types).</summary>
    public const byte ToIntegral = 4;

    public static void WidenUnsigned(Warp warp, Instruction* instruction, uint mask)
    {
        for (int part = 0; part < 4; part++)
        {
            Vector256<uint> a = Vector256.Load((uint*)(warp.Registers + instruction->A) + part * 8);
            Lanes.Store(warp.Registers + instruction->Destination, part, Vector512.WidenLower(a.ToVector512Unsafe()), mask);
        }
    }

    public static void WidenSigned(Warp warp, Instruction* instruction, uint mask)
    {
        for (int part = 0; part < 4; part++)
        {
            Vector256<int> a = Vector256.Load((int*)(warp.Registers + instruction->A) + part * 8);
            Lanes.Store(warp.Registers + instruction->Destination, part, Vector512.WidenLower(a.ToVector512Unsafe()), mask);
        }
    }

    public static void Narrow(Warp warp, Instruction* instruction, uint mask)
    {
        for (int part = 0; part < 2; part++)
        {
            Vector512<uint> value = Vector512.Narrow(
                Lanes.Load<ulong>(warp.Registers + instruction->A, 2 * part), Lanes.Load<ulong>(warp.Registers + instruction->A, 2 * part + 1));
            Lanes.Store(warp.Registers + instruction->Destination, part, value, mask);
        }
    }

    public static void SignedToSingle(Warp warp, Instruction* instruction, uint mask)
    {
        for (int part = 0; part < 2; part++)
        {
            Lanes.Store(warp.Registers + instruction->Destination, part, Vector512.ConvertToSingle(Lanes.Load<int>(warp.Registers + instruction->A, part)), mask);
        }
    }

    public static void SingleToDouble(Warp warp, Instruction* instruction, uint mask)
    {
        for (int part = 0; part < 4; part++)
        {
            Vector256<float> a = Vector256.Load((float*)(warp.Registers + instruction->A) + part * 8);
            Lanes.Store(warp.Registers + instruction->Destination, part, Vector512.WidenLower(a.ToVector512Unsafe()), mask);
        }
    }

    public static void DoubleToSingle(Warp warp, Instruction* instruction, uint mask)
    {
        for (int part = 0; part < 2; part++)
        {
            Vector512<float> value = Vector512.Narrow(
                Lanes.Load<double>(warp.Registers + instruction->A, 2 * part), Lanes.Load<double>(warp.Registers + instruction->A, 2 * part + 1));
            Lanes.Store(warp.Registers + instruction->Destination, part, value, mask);
        }
    }

    /// <summary>Any conversion. Source holds the type converted from, Count the type converted to, Mode the rounding, Immediate the flags.</summary>
    public static void General(Warp warp, Instruction* instruction, uint mask)
    {
        byte* r = warp.Registers;
        NumberType from = (NumberType)instruction->Source;
        NumberType to = (NumberType)instruction->Count;
        RoundingMode rounding = (RoundingMode)instruction->Mode;
        int flags = (int)instruction->Immediate;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            if (from >= NumberType.F16)
            {
                FromFloat(ReadFloat(r + instruction->A, lane, from, flags), r + instruction->Destination, lane, from, to, rounding, flags);
            }
            else
            {
                FromInteger(ReadInteger(r + instruction->A, lane, from), r + instruction->Destination, lane, to, rounding, flags);
            }
        }
    }

    private static Int128 ReadInteger(byte* register, int lane, NumberType type) => type switch
    {
        NumberType.U8 => Arithmetic.Read<byte>(register, lane),
        NumberType.U16 => Arithmetic.Read<ushort>(register, lane),
        NumberType.U32 => Arithmetic.Read<uint>(register, lane),
        NumberType.U64 => Arithmetic.Read<ulong>(register, lane),
        NumberType.S8 => Arithmetic.Read<sbyte>(register, lane),
        NumberType.S16 => Arithmetic.Read<short>(register, lane),
        NumberType.S32 => Arithmetic.Read<int>(register, lane),
        _ => Arithmetic.Read<long>(register, lane),
    };

    private static double ReadFloat(byte* register, int lane, NumberType type, int flags) => type switch
    {
        NumberType.F16 => (double)Arithmetic.Read<Half>(register, lane),
        NumberType.BF16 => BrainFloat.ToSingle(Arithmetic.Read<ushort>(register, lane)),
        NumberType.F32 => (flags & FlushSubnormals) != 0 ? Flush.Subnormals(Arithmetic.Read<float>(register, lane)) : Arithmetic.Read<float>(register, lane),
        _ => Arithmetic.Read<double>(register, lane),
    };

    private static (Int128 Low, Int128 High) Range(NumberType type) => type switch
    {
        NumberType.U8 => (0, byte.MaxValue),
        NumberType.U16 => (0, ushort.MaxValue),
        NumberType.U32 => (0, uint.MaxValue),
        NumberType.U64 => (0, ulong.MaxValue),
        NumberType.S8 => (sbyte.MinValue, sbyte.MaxValue),
        NumberType.S16 => (short.MinValue, short.MaxValue),
        NumberType.S32 => (int.MinValue, int.MaxValue),
        _ => (long.MinValue, long.MaxValue),
    };

    private static void WriteInteger(byte* register, int lane, NumberType type, Int128 value)
    {
        switch (type)
        {
            // 8-bit results live in wider registers, extended by their sign.
            case NumberType.U8:
                Arithmetic.Write(register, lane, (uint)(byte)value);
                break;
            case NumberType.S8:
                Arithmetic.Write(register, lane, (int)(sbyte)value);
                break;
            case NumberType.U16 or NumberType.S16:
                Arithmetic.Write(register, lane, unchecked((ushort)value));
                break;
            case NumberType.U32 or NumberType.S32:
                Arithmetic.Write(register, lane, unchecked((uint)value));
                break;
            default:
                Arithmetic.Write(register, lane, unchecked((ulong)value));
                break;
        }
    }

    private static void FromInteger(Int128 value, byte* register, int lane, NumberType to, RoundingMode rounding, int flags)
    {
        if (to < NumberType.F16)
        {
            if ((flags & Saturate) != 0)
            {
                (Int128 low, Int128 high) = Range(to);
                value = Int128.Clamp(value, low, high);
            }

            WriteInteger(register, lane, to, unchecked(value));
            return;
        }

        // 64-bit integers do not fit float64: round once, to the type asked for.
        switch (to)
        {
            case NumberType.F64:
                Arithmetic.Write(register, lane, (double)value);
                break;
            case NumberType.F32 when rounding == RoundingMode.Nearest:
                Arithmetic.Write(register, lane, value < 0 ? -(float)(ulong)-value : (float)(ulong)value);
                break;
            case NumberType.F32:
                double nearest = (double)value;
                double error = (double)(value - (Int128)nearest);
                Arithmetic.Write(register, lane, Round(nearest, error, rounding));
                break;
            case NumberType.F16:
                Arithmetic.Write(register, lane, (Half)(double)value);
                break;
            default:
                Arithmetic.Write(register, lane, BrainFloat.FromSingle((float)(double)value));
                break;
        }
    }

    private static float Round(double value, double error, RoundingMode rounding) => rounding switch
    {
        RoundingMode.Nearest => (float)value,
        RoundingMode.Zero => TowardsZero.Round(value, error),
        RoundingMode.Down => Directed.Down(value, error),
        _ => Directed.Up(value, error),
    };

    private static void FromFloat(double value, byte* register, int lane, NumberType from, NumberType to, RoundingMode rounding, int flags)
    {
        if (to < NumberType.F16)
        {
            // Integers saturate whatever .sat says; NaN becomes 0 for narrow types and for 32 bits, and 2⁶³ for 64 bits.
            (Int128 low, Int128 high) = Range(to);
            Int128 integer = double.IsNaN(value)
                ? to is NumberType.U64 or NumberType.S64 ? Int128.One << 63 : 0
                : double.IsInfinity(value) ? value > 0 ? high : low : Int128.Clamp((Int128)Integral(value, rounding), low, high);
            WriteInteger(register, lane, to, unchecked(integer));
            return;
        }

        if ((flags & ToIntegral) != 0)
        {
            value = Integral(value, rounding);
            rounding = RoundingMode.Nearest;
        }

        if ((flags & Saturate) != 0)
        {
            value = double.IsNaN(value) ? 0 : Math.Clamp(value, 0, 1);
        }

        switch (to)
        {
            case NumberType.F64:
                Arithmetic.Write(register, lane, value);
                break;
            case NumberType.F32:
                float single = from == NumberType.F64 && double.IsFinite(value) ? Round(value, 0, rounding) : (float)value;
                Arithmetic.Write(register, lane, (flags & FlushSubnormals) != 0 ? Flush.Subnormals(single) : single);
                break;
            case NumberType.F16:
                Arithmetic.Write(register, lane, rounding == RoundingMode.Zero ? HalfTowardsZero(value) : (Half)value);
                break;
            default:
                Arithmetic.Write(register, lane, rounding == RoundingMode.Zero ? BrainFloat.FromSingleTowardsZero((float)value) : BrainFloat.FromSingle((float)value));
                break;
        }
    }

    private static double Integral(double value, RoundingMode rounding) => rounding switch
    {
        RoundingMode.Nearest => Math.Round(value, MidpointRounding.ToEven),
        RoundingMode.Zero => Math.Truncate(value),
        RoundingMode.Down => Math.Floor(value),
        _ => Math.Ceiling(value),
    };

    private static Half HalfTowardsZero(double value)
    {
        Half nearest = (Half)value;
        if (double.IsFinite(value) && Math.Abs((double)nearest) > Math.Abs(value))
        {
            return BitConverter.UInt16BitsToHalf((ushort)(BitConverter.HalfToUInt16Bits(nearest) - 1));
        }

        return nearest;
    }

    /// <summary>cvt of two float32 to a packed pair: d = {A as the upper half, B as the lower}. Count is F16 or BF16.</summary>
    public static void PackPair(Warp warp, Instruction* instruction, uint mask)
    {
        byte* r = warp.Registers;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            uint upper = ToHalfBits(Arithmetic.Read<float>(r + instruction->A, lane), instruction);
            uint lower = ToHalfBits(Arithmetic.Read<float>(r + instruction->B, lane), instruction);
            Arithmetic.Write(r + instruction->Destination, lane, (upper << 16) | lower);
        }
    }

    private static ushort ToHalfBits(float value, Instruction* instruction)
    {
        if ((instruction->Immediate & 8) != 0)
        {
            value = float.IsNaN(value) ? value : MathF.Max(value, 0); // .relu
        }

        bool truncate = (RoundingMode)instruction->Mode == RoundingMode.Zero;
        return (NumberType)instruction->Count == NumberType.F16
            ? BitConverter.HalfToUInt16Bits(truncate ? HalfTowardsZero(value) : (Half)value)
            : truncate ? BrainFloat.FromSingleTowardsZero(value) : BrainFloat.FromSingle(value);
    }

    /// <summary>cvt.rna.tf32.f32: 10 mantissa bits, ties away from zero.</summary>
    public static void ToTensorFloat(Warp warp, Instruction* instruction, uint mask)
    {
        for (int part = 0; part < 2; part++)
        {
            Vector512<uint> bits = Lanes.Load<uint>(warp.Registers + instruction->A, part);
            Vector512<uint> special = Vector512.Equals(bits & Vector512.Create(0x7F800000u), Vector512.Create(0x7F800000u));
            Vector512<uint> rounded = (bits + Vector512.Create(0x1000u)) & Vector512.Create(0xFFFFE000u);
            Lanes.Store(warp.Registers + instruction->Destination, part, Vector512.ConditionalSelect(special, bits, rounded), mask);
        }
    }
}
