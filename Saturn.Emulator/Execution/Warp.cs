using System.Runtime.CompilerServices;
using Saturn.Emulator.Execution.Operations;

namespace Saturn.Emulator.Execution;

/// <summary>What became of a warp when it stopped running.</summary>
internal enum WarpState
{
    Running,
    AtBarrier,

    /// <summary>Some lanes wait for a barrier object, and no others can run.</summary>
    Waiting,
    Finished,
}

/// <summary>
/// 32 threads in lockstep. Lanes that went different ways are groups with program counters of their own; the group with the lowest counter runs, and groups
/// that meet become one, so that branches reconverge where the code does.
/// </summary>
internal sealed unsafe class Warp(Block block, int index)
{
    private struct Group
    {
        public int Counter;
        public uint Mask;

        /// <summary>Waits at a collective operation or a barrier for lanes that have not come yet.</summary>
        public bool IsParked;

        /// <summary>Waits for a barrier object; it tries again when the warp runs next.</summary>
        public bool IsWaiting;
    }

    // A warp that runs this many instructions without meeting a barrier is taken for an endless loop.
    private const long StepLimit = 1L << 32;

    private readonly Group[] groups = new Group[Lanes.Count];
    private int groupCount;
    private Group current;
    private int nextCounter;
    private bool isUnsatisfied;
    private bool hasPolled;
    private bool hasGivenUp;

    /// <summary>The register file; immediates and special registers come first.</summary>
    public byte* Registers;

    public uint* Predicates;

    /// <summary>Local memory: each lane's bytes in one piece.</summary>
    public byte* Local;

    public Block Block => block;

    public int Index => index;

    /// <summary>Lanes that exist in this block.</summary>
    public uint Existing { get; private set; }

    /// <summary>Lanes that have not finished.</summary>
    public uint Live { get; private set; }

    public WarpState State { get; private set; }

    /// <summary>The barrier instruction that the warp waits at.</summary>
    public Instruction* Barrier { get; private set; }

    /// <summary>Warp instructions executed.</summary>
    public long Steps { get; private set; }

    /// <summary>Asynchronous copies that were issued and not yet waited for.</summary>
    public List<AsynchronousCopy> Copies { get; } = [];

    /// <summary>Number of the group of asynchronous copies that is open.</summary>
    public int CopyGroup { get; set; }

    /// <summary>Products of the warpgroup that were issued and not yet waited for, with the sums that they hold.</summary>
    public List<PendingProduct> Products { get; } = [];

    public List<HeldSums> Held { get; } = [];

    /// <summary>Number of the group of products that is open.</summary>
    public int ProductGroup { get; set; }

    /// <summary>All products so far as one number, which is the same in all warps of a warpgroup.</summary>
    public int ProductHash { get; set; }

    /// <summary>Whether a wait was over since <see cref="Run"/> was called last, or the warp got further than to one.</summary>
    public bool HasProgressed { get; private set; }

    /// <summary>Targets of an indexed branch, one a lane.</summary>
    public int[] Targets { get; } = new int[Lanes.Count];

    /// <summary>Puts the warp at the start of the kernel.</summary>
    public void Start(uint lanes)
    {
        Existing = lanes;
        Live = lanes;
        current = new Group { Counter = 0, Mask = lanes };
        groupCount = 0;
        nextCounter = int.MaxValue;
        State = lanes == 0 ? WarpState.Finished : WarpState.Running;
        Copies.Clear();
        CopyGroup = 0;
        Products.Clear();
        Held.Clear();
        ProductGroup = 0;
        ProductHash = 0;
        isUnsatisfied = false;
        hasPolled = false;
    }

    /// <summary>
    /// A wait that is not over: the lanes try again later, except that one which only tests fails after the others have run once.
    /// </summary>
    /// <returns>Whether it is to fail now.</returns>
    public bool GivesUp(bool onlyTests)
    {
        if (onlyTests && hasPolled)
        {
            hasPolled = false;
            hasGivenUp = true;
            block.FruitlessPolls++;
            return true;
        }

        hasPolled = onlyTests;
        isUnsatisfied = true;
        return false;
    }

