using System.Runtime.InteropServices;
using Saturn.Emulator.Execution.Operations;
using Saturn.Emulator.Memory;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator.Execution;

/// <summary>
/// One worker's block: its warps, registers and shared memory, used for one block of the grid after another. Warps run in turn, each until it waits at a
/// barrier; when all that are left wait, the barrier opens.
/// </summary>
internal sealed unsafe class Block : IDisposable
{
    // So many failed tests of barrier objects, with nothing happening between them, are taken for an endless loop.
    private const long MostFruitlessPolls = 1 << 16;

    private readonly List<Warp> warps = [];
    private readonly DeviceAllocation?[] lastAllocation;
    private readonly DeviceAllocations allocations;
    private byte* registers;
    private byte* local;
    private nuint registerCapacity;
    private nuint localCapacity;

    public Block(EmulatedKernel kernel, in LaunchGeometry geometry, byte* arguments, DeviceAllocations allocations, bool isChecked, bool counts = false)
    {
        Kernel = kernel;
        Geometry = geometry;
        Arguments = arguments;
        this.allocations = allocations;
        IsChecked = isChecked;
        Shared = new SharedMemory(isChecked, kernel.HasAsynchronous);
        Copies = new BulkCopies(this);
        lastAllocation = new DeviceAllocation?[kernel.InstructionCount];
        LaneCounts = counts ? new long[kernel.InstructionCount] : null;
        CreateWarps();
    }

    public EmulatedKernel Kernel { get; }

    public LaunchGeometry Geometry { get; }

    public byte* Arguments { get; }

    public bool IsChecked { get; }

    public SharedMemory Shared { get; }

    /// <summary>Lanes that executed each instruction, summed over all executions; null where nobody asks.</summary>
    public long[]? LaneCounts { get; }

    /// <summary>Bytes that asynchronous copies of lanes have read, over all blocks that ran here; not the zeros that they write instead.</summary>
    public long CopiedBytes { get; set; }

    /// <summary>Bulk copies that are under way.</summary>
    public BulkCopies Copies { get; }

    /// <summary>Tests of barrier objects that failed since anything changed.</summary>
    public long FruitlessPolls { get; set; }

    public int WarpCount => warps.Count;

    public uint X { get; private set; }

    public uint Y { get; private set; }

    public uint Z { get; private set; }

    /// <summary>Warp instructions executed by all blocks so far.</summary>
    public long Steps => warps.Sum(warp => warp.Steps);

    private int ThreadCount => checked((int)(Geometry.BlockX * Geometry.BlockY * Geometry.BlockZ));

    /// <summary>Runs one block of the grid to its end.</summary>
    public void Run(uint x, uint y, uint z)
    {
        (X, Y, Z) = (x, y, z);
        Shared.Reset(Kernel.StaticSharedBytes + (int)Geometry.SharedBytes);
        Shared.Barriers.Reset(warps.Count);
        Copies.Clear();
        FruitlessPolls = 0;
        foreach (Warp warp in warps)
        {
            Kernel.WriteBlockRegisters(warp);
            int threads = Math.Min(ThreadCount - warp.Index * Lanes.Count, Lanes.Count);
            warp.Start(threads == Lanes.Count ? Lanes.All : (1u << threads) - 1);
        }

        while (true)
        {
            bool isFinished = true;
            bool progressed = false;
            long events = Shared.Barriers.Events;
            foreach (Warp warp in warps)
            {
                if (warp.State is WarpState.Running or WarpState.Waiting)
                {
                    warp.Run();
                    progressed |= warp.HasProgressed;
                }

                isFinished &= warp.State == WarpState.Finished;
            }

            if (isFinished)
            {
                CheckEnd();
                return;
            }

            FruitlessPolls = events == Shared.Barriers.Events ? FruitlessPolls : 0;
            if (progressed || OpenBarriers())
            {
                continue;
            }

            if (Copies.Count > 0)
            {
                Copies.EndOne();
            }
            else if (FruitlessPolls is 0 or > MostFruitlessPolls)
            {
                throw Deadlock();
            }
        }
    }

    /// <summary>The allocation that holds a range of global memory; an error if there is none.</summary>
    public DeviceAllocation? Locate(Warp warp, Instruction* instruction, int lane, nint address, long length)
    {
        if (address >= (nint)Arguments && address + length <= (nint)Arguments + Kernel.ArgumentBytes)
        {
            return null;
        }

        ref DeviceAllocation? last = ref lastAllocation[instruction - Kernel.Code];
        if (last is not null && address >= last.Base && address + length <= last.Base + last.Length && !last.Freed)
        {
            return last;
        }

        DeviceAllocation? found = allocations.Find(address);
        if (found is not null && !found.Freed && address >= found.Base && address + length <= found.Base + found.Length)
        {
            last = found;
            return found;
        }

        if (Kernel.Module.Contains(address, length))
        {
            return null;
        }

        throw Fail(warp, instruction, lane, $"accesses {length} bytes out of bounds: {allocations.Describe(address + (found is { Freed: false } ? (nint)length - 1 : 0))}");
    }

    public EmulatorException Fail(Warp warp, Instruction* instruction, int lane, string what)
    {
        uint thread = (uint)(warp.Index * Lanes.Count + lane);
        uint x = thread % Geometry.BlockX;
        uint y = thread / Geometry.BlockX % Geometry.BlockY;
        uint z = thread / Geometry.BlockX / Geometry.BlockY;
        return new EmulatorException(
            $"Kernel {Kernel.Name}, block ({X}, {Y}, {Z}), thread ({x}, {y}, {z}): '{Kernel.Text(instruction)}' {what}.{Environment.NewLine}  at {Kernel.Locate(instruction)}");
    }

