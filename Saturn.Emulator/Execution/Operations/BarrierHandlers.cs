using System.Numerics;
using Saturn.Emulator.Memory;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator.Execution.Operations;

/// <summary>
/// Barrier objects in shared memory (<c>mbarrier</c>), fences of the asynchronous proxy, and bulk copies. The address is A and Immediate; B is a count of threads or bytes, a parity, or the number of
/// a phase.
/// </summary>
internal static unsafe class BarrierHandlers
{
    /// <summary>Mode of a wait: the phase is named by its parity and not by what arriving returned.</summary>
    public const byte ByParity = 32;

    /// <summary>Mode of a wait: it gives up at once (test_wait).</summary>
    public const byte OnlyTests = 64;

    private const int CopyAlignment = 128;

    /// <summary>mbarrier.init [a], count</summary>
    public static void Start(Warp warp, Instruction* instruction, uint mask)
    {
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            uint offset = Offset(warp, instruction, lane);
            uint count = ((uint*)(warp.Registers + instruction->B))[lane];
            if (count is 0 or >= 1 << 20)
            {
                throw warp.Fail(instruction, 1u << lane, $"starts a barrier for {count} threads; it may have 1 to {(1 << 20) - 1}");
            }

            if (warp.Block.Shared.Barriers.Start(offset, (int)count) is null)
            {
                throw warp.Fail(instruction, 1u << lane, $"starts more than {SharedBarriers.Most} barriers in one block, which the emulator does not cover");
            }
        }
    }

    /// <summary>mbarrier.inval [a]</summary>
    public static void End(Warp warp, Instruction* instruction, uint mask)
    {
        for (uint left = mask; left != 0; left &= left - 1)
        {
            Barrier(warp, instruction, BitOperations.TrailingZeroCount(left)).IsLive = false;
        }
    }

    /// <summary>mbarrier.expect_tx [a], bytes</summary>
    public static void Expect(Warp warp, Instruction* instruction, uint mask) => Announce(warp, instruction, mask, 1);

    /// <summary>mbarrier.complete_tx [a], bytes</summary>
    public static void Complete(Warp warp, Instruction* instruction, uint mask) => Announce(warp, instruction, mask, -1);

    /// <summary>mbarrier.arrive{.expect_tx} state, [a]{, count or bytes}: Count is 1 where B holds bytes. The state is the number of the phase.</summary>
    public static void Arrive(Warp warp, Instruction* instruction, uint mask)
    {
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            SharedBarrier barrier = Barrier(warp, instruction, lane);
            uint value = instruction->B < 0 ? 1 : ((uint*)(warp.Registers + instruction->B))[lane];
            int threads = instruction->Count == 1 ? 1 : (int)value;
            if (threads <= 0 || threads > barrier.Missing)
            {
                throw warp.Fail(instruction, 1u << lane, $"arrives with {threads} threads at {barrier}");
            }

            if (instruction->Destination >= 0)
            {
                ((ulong*)(warp.Registers + instruction->Destination))[lane] = (ulong)(barrier.Completions - barrier.FirstCompletion);
            }

            if (instruction->Count == 1)
            {
                barrier.Bytes += value;
            }

            warp.Block.Shared.Barriers.Arrive(barrier, threads, warp.Index);
        }
    }

    /// <summary>mbarrier.test_wait and try_wait p, [a], phase: the lanes wait until all of theirs have ended.</summary>
    public static void Wait(Warp warp, Instruction* instruction, uint mask)
    {
        bool all = true;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            SharedBarrier barrier = Barrier(warp, instruction, lane);
            bool ended = (instruction->Mode & ByParity) != 0
                ? (((uint*)(warp.Registers + instruction->B))[lane] & 1) != barrier.Parity
                : ((ulong*)(warp.Registers + instruction->B))[lane] != (ulong)(barrier.Completions - barrier.FirstCompletion);
            if (ended)
            {
                warp.Block.Shared.Barriers.Observe(barrier, warp.Index);
            }

            all &= ended;
        }

        if (!all && !warp.GivesUp((instruction->Mode & OnlyTests) != 0))
        {
            return;
        }

        warp.WritePredicate(instruction->Predicate, all ? Lanes.All : 0, mask);
    }

    /// <summary>What a warp that waits is missing, in words.</summary>
    public static string Missing(Warp warp, Instruction* instruction, uint mask) => Barrier(warp, instruction, BitOperations.TrailingZeroCount(mask)).ToString();

    /// <summary>fence.proxy.async</summary>
    public static void FenceProxy(Warp warp, Instruction* instruction, uint mask) => warp.Block.Shared.Asynchronous?.Fence(warp.Index);

    /// <summary>
    /// cp.async.bulk.tensor [destination], [map, {coordinates}], [barrier]{, {tap}}: Count is the number of dimensions; Registers are the map's address and offset, the barrier's and its offset, the
    /// coordinates and, where Size is 1, the tap.
    /// </summary>
    public static void CopyTensor(Warp warp, Instruction* instruction, uint mask)
    {
        byte* registers = warp.Registers;
        int* list = instruction->Registers;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            nint address = (nint)((long*)(registers + list[0]))[lane] + list[1];
            ulong place = ((uint*)(registers + list[2]))[lane] + (ulong)list[3];
            BulkCopy copy = new()
            {
                Warp = warp,
                Instruction = instruction,
                Lane = lane,
                Destination = Offset(warp, instruction, lane),
                Map = Map(warp, instruction, lane, address),
                Barrier = warp.Block.Shared.Barriers.Find(place) ?? throw warp.Fail(instruction, 1u << lane, $"names a barrier at offset {place} of shared memory, where none was started"),
            };
            for (int i = 0; i < instruction->Count; i++)
            {
                copy.Coordinates[i] = ((int*)(registers + list[4 + i]))[lane];
            }

            for (int i = 0; i < 2 && instruction->Size == 1; i++)
            {
                copy.Tap[i] = (ushort)((uint*)(registers + list[4 + instruction->Count + i]))[lane];
                if (copy.Tap[i] > byte.MaxValue)
                {
                    throw warp.Fail(instruction, 1u << lane, $"names a tap {copy.Tap[i]} pixels away; it may be 0 to 255");
                }
            }

            if (copy.Destination % CopyAlignment != 0)
            {
                throw warp.Fail(instruction, 1u << lane, $"is misaligned: offset {copy.Destination} of shared memory is no multiple of {CopyAlignment} bytes");
            }

            if (copy.Map.Rank != instruction->Count || copy.Map.IsPixels != (instruction->Size == 1))
            {
                throw warp.Fail(instruction, 1u << lane, $"names a map of {copy.Map.Rank} dimensions of {(copy.Map.IsPixels ? "pixels (im2col)" : "boxes (tile)")}");
            }

            warp.Block.Copies.Issue(copy);
        }
    }

    private static TensorMapRecord Map(Warp warp, Instruction* instruction, int lane, nint address)
    {
        if (address % 64 != 0)
        {
            throw warp.Fail(instruction, 1u << lane, $"is misaligned: the tensor map's address 0x{address:x} is no multiple of 64 bytes");
        }

        warp.Block.Locate(warp, instruction, lane, address, sizeof(TensorMapRecord));
        TensorMapRecord map = *(TensorMapRecord*)address;
        int inner = map.CopiesAlong(0) * map.ElementBytes;
        int span = map.Swizzle switch
        {
            TensorMapSwizzle.Bytes32 => 32,
            TensorMapSwizzle.Bytes64 => 64,
            TensorMapSwizzle.Bytes128 => 128,
            _ => inner,
        };
        return !map.IsValid
            ? throw warp.Fail(instruction, 1u << lane, "names 128 bytes that are no tensor map of this driver")
            : inner != span
                ? throw warp.Fail(instruction, 1u << lane, $"moves {inner} bytes of the inner dimension with a swizzle of {span}; the emulator covers full spans only")
                : map;
    }

    private static void Announce(Warp warp, Instruction* instruction, uint mask, int sign)
    {
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            warp.Block.Shared.Barriers.Announce(Barrier(warp, instruction, lane), sign * (long)((uint*)(warp.Registers + instruction->B))[lane]);
        }
    }

    private static SharedBarrier Barrier(Warp warp, Instruction* instruction, int lane)
    {
        uint offset = Offset(warp, instruction, lane);
        return warp.Block.Shared.Barriers.Find(offset) ?? throw warp.Fail(instruction, 1u << lane, $"names a barrier at offset {offset} of shared memory, where none was started");
    }

    private static uint Offset(Warp warp, Instruction* instruction, int lane)
    {
        ulong address = MemoryHandlers.Address(warp, instruction, lane) & ~MemoryHandlers.SharedWindow;
        if (address % 8 != 0 || address + 8 > (ulong)warp.Block.Shared.Length)
        {
            throw warp.Fail(instruction, 1u << lane, $"is out of bounds or misaligned: offset {address} of {warp.Block.Shared.Length} bytes of shared memory");
        }

        return (uint)address;
    }
}
