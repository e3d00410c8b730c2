using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Emulator.Execution.Operations;

// Each struct is one operation of the PTX manual, section "Floating-Point Instructions", rounded to nearest even unless its name says otherwise.
internal readonly struct Multiply<T> : IBinary<T>
    where T : unmanaged
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => a * b;
}

internal readonly struct Divide<T> : IBinary<T>
    where T : unmanaged
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => a / b;
}

internal readonly struct FusedMultiplyAdd : ITernary<float>, ITernary<double>
{
    public static Vector512<float> Invoke(Vector512<float> a, Vector512<float> b, Vector512<float> c) => Vector512.FusedMultiplyAdd(a, b, c);

    public static Vector512<double> Invoke(Vector512<double> a, Vector512<double> b, Vector512<double> c) => Vector512.FusedMultiplyAdd(a, b, c);
}

// minNum and maxNum: if one operand is NaN the other is the result; −0 is smaller than +0.
internal readonly struct MinimumNumber<T> : IBinary<T>
    where T : unmanaged
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => Vector512.MinNumber(a, b);
}

internal readonly struct MaximumNumber<T> : IBinary<T>
    where T : unmanaged
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => Vector512.MaxNumber(a, b);
}

// min.NaN and max.NaN: NaN if any operand is.
internal readonly struct MinimumNaN<T> : IBinary<T>
    where T : unmanaged
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => Vector512.Min(a, b);
}

internal readonly struct MaximumNaN<T> : IBinary<T>
    where T : unmanaged
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => Vector512.Max(a, b);
}

internal readonly struct AbsoluteFloat : IUnary<float>, IUnary<double>
{
    public static Vector512<float> Invoke(Vector512<float> a) => (a.AsUInt32() & Vector512.Create(0x7FFFFFFFu)).AsSingle();

    public static Vector512<double> Invoke(Vector512<double> a) => (a.AsUInt64() & Vector512.Create(0x7FFFFFFFFFFFFFFFul)).AsDouble();
}

internal readonly struct NegateFloat : IUnary<float>, IUnary<double>
{
    public static Vector512<float> Invoke(Vector512<float> a) => (a.AsUInt32() ^ Vector512.Create(0x80000000u)).AsSingle();

    public static Vector512<double> Invoke(Vector512<double> a) => (a.AsUInt64() ^ Vector512.Create(0x8000000000000000ul)).AsDouble();
}

internal readonly struct SquareRoot<T> : IUnary<T>
    where T : unmanaged
{
    public static Vector512<T> Invoke(Vector512<T> a) => Vector512.Sqrt(a);
}

internal readonly struct Reciprocal : IUnary<float>, IUnary<double>
{
    public static Vector512<float> Invoke(Vector512<float> a) => Vector512<float>.One / a;

    public static Vector512<double> Invoke(Vector512<double> a) => Vector512<double>.One / a;
}

// The approximate functions are computed to within an ulp or so, which lies inside the hardware's documented error (PTX manual, each instruction's table).
internal readonly struct ReciprocalSquareRoot : IUnary<float>, IUnary<double>
{
    public static Vector512<float> Invoke(Vector512<float> a) => Vector512<float>.One / Vector512.Sqrt(a);

    public static Vector512<double> Invoke(Vector512<double> a) => Vector512<double>.One / Vector512.Sqrt(a);
}

internal readonly struct ExponentialBase2 : IUnary<float>
{
    // 2ˣ = 2ⁿ·2ᶠ with |f| ≤ ½; 2ᶠ by its Taylor series to degree 7 (relative error below 1e-8), scaled in two steps so that subnormal results come out rounded.
    public static Vector512<float> Invoke(Vector512<float> a)
    {
        Vector512<float> limited = Vector512.Min(Vector512.Max(a, Vector512.Create(-160f)), Vector512.Create(160f));
        Vector512<float> n = Vector512.Round(limited);
        Vector512<float> y = (limited - n) * 0.69314718f;
        Vector512<float> series = Vector512.FusedMultiplyAdd(y, Vector512.Create(1f / 5040), Vector512.Create(1f / 720));
        series = Vector512.FusedMultiplyAdd(series, y, Vector512.Create(1f / 120));
        series = Vector512.FusedMultiplyAdd(series, y, Vector512.Create(1f / 24));
        series = Vector512.FusedMultiplyAdd(series, y, Vector512.Create(1f / 6));
        series = Vector512.FusedMultiplyAdd(series, y, Vector512.Create(0.5f));
        series = Vector512.FusedMultiplyAdd(series, y, Vector512<float>.One);
        series = Vector512.FusedMultiplyAdd(series, y, Vector512<float>.One);
        Vector512<int> exponent = Vector512.ConvertToInt32(n);
        Vector512<int> half = exponent >> 1;
        Vector512<float> result = series * PowerOfTwo(half) * PowerOfTwo(exponent - half);
        return Vector512.ConditionalSelect(Vector512.Equals(a, a), result, a);
    }

    private static Vector512<float> PowerOfTwo(Vector512<int> exponent) => ((exponent + Vector512.Create(127)) << 23).AsSingle();
}

