using System.Numerics;
using System.Runtime.Intrinsics;

namespace Saturn.Emulator.Execution.Operations;

// Each struct is one integer operation of the PTX manual, section "Integer Arithmetic Instructions" or "Logic and Shift Instructions".
internal readonly struct Add<T> : IBinary<T>, ILaneBinary<T>
    where T : unmanaged, IBinaryNumber<T>
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => a + b;

    public static T Invoke(T a, T b) => unchecked(a + b);
}

internal readonly struct Subtract<T> : IBinary<T>, ILaneBinary<T>
    where T : unmanaged, IBinaryNumber<T>
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => a - b;

    public static T Invoke(T a, T b) => unchecked(a - b);
}

internal readonly struct MultiplyLow<T> : IBinary<T>, ILaneBinary<T>
    where T : unmanaged, IBinaryNumber<T>
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => a * b;

    public static T Invoke(T a, T b) => unchecked(a * b);
}

internal readonly struct MultiplyAddLow<T> : ITernary<T>, ILaneTernary<T>
    where T : unmanaged, IBinaryNumber<T>
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b, Vector512<T> c) => a * b + c;

    public static T Invoke(T a, T b, T c) => unchecked(a * b + c);
}

internal readonly struct MultiplyHighUnsigned : ILaneBinary<uint>, ILaneBinary<ulong>, ILaneTernary<uint>, ILaneTernary<ulong>
{
    public static uint Invoke(uint a, uint b) => (uint)(((ulong)a * b) >> 32);

    public static ulong Invoke(ulong a, ulong b) => Math.BigMul(a, b, out _);

    public static uint Invoke(uint a, uint b, uint c) => unchecked(Invoke(a, b) + c);

    public static ulong Invoke(ulong a, ulong b, ulong c) => unchecked(Invoke(a, b) + c);
}

internal readonly struct MultiplyHighSigned : ILaneBinary<int>, ILaneBinary<long>, ILaneTernary<int>, ILaneTernary<long>
{
    public static int Invoke(int a, int b) => (int)(((long)a * b) >> 32);

    public static long Invoke(long a, long b) => Math.BigMul(a, b, out _);

    public static int Invoke(int a, int b, int c) => unchecked(Invoke(a, b) + c);

    public static long Invoke(long a, long b, long c) => unchecked(Invoke(a, b) + c);
}

// Division by zero gives all ones, and the remainder is the dividend, as NVIDIA hardware does (the manual leaves both unspecified).
internal readonly struct DivideUnsigned : ILaneBinary<ushort>, ILaneBinary<uint>, ILaneBinary<ulong>
{
    public static ushort Invoke(ushort a, ushort b) => b == 0 ? ushort.MaxValue : (ushort)(a / b);

    public static uint Invoke(uint a, uint b) => b == 0 ? uint.MaxValue : a / b;

    public static ulong Invoke(ulong a, ulong b) => b == 0 ? ulong.MaxValue : a / b;
}

internal readonly struct DivideSigned : ILaneBinary<short>, ILaneBinary<int>, ILaneBinary<long>
{
    public static short Invoke(short a, short b) => b == 0 ? (short)-1 : unchecked((short)(a / b));

    public static int Invoke(int a, int b) => b == 0 ? -1 : b == -1 ? unchecked(-a) : a / b;

    public static long Invoke(long a, long b) => b == 0 ? -1 : b == -1 ? unchecked(-a) : a / b;
}

internal readonly struct RemainderUnsigned : ILaneBinary<ushort>, ILaneBinary<uint>, ILaneBinary<ulong>
{
    public static ushort Invoke(ushort a, ushort b) => b == 0 ? a : (ushort)(a % b);

    public static uint Invoke(uint a, uint b) => b == 0 ? a : a % b;

    public static ulong Invoke(ulong a, ulong b) => b == 0 ? a : a % b;
}

