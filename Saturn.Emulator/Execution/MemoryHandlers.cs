using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Saturn.Emulator.Memory;

namespace Saturn.Emulator.Execution;

/// <summary>The memory that an access names, after the parser's spaces: parameters, constants and global memory are host addresses.</summary>
internal enum AddressSpace : byte
{
    /// <summary>Global, constant or parameter memory: the address is a host address.</summary>
    Device,

    /// <summary>Decided by the address: windows of shared and local memory, else device memory.</summary>
    Generic,

    Shared,

    Local,
}

/// <summary>
/// Loads and stores. A is the address register (−1: none), Immediate the offset, Size the bytes of an element, Count the elements of a vector access, Registers
/// the data registers. Mode: bit 0 and 1 the space, bit 2 the address register is 64 bits wide, bit 3 sign extension, bit 4 data registers are 64 bits wide.
/// </summary>
internal static unsafe class MemoryHandlers
{
    /// <summary>Where shared and local memory lie in the generic address space.</summary>
    public const ulong SharedWindow = 1ul << 60;
    public const ulong LocalWindow = 2ul << 60;
    private const ulong WindowMask = 7ul << 60;

    public const byte WideAddress = 4;
    public const byte SignExtend = 8;
    public const byte WideData = 16;

    /// <summary>Load of kernel arguments at a fixed offset: one value for all lanes.</summary>
    public static void LoadArgument(Warp warp, Instruction* instruction, uint mask) =>
        Broadcast(warp, instruction, mask, warp.Block.Arguments + instruction->Immediate);

    public static void LoadDevice(Warp warp, Instruction* instruction, uint mask)
    {
        int bytes = instruction->Size * instruction->Count;
        if (mask == Lanes.All && bytes is 4 or 16 && Consecutive(warp, instruction, bytes, out nint first))
        {
            byte* source = CheckDevice(warp, instruction, 0, first, bytes * Lanes.Count, bytes, isStore: false);
            if (bytes == 4)
            {
                byte* register = warp.Registers + instruction->Registers[0];
                Vector512.Load(source).Store(register);
                Vector512.Load(source + 64).Store(register + 64);
                return;
            }

            if (instruction->Size == 4)
            {
                Deinterleave((uint*)source, warp.Registers, instruction->Registers);
                return;
            }
        }

        if (IsUniform(warp, instruction, mask))
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            Broadcast(warp, instruction, mask, CheckDevice(warp, instruction, lane, (nint)Address(warp, instruction, lane), bytes, bytes, isStore: false));
            return;
        }

