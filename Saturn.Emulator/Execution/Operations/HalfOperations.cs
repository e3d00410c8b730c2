using System.Numerics;

namespace Saturn.Emulator.Execution.Operations;

/// <summary>A 16-bit floating-point format: how its bits become float32 and back.</summary>
internal interface IHalfFormat
{
    static abstract float Decode(ushort bits);

    static abstract ushort Encode(float value);
}

internal readonly struct HalfFormat : IHalfFormat
{
    public static float Decode(ushort bits) => (float)BitConverter.UInt16BitsToHalf(bits);

    public static ushort Encode(float value) => BitConverter.HalfToUInt16Bits((Half)value);
}

internal readonly struct BrainFormat : IHalfFormat
{
    public static float Decode(ushort bits) => BrainFloat.ToSingle(bits);

    public static ushort Encode(float value) => BrainFloat.FromSingle(value);
}

internal enum HalfOperation : byte
{
    Add,
    Subtract,
    Multiply,
    FusedMultiplyAdd,
    Minimum,
    Maximum,
    MinimumNaN,
    MaximumNaN,
    Negate,
    Absolute,
    ExponentialBase2,
    HyperbolicTangent,
}

/// <summary>Arithmetic on float16 and bfloat16, single (.f16, .bf16) and packed (.f16x2, .bf16x2: Count is 2).</summary>
internal static unsafe class HalfHandlers
{
    public static void Invoke<TFormat>(Warp warp, Instruction* instruction, uint mask)
        where TFormat : struct, IHalfFormat
    {
        byte* r = warp.Registers;
        HalfOperation operation = (HalfOperation)instruction->Mode;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            uint a = ((uint*)(r + instruction->A))[lane];
            uint b = ((uint*)(r + instruction->B))[lane];
            uint c = ((uint*)(r + instruction->C))[lane];
            uint result = One<TFormat>(operation, (ushort)a, (ushort)b, (ushort)c);
            if (instruction->Count == 2)
            {
                result |= (uint)One<TFormat>(operation, (ushort)(a >> 16), (ushort)(b >> 16), (ushort)(c >> 16)) << 16;
            }

            ((uint*)(r + instruction->Destination))[lane] = result;
        }
    }

    // Sums and products of two 16-bit numbers are exact or correctly rounded in float64, and are rounded once more to 16 bits; float64 has more than
    // 2·11 + 2 bits, so the second rounding is innocuous (Figueroa, 1995). Encode takes float32: bfloat16's fused product goes through odd rounding.
    private static ushort One<TFormat>(HalfOperation operation, ushort aBits, ushort bBits, ushort cBits)
        where TFormat : struct, IHalfFormat
    {
        float a = TFormat.Decode(aBits);
        float b = TFormat.Decode(bBits);
        float c = TFormat.Decode(cBits);
        switch (operation)
        {
            case HalfOperation.Add:
                return TFormat.Encode(ToOdd((double)a + b));
            case HalfOperation.Subtract:
                return TFormat.Encode(ToOdd((double)a - b));
            case HalfOperation.Multiply:
                return TFormat.Encode(a * b);
            case HalfOperation.FusedMultiplyAdd:
                return TFormat.Encode(ToOdd((double)a * b + c));
            case HalfOperation.Minimum:
                return TFormat.Encode(float.MinNumber(a, b));
            case HalfOperation.Maximum:
                return TFormat.Encode(float.MaxNumber(a, b));
            case HalfOperation.MinimumNaN:
                return TFormat.Encode(float.Min(a, b));
            case HalfOperation.MaximumNaN:
                return TFormat.Encode(float.Max(a, b));
            case HalfOperation.Negate:
                return (ushort)(aBits ^ 0x8000);
            case HalfOperation.Absolute:
                return (ushort)(aBits & 0x7FFF);
            case HalfOperation.ExponentialBase2:
                return TFormat.Encode(MathF.Pow(2, a));
            default:
                return TFormat.Encode(MathF.Tanh(a));
        }
    }

    /// <summary>float64 to float32, inexact results with an odd last bit, so that the rounding to 16 bits that follows is the only one that counts.</summary>
    private static float ToOdd(double value)
    {
        float nearest = (float)value;
        if (nearest == value || !double.IsFinite(value) || !float.IsFinite(nearest))
        {
            return nearest;
        }

        uint bits = BitConverter.SingleToUInt32Bits(nearest);
        if ((bits & 1) != 0)
        {
            return nearest;
        }

        return Math.Abs(nearest) > Math.Abs(value) ? BitConverter.UInt32BitsToSingle(bits - 1) : BitConverter.UInt32BitsToSingle(bits + 1);
    }
}
