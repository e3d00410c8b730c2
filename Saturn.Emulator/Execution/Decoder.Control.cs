using Saturn.Emulator.Execution.Operations;

namespace Saturn.Emulator.Execution;

// PTX manual: "Control Flow Instructions", "Parallel Synchronization and Communication Instructions", "Warp Level Matrix Instructions".
internal sealed unsafe partial class Decoder
{
    private void DecodeControl()
    {
        switch (Parts[0])
        {
            case "bra":
                result.Kind = InstructionKind.Branch;
                result.Target = Label(Operands[0].Text);
                break;
            case "brx":
                DecodeIndexedBranch();
                break;
            case "ret" or "exit":
                result.Kind = InstructionKind.Exit;
                break;
            case "trap":
                result.Handler = &Trap;
                break;
            case "nanosleep" or "pmevent":
                result.Handler = &CollectiveHandlers.Nothing;
                break;
            default:
                DecodeBarrier();
                break;
        }
    }

    private static void Trap(Warp warp, Instruction* instruction, uint mask) => throw warp.Fail(instruction, mask, "stops the kernel");

    private int Label(string name) => kernel.Labels.TryGetValue(name, out int index) ? index : throw Unsupported($"label '{name}' does not exist");

    private void DecodeIndexedBranch()
    {
        string[] names = kernel.BranchTargets.TryGetValue(Operands[1].Text, out string[]? found) ? found : throw Unsupported();
        result.Kind = InstructionKind.IndexedBranch;
        result.A = Input(Operands[0], "u32");
        Span<int> targets = new int[names.Length];
        for (int i = 0; i < names.Length; i++)
        {
            targets[i] = Label(names[i]);
        }

        result.Registers = List(targets);
        result.Immediate = names.Length;
        result.Handler = &IndexTargets;
    }