internal readonly struct LogarithmBase2 : ILaneUnary<float, float>
{
    public static float Invoke(float a) => MathF.Log2(a);
}

internal readonly struct Sine : ILaneUnary<float, float>
{
    public static float Invoke(float a) => MathF.Sin(a);
}

internal readonly struct Cosine : ILaneUnary<float, float>
{
    public static float Invoke(float a) => MathF.Cos(a);
}

internal readonly struct HyperbolicTangent : ILaneUnary<float, float>
{
    public static float Invoke(float a) => MathF.Tanh(a);
}

internal readonly struct CopySign : IBinary<float>, IBinary<double>
{
    // copysign d, a, b: the sign of a, the magnitude of b.
    public static Vector512<float> Invoke(Vector512<float> a, Vector512<float> b) =>
        ((a.AsUInt32() & Vector512.Create(0x80000000u)) | (b.AsUInt32() & Vector512.Create(0x7FFFFFFFu))).AsSingle();

    public static Vector512<double> Invoke(Vector512<double> a, Vector512<double> b) =>
        ((a.AsUInt64() & Vector512.Create(0x8000000000000000ul)) | (b.AsUInt64() & Vector512.Create(0x7FFFFFFFFFFFFFFFul))).AsDouble();
}

// .ftz: subnormal operands and results count as zeros of their sign. .sat: results are limited to [0, 1], NaN becomes 0.
internal readonly struct Flushed1<TOperation> : IUnary<float>
    where TOperation : struct, IUnary<float>
{
    public static Vector512<float> Invoke(Vector512<float> a) => Flush.Subnormals(TOperation.Invoke(Flush.Subnormals(a)));
}

internal readonly struct Flushed2<TOperation> : IBinary<float>
    where TOperation : struct, IBinary<float>
{
    public static Vector512<float> Invoke(Vector512<float> a, Vector512<float> b) => Flush.Subnormals(TOperation.Invoke(Flush.Subnormals(a), Flush.Subnormals(b)));
}

internal readonly struct Flushed3<TOperation> : ITernary<float>
    where TOperation : struct, ITernary<float>
{
    public static Vector512<float> Invoke(Vector512<float> a, Vector512<float> b, Vector512<float> c) =>
        Flush.Subnormals(TOperation.Invoke(Flush.Subnormals(a), Flush.Subnormals(b), Flush.Subnormals(c)));
}

internal readonly struct FlushedLane<TOperation> : ILaneUnary<float, float>
    where TOperation : struct, ILaneUnary<float, float>
{
    public static float Invoke(float a) => Flush.Subnormals(TOperation.Invoke(Flush.Subnormals(a)));
}

internal readonly struct Saturated1<TOperation> : IUnary<float>
    where TOperation : struct, IUnary<float>
{
    public static Vector512<float> Invoke(Vector512<float> a) => Flush.Saturate(TOperation.Invoke(a));
}

internal readonly struct Saturated2<TOperation> : IBinary<float>
    where TOperation : struct, IBinary<float>
{
    public static Vector512<float> Invoke(Vector512<float> a, Vector512<float> b) => Flush.Saturate(TOperation.Invoke(a, b));
}

internal readonly struct Saturated3<TOperation> : ITernary<float>
    where TOperation : struct, ITernary<float>
{
    public static Vector512<float> Invoke(Vector512<float> a, Vector512<float> b, Vector512<float> c) => Flush.Saturate(TOperation.Invoke(a, b, c));
}