    /// <summary>The instruction that the warp waits at for a barrier object, and the lanes that do.</summary>
    public (nint Instruction, uint Lanes) FindWait()
    {
        for (int i = 0; i < groupCount; i++)
        {
            if (groups[i].IsWaiting)
            {
                return ((nint)(block.Kernel.Code + groups[i].Counter), groups[i].Mask);
            }
        }

        return (0, 0);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void WritePredicate(int predicate, uint value, uint mask) =>
        Predicates[predicate] = (Predicates[predicate] & ~mask) | (value & mask);

    /// <summary>Goes on behind the barrier.</summary>
    public void Release() => State = WarpState.Running;

    /// <summary>Runs until all live lanes wait at a barrier or have finished.</summary>
    public void Run()
    {
        Instruction* code = block.Kernel.Code;
        uint* predicates = Predicates;
        HasProgressed = State == WarpState.Running;
        if (State == WarpState.Waiting)
        {
            for (int i = 0; i < groupCount; i++)
            {
                groups[i].IsWaiting = false;
            }

            State = WarpState.Running;
            TakeLowest();
        }

        int counter = current.Counter;
        uint mask = current.Mask;
        long steps = 0;
        long[]? laneCounts = block.LaneCounts;
        while (true)
        {
            Instruction* instruction = code + counter;
            uint active = mask;
            steps++;
            if (instruction->Guard >= 0)
            {
                active &= predicates[instruction->Guard] ^ instruction->GuardInvert;
                if (active == 0)
                {
                    counter++;
                    goto Advance;
                }
            }

            if (laneCounts is not null)
            {
                laneCounts[counter] += System.Numerics.BitOperations.PopCount(active);
            }

            switch (instruction->Kind)
            {
                case InstructionKind.Plain:
                    instruction->Handler(this, instruction, active);
                    counter++;
                    break;
                case InstructionKind.Branch:
                    if (active == mask)
                    {
                        counter = instruction->Target;
                    }
                    else
                    {
                        Diverge(instruction->Target, active);
                        mask &= ~active;
                        counter++;
                    }

                    if (steps > StepLimit)
                    {
                        throw Fail(instruction, active, $"runs for more than {StepLimit} instructions without a barrier: an endless loop, or it waits for another warp or block");
                    }

                    break;
                case InstructionKind.Collective:
                    if (!Arrived(instruction, counter, active, mask))
                    {
                        Park(counter, mask);
                        goto Switch;
                    }

                    instruction->Handler(this, instruction, active);
                    counter++;
                    break;
                case InstructionKind.Barrier:
                    if (active != mask)
                    {
                        throw Fail(instruction, mask & ~active, "is skipped by a lane whose neighbours wait at it");
                    }

                    if (active != Live)
                    {
                        Park(counter, mask);
                        goto Switch;
                    }

                    current = new Group { Counter = counter + 1, Mask = mask };
                    Barrier = instruction;
                    State = WarpState.AtBarrier;
                    Steps += steps;
                    return;
                case InstructionKind.Wait:
                    if (active != mask)
                    {
                        // Lanes that do not wait go on alone.
                        Park(counter + 1, mask & ~active, parked: false);
                        mask = active;
                    }

                    instruction->Handler(this, instruction, active);
                    if (isUnsatisfied)
                    {
                        isUnsatisfied = false;
                        Park(counter, mask, waiting: true);
                        goto Switch;
                    }

                    HasProgressed |= !hasGivenUp;
                    hasGivenUp = false;
                    counter++;
                    break;
                case InstructionKind.IndexedBranch:
                    instruction->Handler(this, instruction, active);
                    for (int lane = 0; lane < Lanes.Count; lane++)
                    {
                        if ((active >> lane & 1) != 0)
                        {
                            Diverge(Targets[lane], 1u << lane);
                        }
                    }

                    mask &= ~active;
                    counter++;
                    if (mask == 0)
                    {
                        goto Switch;
                    }

                    break;
                default: // Exit
                    Live &= ~active;
                    mask &= ~active;
                    counter++;
                    if (mask == 0)
                    {
                        goto Switch;
                    }

                    break;
            }

        Advance:
            if (counter < nextCounter)
            {
                continue;
            }

            Park(counter, mask, parked: false);

        Switch:
            if (!TakeLowest())
            {
                Steps += steps;
                return;
            }

            counter = current.Counter;
            mask = current.Mask;
        }
    }

    /// <summary>An error with everything that helps to find it.</summary>
    public EmulatorException Fail(Instruction* instruction, uint lanes, string what) =>
        block.Fail(this, instruction, System.Numerics.BitOperations.TrailingZeroCount(lanes), what);

    private void Diverge(int target, uint lanes) => Park(target, lanes, parked: false);

    private void Park(int counter, uint lanes, bool parked = true, bool waiting = false)
    {
        for (int i = 0; i < groupCount; i++)
        {
            if (groups[i].Counter == counter)
            {
                // Lanes that come to a waiting group may complete it: it is looked at again.
                groups[i].Mask |= lanes;
                groups[i].IsParked = parked && groups[i].IsParked;
                groups[i].IsWaiting &= waiting;
                UpdateNextCounter();
                return;
            }
        }

        groups[groupCount++] = new Group { Counter = counter, Mask = lanes, IsParked = parked && !waiting, IsWaiting = waiting };
        UpdateNextCounter();
    }

    private void UpdateNextCounter()
    {
        nextCounter = int.MaxValue;
        for (int i = 0; i < groupCount; i++)
        {
            nextCounter = Math.Min(nextCounter, groups[i].Counter);
        }
    }

    /// <summary>Makes the runnable group with the lowest counter the current one; false when the warp waits at a barrier or is finished.</summary>
    private bool TakeLowest()
    {
        if (groupCount == 0)
        {
            State = WarpState.Finished;
            return false;
        }

        int best = -1;
        bool anyWaits = false;
        for (int i = 0; i < groupCount; i++)
        {
            anyWaits |= groups[i].IsWaiting;
            if (!groups[i].IsParked && !groups[i].IsWaiting && (best < 0 || groups[i].Counter < groups[best].Counter))
            {
                best = i;
            }
        }

        if (best < 0)
        {
            if (anyWaits)
            {
                State = WarpState.Waiting;
                return false;
            }

            ResolveParked();
            best = 0;
        }

        current = groups[best];
        current.IsParked = false;
        groups[best] = groups[--groupCount];
        UpdateNextCounter();
        return true;
    }

    // Every group waits. If all live lanes stand at one instruction it goes on; otherwise lanes wait for others that will never come.
    private void ResolveParked()
    {
        if (groupCount == 1)
        {
            Instruction* instruction = block.Kernel.Code + groups[0].Counter;
            if (instruction->Kind == InstructionKind.Barrier)
            {
                return;
            }

            throw Fail(instruction, groups[0].Mask, "names lanes in its member mask that have finished or are not there");
        }

        Instruction* first = block.Kernel.Code + groups[0].Counter;
        throw Fail(
            first, groups[0].Mask,
            first->Kind == InstructionKind.Barrier
                ? $"is a divergent barrier: lanes 0x{groups[0].Mask:x8} of the warp wait here, lanes 0x{groups[1].Mask:x8} at {block.Kernel.Locate(block.Kernel.Code + groups[1].Counter)}"
                : $"waits for lanes of its member mask that wait at {block.Kernel.Locate(block.Kernel.Code + groups[1].Counter)}");
    }

    // Whether the lanes named in the member mask are here. Registers of a member mask have the same value in all lanes that execute it.
    private bool Arrived(Instruction* instruction, int counter, uint active, uint mask)
    {
        if (instruction->C < 0)
        {
            return true;
        }

        uint members = ((uint*)(Registers + instruction->C))[System.Numerics.BitOperations.TrailingZeroCount(active)];
        if ((members & active) != active)
        {
            throw Fail(instruction, active & ~members, $"is executed by a lane that its member mask 0x{members:x8} does not name");
        }

        uint missing = members & ~active & Live;
        if (missing == 0)
        {
            return true;
        }

        if ((missing & mask) != 0)
        {
            throw Fail(instruction, missing & mask, $"is skipped by a lane that its member mask 0x{members:x8} names");
        }

        // The others may still come; if everybody waits, they do not.
        for (int i = 0; i < groupCount; i++)
        {
            if (groups[i].Counter != counter && !groups[i].IsParked)
            {
                return false;
            }
        }

        throw Fail(instruction, active, $"waits for lanes 0x{missing:x8} of its member mask 0x{members:x8}, which never come here");
    }
}

/// <summary>One lane's asynchronous copy into shared memory, executed when its group is waited for.</summary>
internal readonly record struct AsynchronousCopy(int Group, int Lane, uint Destination, nint Source, int Bytes, int SourceBytes, nint Instruction);
