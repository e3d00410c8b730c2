using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Emulator.Execution.Operations;

/// <summary>Handlers whose operands have different sizes or that need an immediate: wide products, constant shifts, bit fields, selections, comparisons.</summary>
internal static unsafe class SpecialHandlers
{
    public static void MultiplyWideUnsigned(Warp warp, Instruction* instruction, uint mask)
    {
        for (int part = 0; part < 4; part++)
        {
            Lanes.Store(warp.Registers + instruction->Destination, part, UnsignedProducts(warp.Registers, instruction, part), mask);
        }
    }

    public static void MultiplyWideSigned(Warp warp, Instruction* instruction, uint mask)
    {
        for (int part = 0; part < 4; part++)
        {
            Lanes.Store(warp.Registers + instruction->Destination, part, SignedProducts(warp.Registers, instruction, part), mask);
        }
    }

    public static void MultiplyAddWideUnsigned(Warp warp, Instruction* instruction, uint mask)
    {
        for (int part = 0; part < 4; part++)
        {
            Vector512<ulong> sum = UnsignedProducts(warp.Registers, instruction, part) + Lanes.Load<ulong>(warp.Registers + instruction->C, part);
            Lanes.Store(warp.Registers + instruction->Destination, part, sum, mask);
        }
    }

    public static void MultiplyAddWideSigned(Warp warp, Instruction* instruction, uint mask)
    {
        for (int part = 0; part < 4; part++)
        {
            Vector512<long> sum = SignedProducts(warp.Registers, instruction, part) + Lanes.Load<long>(warp.Registers + instruction->C, part);
            Lanes.Store(warp.Registers + instruction->Destination, part, sum, mask);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ulong> UnsignedProducts(byte* registers, Instruction* instruction, int part) =>
        Vector512.WidenLower(Vector256.Load((uint*)(registers + instruction->A) + part * 8).ToVector512Unsafe())
        * Vector512.WidenLower(Vector256.Load((uint*)(registers + instruction->B) + part * 8).ToVector512Unsafe());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<long> SignedProducts(byte* registers, Instruction* instruction, int part) =>
        Vector512.WidenLower(Vector256.Load((int*)(registers + instruction->A) + part * 8).ToVector512Unsafe())
        * Vector512.WidenLower(Vector256.Load((int*)(registers + instruction->B) + part * 8).ToVector512Unsafe());

    public static void MultiplyWide16<TIn, TOut>(Warp warp, Instruction* instruction, uint mask)
        where TIn : unmanaged, INumberBase<TIn>
        where TOut : unmanaged, INumberBase<TOut>
    {
        byte* r = warp.Registers;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            TOut product = TOut.CreateTruncating(Arithmetic.Read<TIn>(r + instruction->A, lane)) * TOut.CreateTruncating(Arithmetic.Read<TIn>(r + instruction->B, lane));
            Arithmetic.Write(r + instruction->Destination, lane, product);
        }
    }

    public static void ShiftLeftConstant<T>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged
    {
        for (int part = 0; part < Lanes.Vectors<T>(); part++)
        {
            Lanes.Store(warp.Registers + instruction->Destination, part, Lanes.Load<T>(warp.Registers + instruction->A, part) << (int)instruction->Immediate, mask);
        }
    }

    /// <summary>Logical for unsigned types, arithmetic for signed ones.</summary>
    public static void ShiftRightConstant<T>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged
    {
        for (int part = 0; part < Lanes.Vectors<T>(); part++)
        {
            Lanes.Store(warp.Registers + instruction->Destination, part, Lanes.Load<T>(warp.Registers + instruction->A, part) >> (int)instruction->Immediate, mask);
        }
    }

    public static void Zero<T>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged
    {
        for (int part = 0; part < Lanes.Vectors<T>(); part++)
        {
            Lanes.Store(warp.Registers + instruction->Destination, part, Vector512<T>.Zero, mask);
        }
    }

    /// <summary>64-bit values shifted by 32-bit counts. Mode 0: left, 1: right logical, 2: right arithmetic.</summary>
    public static void ShiftWide(Warp warp, Instruction* instruction, uint mask)
    {
        byte* r = warp.Registers;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            ulong a = Arithmetic.Read<ulong>(r + instruction->A, lane);
            int count = (int)Math.Min(Arithmetic.Read<uint>(r + instruction->B, lane), 64);
            ulong value = instruction->Mode switch
            {
                0 => count > 63 ? 0 : a << count,
                1 => count > 63 ? 0 : a >> count,
                _ => (ulong)((long)a >> Math.Min(count, 63)),
            };
            Arithmetic.Write(r + instruction->Destination, lane, value);
        }
    }

