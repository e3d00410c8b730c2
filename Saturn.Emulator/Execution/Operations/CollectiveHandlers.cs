using System.Numerics;
using System.Runtime.Intrinsics;

namespace Saturn.Emulator.Execution.Operations;

/// <summary>Operations of a whole warp: exchanges, votes, matches, reductions. C is the member mask's register.</summary>
internal static unsafe class CollectiveHandlers
{
    public const byte Up = 0;
    public const byte Down = 1;
    public const byte Butterfly = 2;
    public const byte Index = 3;

    /// <summary>shfl.sync d|p, a, b, c: Mode is the direction, Registers[0] the operand c (segment mask and clamp).</summary>
    public static void Shuffle(Warp warp, Instruction* instruction, uint mask)
    {
        byte* r = warp.Registers;
        uint* source = (uint*)(r + instruction->A);
        uint* distances = (uint*)(r + instruction->B);
        uint* controls = (uint*)(r + instruction->Registers[0]);
        uint* values = stackalloc uint[Lanes.Count];
        uint inRange = 0;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            int b = (int)(distances[lane] & 0x1F);
            int clamp = (int)(controls[lane] & 0x1F);
            int segment = (int)((controls[lane] >> 8) & 0x1F);
            int highest = (lane & segment) | (clamp & ~segment);
            int lowest = lane & segment;
            int from = instruction->Mode switch
            {
                Up => lane - b,
                Down => lane + b,
                Butterfly => lane ^ b,
                _ => lowest | (b & ~segment),
            };
            bool holds = instruction->Mode == Up ? from >= highest : from <= highest;
            if (!holds)
            {
                from = lane;
            }
            else
            {
                inRange |= 1u << lane;
            }

            if (warp.Block.IsChecked && (mask >> from & 1) == 0)
            {
                throw warp.Fail(instruction, 1u << lane, $"reads lane {from}, which does not take part, so that the value is undefined");
            }

            values[lane] = source[from];
        }

        for (int part = 0; part < 2; part++)
        {
            Lanes.Store(r + instruction->Destination, part, Vector512.Load(values + 16 * part), mask);
        }

        if (instruction->Predicate >= 0)
        {
            warp.WritePredicate(instruction->Predicate, inRange, mask);
        }
    }

    public const byte VoteAny = 0;
    public const byte VoteAll = 1;
    public const byte VoteUniform = 2;
    public const byte Ballot = 3;

    /// <summary>vote.sync: Mode says which; a ballot goes into a register, the others into a predicate.</summary>
    public static void Vote(Warp warp, Instruction* instruction, uint mask)
    {
        uint votes = (warp.Predicates[instruction->Source] ^ instruction->SourceInvert) & mask;
        if (instruction->Mode == Ballot)
        {
            for (int part = 0; part < 2; part++)
            {
                Lanes.Store(warp.Registers + instruction->Destination, part, Vector512.Create(votes), mask);
            }

            return;
        }

        bool holds = instruction->Mode switch
        {
            VoteAny => votes != 0,
            VoteAll => votes == mask,
            _ => votes == mask || votes == 0,
        };
        warp.WritePredicate(instruction->Predicate, holds ? Lanes.All : 0, mask);
    }

    /// <summary>activemask: the lanes that execute this together.</summary>
    public static void ActiveMask(Warp warp, Instruction* instruction, uint mask)
    {
        for (int part = 0; part < 2; part++)
        {
            Lanes.Store(warp.Registers + instruction->Destination, part, Vector512.Create(mask), mask);
        }
    }

    /// <summary>elect.sync: the lowest lane, in a register and as the one whose predicate holds.</summary>
    public static void Elect(Warp warp, Instruction* instruction, uint mask)
    {
        int elected = BitOperations.TrailingZeroCount(mask);
        for (int part = 0; part < 2; part++)
        {
            Lanes.Store(warp.Registers + instruction->Destination, part, Vector512.Create((uint)elected), mask);
        }

        warp.WritePredicate(instruction->Predicate, 1u << elected, mask);
    }

    /// <summary>match.any: the lanes with the same value. match.all (Mode 1): the mask if all have it, and a predicate.</summary>
    public static void Match<T>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged, IEquatable<T>
    {
        byte* r = warp.Registers;
        bool all = true;
        T first = Arithmetic.Read<T>(r + instruction->A, BitOperations.TrailingZeroCount(mask));
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            T value = Arithmetic.Read<T>(r + instruction->A, lane);
            all &= value.Equals(first);
            uint same = 0;
            for (uint others = mask; others != 0; others &= others - 1)
            {
                int other = BitOperations.TrailingZeroCount(others);
                same |= Arithmetic.Read<T>(r + instruction->A, other).Equals(value) ? 1u << other : 0;
            }

            if (instruction->Mode == 0)
            {
                warp.Targets[lane] = (int)same;
            }
        }

        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            ((uint*)(r + instruction->Destination))[lane] = instruction->Mode == 0 ? (uint)warp.Targets[lane] : all ? mask : 0;
        }

        if (instruction->Predicate >= 0)
        {
            warp.WritePredicate(instruction->Predicate, all ? Lanes.All : 0, mask);
        }
    }

    /// <summary>redux.sync: one value for all lanes. Mode holds the operation.</summary>
    public static void Reduce<T>(Warp warp, Instruction* instruction, uint mask)
        where T : unmanaged, IBinaryInteger<T>
    {
        byte* r = warp.Registers;
        T result = Arithmetic.Read<T>(r + instruction->A, BitOperations.TrailingZeroCount(mask));
        for (uint left = mask & (mask - 1); left != 0; left &= left - 1)
        {
            T value = Arithmetic.Read<T>(r + instruction->A, BitOperations.TrailingZeroCount(left));
            result = (AtomicOperation)instruction->Mode switch
            {
                AtomicOperation.Add => unchecked(result + value),
                AtomicOperation.Minimum => T.Min(result, value),
                AtomicOperation.Maximum => T.Max(result, value),
                AtomicOperation.And => result & value,
                AtomicOperation.Or => result | value,
                _ => result ^ value,
            };
        }

        for (uint left = mask; left != 0; left &= left - 1)
        {
            Arithmetic.Write(r + instruction->Destination, BitOperations.TrailingZeroCount(left), result);
        }
    }

    /// <summary>bar.warp.sync, and other points that only bring the lanes together.</summary>
    public static void Nothing(Warp warp, Instruction* instruction, uint mask)
    {
    }
}

/// <summary>bar.red: a vote or a count over all threads that came to the barrier.</summary>
internal static unsafe class BarrierReduction
{
    public const byte And = 0;
    public const byte Or = 1;
    public const byte Count = 2;

    public static void Apply(List<Warp> warps, Instruction* barrier)
    {
        int count = 0;
        bool all = true;
        foreach (Warp warp in warps)
        {
            if (warp.State == WarpState.AtBarrier)
            {
                uint votes = (warp.Predicates[barrier->Source] ^ barrier->SourceInvert) & warp.Live;
                count += BitOperations.PopCount(votes);
                all &= votes == warp.Live;
            }
        }

        foreach (Warp warp in warps)
        {
            if (warp.State != WarpState.AtBarrier)
            {
                continue;
            }

            if (barrier->Mode == Count)
            {
                for (int part = 0; part < 2; part++)
                {
                    Lanes.Store(warp.Registers + barrier->Destination, part, Vector512.Create((uint)count), warp.Live);
                }
            }
            else
            {
                warp.WritePredicate(barrier->Predicate, (barrier->Mode == And ? all : count > 0) ? Lanes.All : 0, warp.Live);
            }
        }
    }
}
