namespace Saturn.Bench.Works;

/// <summary>Conversions of bfloat16, the upper half of a float32.</summary>
internal static class BFloat16
{
    /// <summary>Rounds to nearest, ties to even. Not for values that are not numbers.</summary>
    public static ushort FromSingle(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }

    /// <summary>The value, exactly.</summary>
    public static float ToSingle(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);
}
