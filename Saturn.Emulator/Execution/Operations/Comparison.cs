using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Emulator.Execution.Operations;

/// <summary>One comparison; the unordered ones of floating-point numbers hold if an operand is NaN.</summary>
internal interface IComparison
{
    static abstract Vector512<T> Invoke<T>(Vector512<T> a, Vector512<T> b)
        where T : unmanaged;

    static abstract bool InvokeLane<T>(T a, T b)
        where T : unmanaged, INumber<T>;
}

internal readonly struct Equal : IComparison
{
    public static Vector512<T> Invoke<T>(Vector512<T> a, Vector512<T> b)
        where T : unmanaged => Vector512.Equals(a, b);

    public static bool InvokeLane<T>(T a, T b)
        where T : unmanaged, INumber<T> => a == b;
}

internal readonly struct NotEqual : IComparison
{
    // Ordered: NaN is neither equal nor unequal (ne); the unordered form (neu) is the complement of Equal.
    public static Vector512<T> Invoke<T>(Vector512<T> a, Vector512<T> b)
        where T : unmanaged => Vector512.LessThan(a, b) | Vector512.GreaterThan(a, b);

    public static bool InvokeLane<T>(T a, T b)
        where T : unmanaged, INumber<T> => a < b || a > b;
}

internal readonly struct Less : IComparison
{
    public static Vector512<T> Invoke<T>(Vector512<T> a, Vector512<T> b)
        where T : unmanaged => Vector512.LessThan(a, b);

    public static bool InvokeLane<T>(T a, T b)
        where T : unmanaged, INumber<T> => a < b;
}

internal readonly struct LessOrEqual : IComparison
{
    public static Vector512<T> Invoke<T>(Vector512<T> a, Vector512<T> b)
        where T : unmanaged => Vector512.LessThanOrEqual(a, b);

    public static bool InvokeLane<T>(T a, T b)
        where T : unmanaged, INumber<T> => a <= b;
}

internal readonly struct Greater : IComparison
{
    public static Vector512<T> Invoke<T>(Vector512<T> a, Vector512<T> b)
        where T : unmanaged => Vector512.GreaterThan(a, b);

    public static bool InvokeLane<T>(T a, T b)
        where T : unmanaged, INumber<T> => a > b;
}

internal readonly struct GreaterOrEqual : IComparison
{
    public static Vector512<T> Invoke<T>(Vector512<T> a, Vector512<T> b)
        where T : unmanaged => Vector512.GreaterThanOrEqual(a, b);

    public static bool InvokeLane<T>(T a, T b)
        where T : unmanaged, INumber<T> => a >= b;
}

/// <summary>Neither operand is NaN (num); its complement is nan.</summary>
internal readonly struct Ordered : IComparison
{
    public static Vector512<T> Invoke<T>(Vector512<T> a, Vector512<T> b)
        where T : unmanaged => Vector512.Equals(a, a) & Vector512.Equals(b, b);

    public static bool InvokeLane<T>(T a, T b)
        where T : unmanaged, INumber<T> => !T.IsNaN(a) && !T.IsNaN(b);
}

/// <summary>setp, set: comparisons into predicates or registers.</summary>
internal static unsafe class Comparison
{
    /// <summary>Combination with a third operand: p = result (op) c.</summary>
    public const byte Plain = 0;
    public const byte And = 1;
    public const byte Or = 2;
    public const byte ExclusiveOr = 3;

    /// <summary>The count is 1 where the result is complemented: the unordered comparisons are complements of the opposite ordered ones.</summary>
    public static void Vector<T, TComparison>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged
        where TComparison : struct, IComparison
    {
        byte* r = warp.Registers;
        uint result = 0;
        for (int part = 0; part < Lanes.Vectors<T>(); part++)
        {
            Vector512<T> holds = TComparison.Invoke(Lanes.Load<T>(r + instruction->A, part), Lanes.Load<T>(r + instruction->B, part));
            result |= (uint)holds.ExtractMostSignificantBits() << (part * Vector512<T>.Count);
        }

        Write(warp, instruction, instruction->Count != 0 ? ~result : result, mask);
    }

    public static void Lane<T, TComparison>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged, INumber<T>
        where TComparison : struct, IComparison
    {
        byte* r = warp.Registers;
        uint result = 0;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            if (TComparison.InvokeLane(Arithmetic.Read<T>(r + instruction->A, lane), Arithmetic.Read<T>(r + instruction->B, lane)))
            {
                result |= 1u << lane;
            }
        }

        Write(warp, instruction, instruction->Count != 0 ? ~result : result, mask);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Write(Warp warp, Instruction* instruction, uint result, uint mask)
    {
        uint complement = ~result;
        if (instruction->Mode != Plain)
        {
            uint other = warp.Predicates[instruction->Source] ^ instruction->SourceInvert;
            result = Combine(result, other, instruction->Mode);
            complement = Combine(complement, other, instruction->Mode);
        }

        if (instruction->Predicate >= 0)
        {
            warp.WritePredicate(instruction->Predicate, result, mask);
        }

        if (instruction->SecondPredicate >= 0)
        {
            warp.WritePredicate(instruction->SecondPredicate, complement, mask);
        }

        if (instruction->Destination >= 0)
        {
            // set: all ones or, for a float32 destination, 1.0.
            uint one = instruction->Immediate == 0 ? uint.MaxValue : 0x3F800000;
            for (int part = 0; part < 2; part++)
            {
                Lanes.Store(warp.Registers + instruction->Destination, part, Lanes.Mask<uint>(part, result) & Vector512.Create(one), mask);
            }
        }
    }

    private static uint Combine(uint result, uint other, byte mode) => mode switch
    {
        And => result & other,
        Or => result | other,
        _ => result ^ other,
    };
}

/// <summary>Moves and logic of predicates.</summary>
internal static unsafe class PredicateHandlers
{
    /// <summary>and, or, xor, not, mov of predicates. Mode as in <see cref="Comparison"/>; Plain copies the source (or its complement).</summary>
    public static void Combine(Warp warp, Instruction* instruction, uint mask)
    {
        uint a = warp.Predicates[instruction->Source] ^ instruction->SourceInvert;
        uint value = instruction->Mode switch
        {
            Comparison.And => a & warp.Predicates[instruction->A],
            Comparison.Or => a | warp.Predicates[instruction->A],
            Comparison.ExclusiveOr => a ^ warp.Predicates[instruction->A],
            _ => a,
        };
        warp.WritePredicate(instruction->Predicate, value, mask);
    }

    /// <summary>testp: a class of floating-point values.</summary>
    public static void Test<T>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        uint value = 0;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            T a = Arithmetic.Read<T>(warp.Registers + instruction->A, lane);
            bool holds = instruction->Mode switch
            {
                0 => T.IsFinite(a),
                1 => T.IsInfinity(a),
                2 => !T.IsNaN(a),
                3 => T.IsNaN(a),
                4 => T.IsNormal(a),
                _ => T.IsSubnormal(a),
            };
            value |= holds ? 1u << lane : 0;
        }

        warp.WritePredicate(instruction->Predicate, value, mask);
    }
}
