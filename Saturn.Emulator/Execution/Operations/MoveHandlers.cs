using System.Numerics;
using System.Runtime.Intrinsics;

namespace Saturn.Emulator.Execution.Operations;

/// <summary>Moves that take registers apart or put them together, and address space conversions.</summary>
internal static unsafe class MoveHandlers
{
    /// <summary>mov.b32 d, {a, b} of 16-bit halves, or mov.b64 d, {a, b} of 32-bit ones (Count 8 bytes).</summary>
    public static void Pack(Warp warp, Instruction* instruction, uint mask)
    {
        byte* r = warp.Registers;
        uint* low = (uint*)(r + instruction->A);
        uint* high = (uint*)(r + instruction->B);
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            if (instruction->Count == 8)
            {
                ((ulong*)(r + instruction->Destination))[lane] = low[lane] | (ulong)high[lane] << 32;
            }
            else
            {
                ((uint*)(r + instruction->Destination))[lane] = (low[lane] & 0xFFFF) | high[lane] << 16;
            }
        }
    }

    /// <summary>mov.b32 {a, b}, s and mov.b64 {a, b}, s: Destination and B receive the halves.</summary>
    public static void Unpack(Warp warp, Instruction* instruction, uint mask)
    {
        byte* r = warp.Registers;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            uint low;
            uint high;
            if (instruction->Count == 8)
            {
                ulong value = ((ulong*)(r + instruction->A))[lane];
                (low, high) = ((uint)value, (uint)(value >> 32));
            }
            else
            {
                uint value = ((uint*)(r + instruction->A))[lane];
                (low, high) = (value & 0xFFFF, value >> 16);
            }

            ((uint*)(r + instruction->Destination))[lane] = low;
            ((uint*)(r + instruction->B))[lane] = high;
        }
    }

    /// <summary>mov.b64 of four 16-bit registers, either way. Mode 0: pack Registers into Destination; 1: unpack A into them.</summary>
    public static void Quarters(Warp warp, Instruction* instruction, uint mask)
    {
        byte* r = warp.Registers;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            ulong value = instruction->Mode == 0 ? 0 : ((ulong*)(r + instruction->A))[lane];
            for (int i = 0; i < 4; i++)
            {
                uint* quarter = (uint*)(r + instruction->Registers[i]);
                if (instruction->Mode == 0)
                {
                    value |= (ulong)(ushort)quarter[lane] << (16 * i);
                }
                else
                {
                    quarter[lane] = (ushort)(value >> (16 * i));
                }
            }

            if (instruction->Mode == 0)
            {
                ((ulong*)(r + instruction->Destination))[lane] = value;
            }
        }
    }

    /// <summary>cvta: adds a window to an address of shared or local memory, or takes it away (Immediate, modulo 2⁶⁴).</summary>
    public static void ShiftWindow(Warp warp, Instruction* instruction, uint mask)
    {
        for (int part = 0; part < 4; part++)
        {
            Vector512<ulong> address = Lanes.Load<ulong>(warp.Registers + instruction->A, part) + Vector512.Create((ulong)instruction->Immediate);
            Lanes.Store(warp.Registers + instruction->Destination, part, address, mask);
        }
    }

    /// <summary>isspacep: whether a generic address lies in the window that Immediate names (0: device memory).</summary>
    public static void IsInWindow(Warp warp, Instruction* instruction, uint mask)
    {
        uint value = 0;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            ulong window = ((ulong*)(warp.Registers + instruction->A))[lane] & (7ul << 60);
            value |= window == (ulong)instruction->Immediate ? 1u << lane : 0;
        }

        warp.WritePredicate(instruction->Predicate, value, mask);
    }
}