        if (bytes == 4 && (instruction->Mode & (WideData | WideAddress)) == WideAddress)
        {
            GatherWords(warp, instruction, mask);
            return;
        }

        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            byte* source = CheckDevice(warp, instruction, lane, (nint)Address(warp, instruction, lane), bytes, bytes, isStore: false);
            LoadLane(warp, instruction, lane, source);
        }
    }

    // Words from anywhere: lanes that lie in the first lane's allocation, aligned and written, need no further look.
    private static void GatherWords(Warp warp, Instruction* instruction, uint mask)
    {
        ulong* addresses = (ulong*)(warp.Registers + instruction->A);
        uint* values = (uint*)(warp.Registers + instruction->Registers[0]);
        nint immediate = (nint)instruction->Immediate;
        int first = BitOperations.TrailingZeroCount(mask);
        DeviceAllocation? allocation = warp.Block.Locate(warp, instruction, first, (nint)addresses[first] + immediate, 4);
        nint start = allocation?.Base ?? nint.MaxValue;
        nint last = allocation is null ? nint.MinValue : start + (nint)allocation.Length - 4;
        byte* written = allocation is null ? null : allocation.Written;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            nint address = (nint)addresses[lane] + immediate;
            if (address < start || address > last || (address & 3) != 0 || (written != null && *(uint*)(written + (address - start)) != 0x01010101))
            {
                CheckDevice(warp, instruction, lane, address, 4, 4, isStore: false);
            }

            values[lane] = *(uint*)address;
        }
    }

    // Whether all active lanes read the same place.
    private static bool IsUniform(Warp warp, Instruction* instruction, uint mask)
    {
        if (instruction->A < 0 || (instruction->Mode & WideAddress) == 0)
        {
            return instruction->A < 0;
        }

        ulong* addresses = (ulong*)(warp.Registers + instruction->A);
        Vector512<ulong> first = Vector512.Create(addresses[BitOperations.TrailingZeroCount(mask)]);
        for (int part = 0; part < 4; part++)
        {
            Vector512<ulong> different = ~Vector512.Equals(Vector512.Load(addresses + 8 * part), first) & Lanes.Mask<ulong>(part, mask);
            if (different != Vector512<ulong>.Zero)
            {
                return false;
            }
        }

        return true;
    }

    private static void Broadcast(Warp warp, Instruction* instruction, uint mask, byte* source)
    {
        for (int element = 0; element < instruction->Count; element++)
        {
            byte* register = warp.Registers + instruction->Registers[element];
            ulong value = Widen(source + element * instruction->Size, instruction);
            if ((instruction->Mode & WideData) != 0)
            {
                for (int part = 0; part < 4; part++)
                {
                    Lanes.Store(register, part, Vector512.Create(value), mask);
                }
            }
            else
            {
                Lanes.Store(register, 0, Vector512.Create((uint)value), mask);
                Lanes.Store(register, 1, Vector512.Create((uint)value), mask);
            }
        }
    }

    public static void StoreDevice(Warp warp, Instruction* instruction, uint mask)
    {
        int bytes = instruction->Size * instruction->Count;
        if (mask == Lanes.All && bytes is 4 or 16 && instruction->Size == 4 && Consecutive(warp, instruction, bytes, out nint first))
        {
            byte* destination = CheckDevice(warp, instruction, 0, first, bytes * Lanes.Count, bytes, isStore: true);
            if (bytes == 4)
            {
                byte* register = warp.Registers + instruction->Registers[0];
                Vector512.Load(register).Store(destination);
                Vector512.Load(register + 64).Store(destination + 64);
            }
            else
            {
                Interleave((uint*)destination, warp.Registers, instruction->Registers);
            }

            return;
        }

        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            byte* destination = CheckDevice(warp, instruction, lane, (nint)Address(warp, instruction, lane), bytes, bytes, isStore: true);
            StoreLane(warp, instruction, lane, destination);
        }
    }

    public static void LoadShared(Warp warp, Instruction* instruction, uint mask)
    {
        int bytes = instruction->Size * instruction->Count;
        SharedMemory shared = warp.Block.Shared;
        if (bytes == 4 && !warp.Block.IsChecked && (instruction->Mode & (WideAddress | SignExtend)) == 0 && instruction->A >= 0)
        {
            LoadSharedWords(warp, instruction, mask, shared);
            return;
        }

        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            ulong offset = Address(warp, instruction, lane);
            CheckShared(warp, instruction, lane, offset, bytes);
            if (warp.Block.IsChecked && shared.Read((uint)offset, bytes, warp.Index) is string wrong)
            {
                throw warp.Fail(instruction, 1u << lane, wrong);
            }

            LoadLane(warp, instruction, lane, shared.Data + offset);
        }
    }

    private static void LoadSharedWords(Warp warp, Instruction* instruction, uint mask, SharedMemory shared)
    {
        uint* addresses = (uint*)(warp.Registers + instruction->A);
        uint* values = (uint*)(warp.Registers + instruction->Registers[0]);
        uint immediate = (uint)instruction->Immediate;
        uint limit = (uint)shared.Length;
        byte* data = shared.Data;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            uint offset = addresses[lane] + immediate;
            if (offset >= limit || (offset & 3) != 0)
            {
                CheckShared(warp, instruction, lane, offset, 4);
            }

            values[lane] = *(uint*)(data + offset);
        }
    }

    public static void StoreShared(Warp warp, Instruction* instruction, uint mask)
    {
        int bytes = instruction->Size * instruction->Count;
        SharedMemory shared = warp.Block.Shared;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            ulong offset = Address(warp, instruction, lane);
            CheckShared(warp, instruction, lane, offset, bytes);
            if (warp.Block.IsChecked && shared.Write((uint)offset, bytes, warp.Index) is string wrong)
            {
                throw warp.Fail(instruction, 1u << lane, wrong);
            }

            StoreLane(warp, instruction, lane, shared.Data + offset);
        }
    }

    public static void LoadLocal(Warp warp, Instruction* instruction, uint mask)
    {
        int bytes = instruction->Size * instruction->Count;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            LoadLane(warp, instruction, lane, LocalAddress(warp, instruction, lane, Address(warp, instruction, lane), bytes));
        }
    }

    public static void StoreLocal(Warp warp, Instruction* instruction, uint mask)
    {
        int bytes = instruction->Size * instruction->Count;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            StoreLane(warp, instruction, lane, LocalAddress(warp, instruction, lane, Address(warp, instruction, lane), bytes));
        }
    }

    public static void LoadGeneric(Warp warp, Instruction* instruction, uint mask)
    {
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            LoadLane(warp, instruction, lane, ResolveGeneric(warp, instruction, lane, isStore: false));
        }
    }

    public static void StoreGeneric(Warp warp, Instruction* instruction, uint mask)
    {
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            StoreLane(warp, instruction, lane, ResolveGeneric(warp, instruction, lane, isStore: true));
        }
    }

    /// <summary>The host memory behind one lane's address, whatever the space, with all checks.</summary>
    public static byte* Resolve(Warp warp, Instruction* instruction, int lane, int bytes, bool isStore, bool atomic = false)
    {
        ulong address = Address(warp, instruction, lane);
        AddressSpace space = (AddressSpace)(instruction->Mode & 3);
        if (space == AddressSpace.Generic)
        {
            space = (address & WindowMask) switch
            {
                SharedWindow => AddressSpace.Shared,
                LocalWindow => AddressSpace.Local,
                _ => AddressSpace.Device,
            };
            address &= space == AddressSpace.Device ? ulong.MaxValue : ~WindowMask;
        }

        switch (space)
        {
            case AddressSpace.Shared:
                CheckShared(warp, instruction, lane, address, bytes);
                SharedMemory shared = warp.Block.Shared;
                if (warp.Block.IsChecked)
                {
                    string? wrong = isStore && !atomic ? null : shared.Read((uint)address, bytes, warp.Index);
                    wrong = atomic ? null : wrong;
                    wrong ??= isStore ? shared.Write((uint)address, bytes, warp.Index, atomic) : null;
                    if (wrong is not null)
                    {
                        throw warp.Fail(instruction, 1u << lane, wrong);
                    }
                }

                return shared.Data + address;
            case AddressSpace.Local:
                return LocalAddress(warp, instruction, lane, address, bytes);
            default:
                return CheckDevice(warp, instruction, lane, (nint)address, bytes, bytes, isStore);
        }
    }

    private static byte* ResolveGeneric(Warp warp, Instruction* instruction, int lane, bool isStore) =>
        Resolve(warp, instruction, lane, instruction->Size * instruction->Count, isStore);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Address(Warp warp, Instruction* instruction, int lane)
    {
        if (instruction->A < 0)
        {
            return (ulong)instruction->Immediate;
        }

        byte* register = warp.Registers + instruction->A;
        return (instruction->Mode & WideAddress) != 0
            ? ((ulong*)register)[lane] + (ulong)instruction->Immediate
            : ((uint*)register)[lane] + (uint)instruction->Immediate;
    }

    // Whether the 32 addresses follow each other without gaps.
    private static bool Consecutive(Warp warp, Instruction* instruction, int bytes, out nint first)
    {
        first = 0;
        if (instruction->A < 0 || (instruction->Mode & WideAddress) == 0)
        {
            return false;
        }

        ulong* addresses = (ulong*)(warp.Registers + instruction->A);
        Vector512<ulong> step = Vector512.Create(0ul, 1, 2, 3, 4, 5, 6, 7) * (ulong)bytes;
        Vector512<ulong> expected = Vector512.Create(addresses[0]) + step;
        for (int part = 0; part < 4; part++)
        {
            if (!Vector512.EqualsAll(Vector512.Load(addresses + 8 * part), expected))
            {
                return false;
            }

            expected += Vector512.Create((ulong)bytes * 8);
        }

        first = (nint)addresses[0] + (nint)instruction->Immediate;
        return true;
    }

    /// <summary>A checked range of device memory: aligned, inside an allocation that lives, and written before it is read.</summary>
    private static byte* CheckDevice(Warp warp, Instruction* instruction, int lane, nint address, long length, int alignment, bool isStore)
    {
        if ((address & (alignment - 1)) != 0)
        {
            throw warp.Fail(instruction, 1u << lane, $"is misaligned: address 0x{address:x} is no multiple of {alignment} bytes");
        }

        DeviceAllocation? allocation = length <= alignment
            ? warp.Block.Locate(warp, instruction, lane, address, length)
            : LocateRange(warp, instruction, address, length, alignment);
        if (allocation is not null && allocation.Written != null)
        {
            byte* written = allocation.Written + (address - allocation.Base);
            if (isStore)
            {
                Unsafe.InitBlockUnaligned(written, 1, (uint)length);
            }
            else if (new Span<byte>(written, (int)length).IndexOf((byte)0) is int gap and >= 0)
            {
                long offset = address - allocation.Base + gap;
                throw warp.Fail(
                    instruction, 1u << (lane + (int)(gap / alignment)),
                    $"reads memory that was never written: byte {offset} of {allocation}");
            }
        }

        return (byte*)address;
    }

    // A whole warp's range: if it does not lie in one allocation, the first lane that steps outside is named.
    private static DeviceAllocation? LocateRange(Warp warp, Instruction* instruction, nint address, long length, int bytes)
    {
        DeviceAllocation? allocation = warp.Block.Locate(warp, instruction, 0, address, bytes);
        if (allocation is not null && address + length > allocation.Base + allocation.Length)
        {
            int lane = (int)((allocation.Base + allocation.Length - address) / bytes);
            warp.Block.Locate(warp, instruction, lane, address + lane * bytes, bytes);
        }

        return allocation;
    }

    private static void CheckShared(Warp warp, Instruction* instruction, int lane, ulong offset, int bytes)
    {
        if (offset + (ulong)bytes > (ulong)warp.Block.Shared.Length)
        {
            throw warp.Fail(instruction, 1u << lane, $"is out of bounds: {bytes} bytes at offset {(long)offset} of {warp.Block.Shared.Length} bytes of shared memory");
        }

        if ((offset & (uint)(bytes - 1)) != 0)
        {
            throw warp.Fail(instruction, 1u << lane, $"is misaligned: offset {offset} of shared memory is no multiple of {bytes} bytes");
        }
    }

    private static byte* LocalAddress(Warp warp, Instruction* instruction, int lane, ulong offset, int bytes)
    {
        int size = warp.Block.Kernel.LocalBytes;
        if (offset + (ulong)bytes > (ulong)size)
        {
            throw warp.Fail(instruction, 1u << lane, $"is out of bounds: {bytes} bytes at offset {(long)offset} of {size} bytes of local memory");
        }

        return warp.Local + lane * size + (nint)offset;
    }

    private static void LoadLane(Warp warp, Instruction* instruction, int lane, byte* source)
    {
        for (int element = 0; element < instruction->Count; element++)
        {
            byte* register = warp.Registers + instruction->Registers[element];
            if ((instruction->Mode & WideData) != 0)
            {
                ((ulong*)register)[lane] = Widen(source, instruction);
            }
            else
            {
                ((uint*)register)[lane] = instruction->Size == 4 ? *(uint*)source : (uint)Widen(source, instruction);
            }

            source += instruction->Size;
        }
    }

    private static void StoreLane(Warp warp, Instruction* instruction, int lane, byte* destination)
    {
        for (int element = 0; element < instruction->Count; element++)
        {
            byte* register = warp.Registers + instruction->Registers[element] + lane * ((instruction->Mode & WideData) != 0 ? 8 : 4);
            switch (instruction->Size)
            {
                case 1:
                    *destination = *register;
                    break;
                case 2:
                    *(ushort*)destination = *(ushort*)register;
                    break;
                case 4:
                    *(uint*)destination = *(uint*)register;
                    break;
                default:
                    *(ulong*)destination = *(ulong*)register;
                    break;
            }

            destination += instruction->Size;
        }
    }

    private static ulong Widen(byte* source, Instruction* instruction)
    {
        if ((instruction->Mode & SignExtend) != 0)
        {
            return instruction->Size switch
            {
                1 => (ulong)*(sbyte*)source,
                2 => (ulong)*(short*)source,
                4 => (ulong)*(int*)source,
                _ => *(ulong*)source,
            };
        }

        return instruction->Size switch
        {
            1 => *source,
            2 => *(ushort*)source,
            4 => *(uint*)source,
            _ => *(ulong*)source,
        };
    }

    private static void Deinterleave(uint* source, byte* registers, int* data)
    {
        uint* a = (uint*)(registers + data[0]);
        uint* b = (uint*)(registers + data[1]);
        uint* c = (uint*)(registers + data[2]);
        uint* d = (uint*)(registers + data[3]);
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            a[lane] = source[4 * lane];
            b[lane] = source[4 * lane + 1];
            c[lane] = source[4 * lane + 2];
            d[lane] = source[4 * lane + 3];
        }
    }

    private static void Interleave(uint* destination, byte* registers, int* data)
    {
        uint* a = (uint*)(registers + data[0]);
        uint* b = (uint*)(registers + data[1]);
        uint* c = (uint*)(registers + data[2]);
        uint* d = (uint*)(registers + data[3]);
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            destination[4 * lane] = a[lane];
            destination[4 * lane + 1] = b[lane];
            destination[4 * lane + 2] = c[lane];
            destination[4 * lane + 3] = d[lane];
        }
    }
}