    private static void IndexTargets(Warp warp, Instruction* instruction, uint mask)
    {
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = System.Numerics.BitOperations.TrailingZeroCount(left);
            uint index = ((uint*)(warp.Registers + instruction->A))[lane];
            if (index >= instruction->Immediate)
            {
                throw warp.Fail(instruction, 1u << lane, $"jumps to entry {index} of a table of {instruction->Immediate}");
            }

            warp.Targets[lane] = instruction->Registers[index];
        }
    }

    private void DecodeBarrier()
    {
        if (Parts is ["bar", "warp", "sync"])
        {
            result.Kind = InstructionKind.Collective;
            result.Handler = &CollectiveHandlers.Nothing;
            result.C = Input(Operands[0], "b32");
            return;
        }

        // bar.sync a{, b}; barrier{.cta}.sync{.aligned} a{, b}; bar.red.op{.type} d, a{, b}, p
        result.Kind = InstructionKind.Barrier;
        if (source.Has("sync"))
        {
            result.A = Input(Operands[0], "u32");
            result.B = Operands.Length > 1 ? Input(Operands[1], "u32") : -1;
            return;
        }

        if (!source.Has("red"))
        {
            throw Unsupported();
        }

        result.Handler = &CollectiveHandlers.Nothing;
        result.A = Input(Operands[1], "u32");
        result.B = Operands.Length > 3 ? Input(Operands[2], "u32") : -1;
        SourcePredicate(Operands[^1]);
        if (source.Has("popc"))
        {
            result.Mode = BarrierReduction.Count;
            result.Destination = Output(Operands[0], wide: false);
        }
        else
        {
            result.Mode = source.Has("and") ? BarrierReduction.And : BarrierReduction.Or;
            result.Predicate = Predicate(Operands[0].Text);
        }
    }

    private void DecodeCollective()
    {
        result.Kind = InstructionKind.Collective;
        switch (Parts[0])
        {
            case "shfl":
                result.Handler = &CollectiveHandlers.Shuffle;
                result.Mode = source.Has("up") ? CollectiveHandlers.Up
                    : source.Has("down") ? CollectiveHandlers.Down
                    : source.Has("bfly") ? CollectiveHandlers.Butterfly
                    : CollectiveHandlers.Index;
                result.Destination = Output(Operands[0], wide: false);
                result.Predicate = Operands[0].Second is string second and not "_" ? Predicate(second) : -1;
                result.A = Input(Operands[1], "b32");
                result.B = Input(Operands[2], "b32");
                result.Registers = List(Input(Operands[3], "b32"));
                result.C = Input(Operands[4], "b32");
                break;
            case "vote":
                DecodeVote();
                break;
            case "match":
                result.Handler = IsWideType(Type) ? &CollectiveHandlers.Match<ulong> : &CollectiveHandlers.Match<uint>;
                result.Mode = source.Has("all") ? (byte)1 : (byte)0;
                result.Destination = Output(Operands[0], wide: false);
                result.Predicate = Operands[0].Second is string also and not "_" ? Predicate(also) : -1;
                result.A = Input(Operands[1], Type);
                result.C = Input(Operands[2], "b32");
                break;
            case "redux":
                result.Handler = IsSigned(Type) ? &CollectiveHandlers.Reduce<int> : &CollectiveHandlers.Reduce<uint>;
                result.Mode = (byte)(Parts[2] switch
                {
                    "add" => AtomicOperation.Add,
                    "min" => AtomicOperation.Minimum,
                    "max" => AtomicOperation.Maximum,
                    "and" => AtomicOperation.And,
                    "or" => AtomicOperation.Or,
                    "xor" => AtomicOperation.ExclusiveOr,
                    _ => throw Unsupported(),
                });
                result.Destination = Output(Operands[0], wide: false);
                result.A = Input(Operands[1], Type);
                result.C = Input(Operands[2], "b32");
                break;
            default:
                result.Handler = &CollectiveHandlers.ActiveMask;
                result.Destination = Output(Operands[0], wide: false);
                break;
        }
    }

    // vote.sync.any|all|uni.pred p, q, mask; vote.sync.ballot.b32 d, q, mask
    private void DecodeVote()
    {
        result.Handler = &CollectiveHandlers.Vote;
        result.Mode = source.Has("ballot") ? CollectiveHandlers.Ballot
            : source.Has("any") ? CollectiveHandlers.VoteAny
            : source.Has("all") ? CollectiveHandlers.VoteAll
            : CollectiveHandlers.VoteUniform;
        if (result.Mode == CollectiveHandlers.Ballot)
        {
            result.Destination = Output(Operands[0], wide: false);
        }
        else
        {
            result.Predicate = Predicate(Operands[0].Text);
        }

        SourcePredicate(Operands[1]);
        result.C = Operands.Length > 2 ? Input(Operands[2], "b32") : -1;
    }

    // mma.sync.aligned.m16n8kK.row.col.f32.T.T.f32 {d×4}, {a…}, {b…}, {c×4}
    private void DecodeMatrix()
    {
        (string shape, string type) = (Parts[3], Parts[^2]);
        (int depth, int mode) = (shape, type) switch
        {
            ("m16n8k4", "tf32") => (4, 0),
            ("m16n8k8", "tf32") => (8, 0),
            ("m16n8k8", "bf16") => (8, 1),
            ("m16n8k16", "bf16") => (16, 1),
            ("m16n8k8", "f16") => (8, 2),
            ("m16n8k16", "f16") => (16, 2),
            _ => throw Unsupported(),
        };
        if (Parts[4] != "row" || Parts[5] != "col" || Parts[6] != "f32" || Parts[^1] != "f32")
        {
            throw Unsupported();
        }

        List<int> registers = [];
        registers.AddRange(Operands[0].Elements.Select(element => Output(element, wide: false)));
        registers.AddRange(Operands[1].Elements.Select(element => Input(element, "b32")));
        registers.AddRange(Operands[2].Elements.Select(element => Input(element, "b32")));
        registers.AddRange(Operands[3].Elements.Select(element => Input(element, "f32")));
        result.Registers = List([.. registers]);
        result.Count = (byte)depth;
        result.Mode = (byte)mode;
        result.Handler = &MatrixHandlers.MultiplyAccumulate;
    }
}
