using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Emulator.Execution.Operations;

internal interface IUnary<T>
    where T : unmanaged
{
    static abstract Vector512<T> Invoke(Vector512<T> a);
}

internal interface IBinary<T>
    where T : unmanaged
{
    static abstract Vector512<T> Invoke(Vector512<T> a, Vector512<T> b);
}

internal interface ITernary<T>
    where T : unmanaged
{
    static abstract Vector512<T> Invoke(Vector512<T> a, Vector512<T> b, Vector512<T> c);
}

internal interface ILaneUnary<TIn, TOut>
    where TIn : unmanaged
    where TOut : unmanaged
{
    static abstract TOut Invoke(TIn a);
}

internal interface ILaneBinary<T>
    where T : unmanaged
{
    static abstract T Invoke(T a, T b);
}

internal interface ILaneTernary<T>
    where T : unmanaged
{
    static abstract T Invoke(T a, T b, T c);
}

/// <summary>
/// Handlers that apply one operation to all lanes: as vectors where the operation has a vector form, lane by lane where it has none. 16-bit registers have
/// 32-bit lanes whose upper half is zero.
/// </summary>
internal static unsafe class Arithmetic
{
    public static void Unary<T, TOperation>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged
        where TOperation : struct, IUnary<T>
    {
        byte* registers = warp.Registers;
        for (int part = 0; part < Lanes.Vectors<T>(); part++)
        {
            Lanes.Store(registers + instruction->Destination, part, TOperation.Invoke(Lanes.Load<T>(registers + instruction->A, part)), mask);
        }
    }

    public static void Binary<T, TOperation>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged
        where TOperation : struct, IBinary<T>
    {
        byte* registers = warp.Registers;
        for (int part = 0; part < Lanes.Vectors<T>(); part++)
        {
            Vector512<T> value = TOperation.Invoke(Lanes.Load<T>(registers + instruction->A, part), Lanes.Load<T>(registers + instruction->B, part));
            Lanes.Store(registers + instruction->Destination, part, value, mask);
        }
    }

    public static void Ternary<T, TOperation>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged
        where TOperation : struct, ITernary<T>
    {
        byte* registers = warp.Registers;
        for (int part = 0; part < Lanes.Vectors<T>(); part++)
        {
            Vector512<T> value = TOperation.Invoke(
                Lanes.Load<T>(registers + instruction->A, part), Lanes.Load<T>(registers + instruction->B, part), Lanes.Load<T>(registers + instruction->C, part));
            Lanes.Store(registers + instruction->Destination, part, value, mask);
        }
    }

    public static void LaneUnary<TIn, TOut, TOperation>(Warp warp, Instruction* instruction, uint mask)
        where TIn : unmanaged
        where TOut : unmanaged
        where TOperation : struct, ILaneUnary<TIn, TOut>
    {
        byte* registers = warp.Registers;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            Write(registers + instruction->Destination, lane, TOperation.Invoke(Read<TIn>(registers + instruction->A, lane)));
        }
    }

    public static void LaneBinary<T, TOperation>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged
        where TOperation : struct, ILaneBinary<T>
    {
        byte* registers = warp.Registers;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            Write(registers + instruction->Destination, lane, TOperation.Invoke(Read<T>(registers + instruction->A, lane), Read<T>(registers + instruction->B, lane)));
        }
    }

    public static void LaneTernary<T, TOperation>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged
        where TOperation : struct, ILaneTernary<T>
    {
        byte* registers = warp.Registers;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            T value = TOperation.Invoke(
                Read<T>(registers + instruction->A, lane), Read<T>(registers + instruction->B, lane), Read<T>(registers + instruction->C, lane));
            Write(registers + instruction->Destination, lane, value);
        }
    }

    /// <summary>One lane of a register as a type of any size; narrow types are the low bits of a 32-bit lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Read<T>(byte* register, int lane)
        where T : unmanaged => *(T*)(register + lane * (sizeof(T) == 8 ? 8 : 4));

    /// <summary>Writes one lane; the rest of the lane of a narrow type becomes zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write<T>(byte* register, int lane, T value)
        where T : unmanaged
    {
        if (sizeof(T) < 4)
        {
            ((uint*)register)[lane] = 0;
        }

        *(T*)(register + lane * (sizeof(T) == 8 ? 8 : 4)) = value;
    }
}