internal readonly struct RemainderSigned : ILaneBinary<short>, ILaneBinary<int>, ILaneBinary<long>
{
    public static short Invoke(short a, short b) => b == 0 ? a : b == -1 ? (short)0 : (short)(a % b);

    public static int Invoke(int a, int b) => b == 0 ? a : b == -1 ? 0 : a % b;

    public static long Invoke(long a, long b) => b == 0 ? a : b == -1 ? 0 : a % b;
}

internal readonly struct MinimumInteger<T> : IBinary<T>, ILaneBinary<T>
    where T : unmanaged, IBinaryNumber<T>
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => Vector512.Min(a, b);

    public static T Invoke(T a, T b) => T.Min(a, b);
}

internal readonly struct MaximumInteger<T> : IBinary<T>, ILaneBinary<T>
    where T : unmanaged, IBinaryNumber<T>
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => Vector512.Max(a, b);

    public static T Invoke(T a, T b) => T.Max(a, b);
}

internal readonly struct AbsoluteInteger<T> : IUnary<T>
    where T : unmanaged
{
    public static Vector512<T> Invoke(Vector512<T> a) => Vector512.Abs(a);
}

internal readonly struct NegateInteger<T> : IUnary<T>, ILaneUnary<T, T>
    where T : unmanaged, IBinaryNumber<T>
{
    public static Vector512<T> Invoke(Vector512<T> a) => Vector512<T>.Zero - a;

    public static T Invoke(T a) => unchecked(T.Zero - a);
}

internal readonly struct And<T> : IBinary<T>
    where T : unmanaged
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => a & b;
}

internal readonly struct Or<T> : IBinary<T>
    where T : unmanaged
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => a | b;
}

internal readonly struct ExclusiveOr<T> : IBinary<T>
    where T : unmanaged
{
    public static Vector512<T> Invoke(Vector512<T> a, Vector512<T> b) => a ^ b;
}

internal readonly struct Not<T> : IUnary<T>, ILaneUnary<T, T>
    where T : unmanaged, IBinaryNumber<T>
{
    public static Vector512<T> Invoke(Vector512<T> a) => ~a;

    public static T Invoke(T a) => ~a;
}

internal readonly struct LogicalNot<T> : ILaneUnary<T, T>
    where T : unmanaged, IBinaryNumber<T>
{
    public static T Invoke(T a) => a == T.Zero ? T.One : T.Zero;
}

internal readonly struct Copy<T> : IUnary<T>
    where T : unmanaged
{
    public static Vector512<T> Invoke(Vector512<T> a) => a;
}

// Shift counts are limited to the width: beyond it the result is zero, or the sign.
internal readonly struct ShiftLeft : ILaneBinary<ushort>, ILaneBinary<uint>
{
    public static ushort Invoke(ushort a, ushort b) => b > 15 ? (ushort)0 : (ushort)(a << b);

    public static uint Invoke(uint a, uint b) => b > 31 ? 0 : a << (int)b;
}

internal readonly struct ShiftRightUnsigned : ILaneBinary<ushort>, ILaneBinary<uint>
{
    public static ushort Invoke(ushort a, ushort b) => b > 15 ? (ushort)0 : (ushort)(a >> b);

    public static uint Invoke(uint a, uint b) => b > 31 ? 0 : a >> (int)b;
}

internal readonly struct ShiftRightSigned : ILaneBinary<short>, ILaneBinary<int>
{
    public static short Invoke(short a, short b) => (short)(a >> ((ushort)b > 15 ? 15 : b));

    public static int Invoke(int a, int b) => a >> ((uint)b > 31 ? 31 : b);
}

internal readonly struct CountOnes : ILaneUnary<uint, uint>, ILaneUnary<ulong, uint>
{
    public static uint Invoke(uint a) => (uint)BitOperations.PopCount(a);

    public static uint Invoke(ulong a) => (uint)BitOperations.PopCount(a);
}

internal readonly struct CountLeadingZeros : ILaneUnary<uint, uint>, ILaneUnary<ulong, uint>
{
    public static uint Invoke(uint a) => (uint)BitOperations.LeadingZeroCount(a);

    public static uint Invoke(ulong a) => (uint)BitOperations.LeadingZeroCount(a);
}

