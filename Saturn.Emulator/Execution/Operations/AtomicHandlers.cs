using System.Numerics;
using System.Runtime.CompilerServices;

namespace Saturn.Emulator.Execution.Operations;

internal enum AtomicOperation : byte
{
    Add,
    Minimum,
    Maximum,
    And,
    Or,
    ExclusiveOr,
    Exchange,
    CompareAndSwap,
    Increment,
    Decrement,
}

/// <summary>
/// atom and red: read, combine and write as one step. Lanes go in their order; blocks on other workers may come between, which is why every update is a
/// compare-and-swap of the host. B is the operand, C the second (cas); Destination −1 discards the old value. Count holds the operation.
/// </summary>
internal static unsafe class AtomicHandlers
{
    public static void Invoke32<T>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged, INumber<T>
    {
        byte* r = warp.Registers;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            uint* address = (uint*)MemoryHandlers.Resolve(warp, instruction, lane, 4, isStore: true, atomic: true);
            uint b = ((uint*)(r + instruction->B))[lane];
            uint c = ((uint*)(r + instruction->C))[lane];
            uint old;
            uint updated;
            do
            {
                old = Volatile.Read(ref *address);
                updated = (AtomicOperation)instruction->Count switch
                {
                    AtomicOperation.And => old & b,
                    AtomicOperation.Or => old | b,
                    AtomicOperation.ExclusiveOr => old ^ b,
                    AtomicOperation.Exchange => b,
                    AtomicOperation.CompareAndSwap => old == b ? c : old,
                    AtomicOperation.Increment => old >= b ? 0 : old + 1,
                    AtomicOperation.Decrement => old == 0 || old > b ? b : old - 1,
                    _ => Unsafe.BitCast<T, uint>(Combine(Unsafe.BitCast<uint, T>(old), Unsafe.BitCast<uint, T>(b), (AtomicOperation)instruction->Count)),
                };
            }
            while (Interlocked.CompareExchange(ref *address, updated, old) != old);
            if (instruction->Destination >= 0)
            {
                ((uint*)(r + instruction->Destination))[lane] = old;
            }
        }
    }

    public static void Invoke64<T>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged, INumber<T>
    {
        byte* r = warp.Registers;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            ulong* address = (ulong*)MemoryHandlers.Resolve(warp, instruction, lane, 8, isStore: true, atomic: true);
            ulong b = ((ulong*)(r + instruction->B))[lane];
            ulong c = ((ulong*)(r + instruction->C))[lane];
            ulong old;
            ulong updated;
            do
            {
                old = Volatile.Read(ref *address);
                updated = (AtomicOperation)instruction->Count switch
                {
                    AtomicOperation.And => old & b,
                    AtomicOperation.Or => old | b,
                    AtomicOperation.ExclusiveOr => old ^ b,
                    AtomicOperation.Exchange => b,
                    AtomicOperation.CompareAndSwap => old == b ? c : old,
                    _ => Unsafe.BitCast<T, ulong>(Combine(Unsafe.BitCast<ulong, T>(old), Unsafe.BitCast<ulong, T>(b), (AtomicOperation)instruction->Count)),
                };
            }
            while (Interlocked.CompareExchange(ref *address, updated, old) != old);
            if (instruction->Destination >= 0)
            {
                ((ulong*)(r + instruction->Destination))[lane] = old;
            }
        }
    }

    private static T Combine<T>(T old, T operand, AtomicOperation operation)
        where T : unmanaged, INumber<T> => operation switch
        {
            AtomicOperation.Add => unchecked(old + operand),
            AtomicOperation.Minimum => T.MinNumber(old, operand),
            _ => T.MaxNumber(old, operand),
        };
}