    public void Dispose()
    {
        Shared.Dispose();
        NativeMemory.AlignedFree(registers);
        NativeMemory.AlignedFree(local);
        registers = null;
        local = null;
    }

    private void CreateWarps()
    {
        int count = (ThreadCount + Lanes.Count - 1) / Lanes.Count;
        nuint perWarp = (nuint)(Kernel.RegisterFileBytes + Kernel.PredicateCount * sizeof(uint) + 127) / 64 * 64;
        nuint localPerWarp = (nuint)(Kernel.LocalBytes * Lanes.Count);
        registerCapacity = perWarp * (nuint)count;
        localCapacity = localPerWarp * (nuint)count;
        registers = (byte*)NativeMemory.AlignedAlloc(Math.Max(registerCapacity, 64), 64);
        local = (byte*)NativeMemory.AlignedAlloc(Math.Max(localCapacity, 64), 64);
        NativeMemory.Clear(registers, registerCapacity);
        for (int i = 0; i < count; i++)
        {
            Warp warp = new(this, i)
            {
                Registers = registers + (nuint)i * perWarp,
                Predicates = (uint*)(registers + (nuint)i * perWarp + Kernel.RegisterFileBytes),
                Local = local + (nuint)i * localPerWarp,
            };
            Kernel.WriteConstants(warp);
            warps.Add(warp);
        }
    }

    // A barrier opens when the threads it counts have come: all that have not finished, or the number that the instruction gives.
    private bool OpenBarriers()
    {
        foreach (Warp candidate in warps)
        {
            if (candidate.State != WarpState.AtBarrier)
            {
                continue;
            }

            int number = BarrierNumber(candidate);
            int arrived = 0;
            int missing = 0;
            foreach (Warp warp in warps)
            {
                if (warp.State == WarpState.AtBarrier && BarrierNumber(warp) == number)
                {
                    if (IsChecked && warp.Barrier != candidate.Barrier && candidate.Barrier->B < 0)
                    {
                        throw Fail(warp, warp.Barrier, 0, $"is a divergent barrier: warp {candidate.Index} of the block waits at {Kernel.Locate(candidate.Barrier)}");
                    }

                    arrived += Lanes.Count;
                }
                else if (warp.State is WarpState.AtBarrier or WarpState.Waiting)
                {
                    missing++;
                }
            }

            if (candidate.Barrier->B >= 0 ? arrived >= ((int*)(candidate.Registers + candidate.Barrier->B))[0] : missing == 0)
            {
                Open(candidate.Barrier, number);
                return true;
            }
        }

        return false;
    }

    // Nobody can go on, and no copy is under way.
    private EmulatorException Deadlock()
    {
        Warp? waiting = warps.Find(warp => warp.State == WarpState.Waiting);
        if (waiting is null)
        {
            Warp stuck = warps.Find(warp => warp.State == WarpState.AtBarrier)!;
            return Fail(stuck, stuck.Barrier, 0, "waits for ever: the other warps of the block wait at other barriers or have finished");
        }

        (nint place, uint lanes) = waiting.FindWait();
        Instruction* instruction = (Instruction*)place;
        string others = string.Concat(warps.Where(warp => warp != waiting && warp.State is WarpState.Waiting or WarpState.AtBarrier)
            .Select(warp => $"; warp {warp.Index} waits at {Kernel.Locate(warp.State == WarpState.AtBarrier ? warp.Barrier : (Instruction*)warp.FindWait().Instruction)}"));
        return waiting.Fail(instruction, lanes, $"waits for ever in warp {waiting.Index} for {BarrierHandlers.Missing(waiting, instruction, lanes)}{others}");
    }

    private void CheckEnd()
    {
        if (!IsChecked || !Kernel.HasAsynchronous)
        {
            return;
        }

        if (Copies.Count > 0)
        {
            BulkCopy copy = Copies.Youngest;
            throw copy.Warp.Fail(copy.Instruction, 1u << copy.Lane, "was not waited for before the block's end");
        }

        foreach (Warp warp in warps)
        {
            if (warp.Products.Count > 0)
            {
                throw warp.Fail(warp.Products[0].Instruction, Lanes.All, "was not waited for before the block's end");
            }

            if (warp.ProductHash != warps[warp.Index & ~3].ProductHash)
            {
                throw new EmulatorException($"Kernel {Kernel.Name}, block ({X}, {Y}, {Z}): warps {warp.Index & ~3} and {warp.Index} of one warpgroup executed different products (wgmma.mma_async).");
            }
        }
    }

    private void Open(Instruction* barrier, int number)
    {
        if (barrier->Handler != null)
        {
            BarrierReduction.Apply(warps, barrier);
        }

        Shared.Epoch++;
        Span<int> met = stackalloc int[warps.Count];
        int count = 0;
        foreach (Warp warp in warps)
        {
            if (warp.State == WarpState.AtBarrier && BarrierNumber(warp) == number)
            {
                warp.Release();
                met[count++] = warp.Index;
            }
        }

        Shared.Barriers.Share(met[..count]);
    }

    private static int BarrierNumber(Warp warp) => ((int*)(warp.Registers + warp.Barrier->A))[0];
}