internal readonly struct ReverseBits : ILaneUnary<uint, uint>, ILaneUnary<ulong, ulong>
{
    public static uint Invoke(uint a)
    {
        a = ((a >> 1) & 0x55555555) | ((a & 0x55555555) << 1);
        a = ((a >> 2) & 0x33333333) | ((a & 0x33333333) << 2);
        a = ((a >> 4) & 0x0F0F0F0F) | ((a & 0x0F0F0F0F) << 4);
        return System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(a);
    }

    public static ulong Invoke(ulong a) => ((ulong)Invoke((uint)a) << 32) | Invoke((uint)(a >> 32));
}

// The position of the highest bit that differs from the sign, counted from bit 0; all ones if there is none.
internal readonly struct FindLeadingBit : ILaneUnary<uint, uint>, ILaneUnary<int, uint>, ILaneUnary<ulong, uint>, ILaneUnary<long, uint>
{
    public static uint Invoke(uint a) => a == 0 ? uint.MaxValue : 31 - (uint)BitOperations.LeadingZeroCount(a);

    public static uint Invoke(int a) => Invoke((uint)(a < 0 ? ~a : a));

    public static uint Invoke(ulong a) => a == 0 ? uint.MaxValue : 63 - (uint)BitOperations.LeadingZeroCount(a);

    public static uint Invoke(long a) => Invoke((ulong)(a < 0 ? ~a : a));
}

// The same as a shift that would bring that bit to the top (bfind.shiftamt).
internal readonly struct FindLeadingShift : ILaneUnary<uint, uint>, ILaneUnary<int, uint>
{
    public static uint Invoke(uint a) => a == 0 ? uint.MaxValue : (uint)BitOperations.LeadingZeroCount(a);

    public static uint Invoke(int a) => Invoke((uint)(a < 0 ? ~a : a));
}

// Byte permutation: each nibble of the selector picks one of the eight bytes of b:a, or replicates its sign (prmt, default mode).
internal readonly struct PermuteBytes : ILaneTernary<uint>
{
    public static uint Invoke(uint a, uint b, uint c)
    {
        ulong bytes = ((ulong)b << 32) | a;
        uint result = 0;
        for (int i = 0; i < 4; i++)
        {
            uint selector = (c >> (4 * i)) & 0xF;
            byte value = (byte)(bytes >> (int)(8 * (selector & 7)));
            result |= (uint)((selector & 8) != 0 ? (value & 0x80) != 0 ? 0xFF : 0 : value) << (8 * i);
        }

        return result;
    }
}

// Funnel shift of b:a; the count is taken modulo 32 (wrap) or limited to 32 (clamp).
internal readonly struct FunnelLeftWrap : ILaneTernary<uint>
{
    public static uint Invoke(uint a, uint b, uint c) => (uint)(((((ulong)b << 32) | a) << (int)(c & 31)) >> 32);
}

internal readonly struct FunnelRightWrap : ILaneTernary<uint>
{
    public static uint Invoke(uint a, uint b, uint c) => (uint)((((ulong)b << 32) | a) >> (int)(c & 31));
}

internal readonly struct FunnelLeftClamp : ILaneTernary<uint>
{
    public static uint Invoke(uint a, uint b, uint c) => (uint)(((((ulong)b << 32) | a) << (int)Math.Min(c, 32)) >> 32);
}

internal readonly struct FunnelRightClamp : ILaneTernary<uint>
{
    public static uint Invoke(uint a, uint b, uint c) => (uint)((((ulong)b << 32) | a) >> (int)Math.Min(c, 32));
}

// Sum of absolute differences: |a − b| + c.
internal readonly struct AbsoluteDifference : ILaneTernary<uint>, ILaneTernary<int>
{
    public static uint Invoke(uint a, uint b, uint c) => unchecked((a > b ? a - b : b - a) + c);

    public static int Invoke(int a, int b, int c) => unchecked((a > b ? a - b : b - a) + c);
}
