namespace Saturn.Tests.References;

/// <summary>What tensor cores see of a float32 operand.</summary>
public static class RoundingReference
{
    /// <summary>To ten bits of mantissa, to nearest, ties away from zero.</summary>
    public static float ToTf32(float value) => BitConverter.UInt32BitsToSingle((BitConverter.SingleToUInt32Bits(value) + 0x1000u) & ~0x1FFFu);

    /// <summary>To seven bits of mantissa, to nearest, ties to even: the upper half of the word.</summary>
    public static ushort ToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    /// <summary>The float32 value of a bfloat16.</summary>
    public static float FromBFloat16(ushort value) => BitConverter.UInt32BitsToSingle((uint)value << 16);
}