    /// <summary>bfe: the field of c bits at position b of a; signed fields are extended.</summary>
    public static void ExtractField<T>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged, IBinaryInteger<T>
    {
        byte* r = warp.Registers;
        int width = sizeof(T) * 8;
        bool signed = T.IsNegative(T.Zero - T.One);
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            T a = Arithmetic.Read<T>(r + instruction->A, lane);
            int position = (int)(Arithmetic.Read<uint>(r + instruction->B, lane) & 0xFF);
            int length = (int)(Arithmetic.Read<uint>(r + instruction->C, lane) & 0xFF);
            T value = T.Zero;
            if (length > 0)
            {
                // Beyond the top the sign goes on (signed), or zeros.
                T shifted = position < width ? a >> position : signed && T.IsNegative(a) ? T.Zero - T.One : T.Zero;
                int rest = width - Math.Min(length, width);
                value = (shifted << rest) >> rest;
            }

            Arithmetic.Write(r + instruction->Destination, lane, value);
        }
    }

    /// <summary>bfi: d = b with the low bits of a put in at position c, length Registers[0].</summary>
    public static void InsertField<T>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged, IBinaryInteger<T>
    {
        byte* r = warp.Registers;
        int width = sizeof(T) * 8;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            T a = Arithmetic.Read<T>(r + instruction->A, lane);
            T b = Arithmetic.Read<T>(r + instruction->B, lane);
            int position = (int)(Arithmetic.Read<uint>(r + instruction->C, lane) & 0xFF);
            int length = (int)(Arithmetic.Read<uint>(r + instruction->Registers[0], lane) & 0xFF);
            T value = b;
            if (length > 0 && position < width)
            {
                T field = length >= width ? ~T.Zero : (T.One << length) - T.One;
                value = (b & ~(field << position)) | ((a & field) << position);
            }

            Arithmetic.Write(r + instruction->Destination, lane, value);
        }
    }

    /// <summary>lop3: any boolean function of three operands by its table, bit (a·4 + b·2 + c).</summary>
    public static void LogicOf3(Warp warp, Instruction* instruction, uint mask)
    {
        byte* r = warp.Registers;
        int table = (int)instruction->Immediate;
        for (int part = 0; part < 2; part++)
        {
            Vector512<uint> a = Lanes.Load<uint>(r + instruction->A, part);
            Vector512<uint> b = Lanes.Load<uint>(r + instruction->B, part);
            Vector512<uint> c = Lanes.Load<uint>(r + instruction->C, part);
            Vector512<uint> value = Vector512<uint>.Zero;
            for (int row = 0; row < 8; row++)
            {
                if ((table & (1 << row)) != 0)
                {
                    value |= ((row & 4) != 0 ? a : ~a) & ((row & 2) != 0 ? b : ~b) & ((row & 1) != 0 ? c : ~c);
                }
            }

            Lanes.Store(r + instruction->Destination, part, value, mask);
        }
    }

    /// <summary>selp: a where the predicate holds, else b.</summary>
    public static void Select<T>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged
    {
        byte* r = warp.Registers;
        uint chosen = warp.Predicates[instruction->Source] ^ instruction->SourceInvert;
        for (int part = 0; part < Lanes.Vectors<T>(); part++)
        {
            Vector512<T> value = Vector512.ConditionalSelect(
                Lanes.Mask<T>(part, chosen), Lanes.Load<T>(r + instruction->A, part), Lanes.Load<T>(r + instruction->B, part));
            Lanes.Store(r + instruction->Destination, part, value, mask);
        }
    }

    /// <summary>slct: a where c ≥ 0, else b.</summary>
    public static void SelectBySign<T, TSign>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged
        where TSign : unmanaged, INumber<TSign>
    {
        byte* r = warp.Registers;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            int source = Arithmetic.Read<TSign>(r + instruction->C, lane) >= TSign.Zero ? instruction->A : instruction->B;
            Arithmetic.Write(r + instruction->Destination, lane, Arithmetic.Read<T>(r + source, lane));
        }
    }

    /// <summary>Signed or unsigned dot product of four bytes, added to c. Mode: bit 0 = a signed, bit 1 = b signed.</summary>
    public static void DotProductOfBytes(Warp warp, Instruction* instruction, uint mask)
    {
        byte* r = warp.Registers;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            uint a = Arithmetic.Read<uint>(r + instruction->A, lane);
            uint b = Arithmetic.Read<uint>(r + instruction->B, lane);
            int sum = Arithmetic.Read<int>(r + instruction->C, lane);
            for (int i = 0; i < 32; i += 8)
            {
                int x = (instruction->Mode & 1) != 0 ? (sbyte)(a >> i) : (byte)(a >> i);
                int y = (instruction->Mode & 2) != 0 ? (sbyte)(b >> i) : (byte)(b >> i);
                sum += x * y;
            }

            Arithmetic.Write(r + instruction->Destination, lane, sum);
        }
    }
}