internal static class Flush
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Subnormals(Vector512<float> a)
    {
        Vector512<uint> bits = a.AsUInt32();
        Vector512<uint> subnormal = Vector512.Equals(bits & Vector512.Create(0x7F800000u), Vector512<uint>.Zero);
        return Vector512.ConditionalSelect(subnormal, bits & Vector512.Create(0x80000000u), bits).AsSingle();
    }

    public static float Subnormals(float a)
    {
        uint bits = BitConverter.SingleToUInt32Bits(a);
        return (bits & 0x7F800000) == 0 ? BitConverter.UInt32BitsToSingle(bits & 0x80000000) : a;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Saturate(Vector512<float> a) =>
        Vector512.Min(Vector512.MaxNumber(a, Vector512<float>.Zero), Vector512<float>.One);
}

// Directed roundings of float32: the result in float64 is exact or has a known error, from which the neighbour is chosen.
internal interface IRounding
{
    static abstract float Round(double sum, double error);
}

internal readonly struct TowardsZero : IRounding
{
    public static float Round(double sum, double error) => sum + error < 0 ? Directed.Up(sum, error) : Directed.Down(sum, error);
}

internal readonly struct TowardsNegative : IRounding
{
    public static float Round(double sum, double error) => Directed.Down(sum, error);
}

internal readonly struct TowardsPositive : IRounding
{
    public static float Round(double sum, double error) => Directed.Up(sum, error);
}

internal static class Directed
{
    // sum + error is the exact value, |error| at most half an ulp (float64) of the sum.
    public static float Down(double sum, double error)
    {
        float nearest = (float)sum;
        if (float.IsPositiveInfinity(nearest) && !double.IsInfinity(sum))
        {
            return float.MaxValue;
        }

        return nearest > sum || (nearest == sum && error < 0) ? float.BitDecrement(nearest) : nearest;
    }

    public static float Up(double sum, double error)
    {
        float nearest = (float)sum;
        if (float.IsNegativeInfinity(nearest) && !double.IsInfinity(sum))
        {
            return float.MinValue;
        }

        return nearest < sum || (nearest == sum && error > 0) ? float.BitIncrement(nearest) : nearest;
    }

    /// <summary>The rounding error of a + b = sum (Knuth, "The Art of Computer Programming", volume 2, theorem B of 4.2.2).</summary>
    public static double SumError(double a, double b, double sum)
    {
        double other = sum - a;
        return (a - (sum - other)) + (b - other);
    }
}

internal readonly struct AddDirected<TRounding> : ILaneBinary<float>
    where TRounding : struct, IRounding
{
    public static float Invoke(float a, float b)
    {
        double sum = (double)a + b;
        return double.IsFinite(sum) ? TRounding.Round(sum, Directed.SumError(a, b, sum)) : (float)sum;
    }
}

internal readonly struct SubtractDirected<TRounding> : ILaneBinary<float>
    where TRounding : struct, IRounding
{
    public static float Invoke(float a, float b) => AddDirected<TRounding>.Invoke(a, -b);
}

internal readonly struct MultiplyDirected<TRounding> : ILaneBinary<float>
    where TRounding : struct, IRounding
{
    public static float Invoke(float a, float b)
    {
        double product = (double)a * b;
        return double.IsFinite(product) ? TRounding.Round(product, 0) : (float)product;
    }
}

internal readonly struct FusedMultiplyAddDirected<TRounding> : ILaneTernary<float>
    where TRounding : struct, IRounding
{
    public static float Invoke(float a, float b, float c)
    {
        double product = (double)a * b;
        double sum = product + c;
        return double.IsFinite(sum) ? TRounding.Round(sum, Directed.SumError(product, c, sum)) : (float)sum;
    }
}

internal readonly struct DivideDirected<TRounding> : ILaneBinary<float>
    where TRounding : struct, IRounding
{
    // The quotient in float64 is off by less than half an ulp, whose sign is that of the exact remainder over the divisor.
    public static float Invoke(float a, float b)
    {
        double quotient = (double)a / b;
        if (!double.IsFinite(quotient))
        {
            return (float)quotient;
        }

        double remainder = Math.FusedMultiplyAdd(-quotient, b, a);
        return TRounding.Round(quotient, remainder / b);
    }
}

internal readonly struct SquareRootDirected<TRounding> : ILaneUnary<float, float>
    where TRounding : struct, IRounding
{
    public static float Invoke(float a)
    {
        double root = Math.Sqrt(a);
        return double.IsFinite(root) && root != 0 ? TRounding.Round(root, Math.FusedMultiplyAdd(-root, root, a)) : (float)root;
    }
}
