using System.Globalization;

namespace Saturn.Emulator.Ptx;

/// <summary>Numbers as PTX writes them: 12, 0x1F, 017, 0b101, 12U, 0f3F800000 (float32 bits), 0d3FF0000000000000 (float64 bits), 1.5.</summary>
internal static class PtxLiteral
{
    public enum Kind
    {
        Integer,
        Single,
        Double,
    }

    /// <summary>The bits of a literal: an integer's value, or a floating-point number's bits.</summary>
    public static ulong Parse(string text, out Kind kind)
    {
        kind = Kind.Integer;
        string digits = text.TrimEnd('U');
        if (digits.StartsWith("0f", StringComparison.OrdinalIgnoreCase) && digits.Length == 10)
        {
            kind = Kind.Single;
            return ulong.Parse(digits.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        }

        if (digits.StartsWith("0d", StringComparison.OrdinalIgnoreCase) && digits.Length == 18)
        {
            kind = Kind.Double;
            return ulong.Parse(digits.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        }

        if (digits.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
        {
            return ulong.Parse(digits.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        }

        if (digits.StartsWith("0b", StringComparison.OrdinalIgnoreCase))
        {
            return ulong.Parse(digits.AsSpan(2), NumberStyles.BinaryNumber, CultureInfo.InvariantCulture);
        }

        if (digits.Contains('.'))
        {
            kind = Kind.Double;
            return BitConverter.DoubleToUInt64Bits(double.Parse(digits, CultureInfo.InvariantCulture));
        }

        return digits.Length > 1 && digits[0] == '0' ? Convert.ToUInt64(digits, 8) : ulong.Parse(digits, CultureInfo.InvariantCulture);
    }

    /// <summary>Whether a word is a number.</summary>
    public static bool IsLiteral(string text) => char.IsAsciiDigit(text[0]);
}
