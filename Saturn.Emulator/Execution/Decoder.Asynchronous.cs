using Saturn.Emulator.Execution.Operations;
using Saturn.Emulator.Ptx;

namespace Saturn.Emulator.Execution;

// PTX manual: mbarrier, cp.async.bulk.tensor, wgmma, and the small instructions around them (compute capability 9.0).
internal sealed unsafe partial class Decoder
{
    private bool hasAsynchronous;

    // mbarrier.op{.sem.scope}{.space}.b64
    private void DecodeSharedBarrier()
    {
        hasAsynchronous = true;
        string operation = Parts[1];
        bool expects = operation == "arrive" && Parts[2] == "expect_tx";
        for (int i = 2; i < Parts.Length - 1; i++)
        {
            if (Parts[i] is not ("shared" or "shared::cta" or "release" or "acquire" or "relaxed" or "cta" or "cluster") && !(Parts[i] == "parity" && operation.EndsWith("wait", StringComparison.Ordinal))
                && !(i == 2 && expects) && !(Parts[i] == "shared::cluster" && Operands[0].Text == "_"))
            {
                throw Unsupported();
            }
        }

        int address = Operands[0].Kind == PtxOperandKind.Address ? 0 : 1;
        DecodeAddress(Operands[address], AddressSpace.Shared);
        PtxOperand? value = Operands.Length > address + 1 ? Operands[address + 1] : null;
        switch (operation)
        {
            case "init" or "expect_tx" or "complete_tx":
                result.B = Input(value ?? throw Unsupported(), "u32");
                result.Handler = operation switch
                {
                    "init" => &BarrierHandlers.Start,
                    "expect_tx" => &BarrierHandlers.Expect,
                    _ => &BarrierHandlers.Complete,
                };
                break;
            case "inval":
                result.Handler = &BarrierHandlers.End;
                break;
            case "arrive":
                result.Destination = Operands[0].Text == "_" ? -1 : Output(Operands[0], wide: true);
                result.B = value is null ? -1 : Input(value, "u32");
                result.Count = expects ? (byte)1 : (byte)0;
                result.Handler = &BarrierHandlers.Arrive;
                break;
            case "test_wait" or "try_wait":
                result.Kind = InstructionKind.Wait;
                result.Predicate = Predicate(Operands[0].Text);
                result.B = Input(value ?? throw Unsupported(), source.Has("parity") ? "u32" : "b64");
                result.Mode |= (byte)((source.Has("parity") ? BarrierHandlers.ByParity : 0) | (operation == "test_wait" ? BarrierHandlers.OnlyTests : 0));
                result.Handler = &BarrierHandlers.Wait;
                break;
            default:
                throw Unsupported();
        }
    }

    // cp.async.bulk.tensor.Nd.shared::cluster.global{.tile|.im2col}.mbarrier::complete_tx::bytes{.L2::cache_hint} [destination], [map, {coordinates}], [barrier]{, {tap}}{, hint}
    private void DecodeBulkCopy()
    {
        hasAsynchronous = true;
        bool pixels = source.Has("im2col");
        int rank = Parts[4] switch
        {
            "1d" => 1,
            "2d" => 2,
            "3d" => 3,
            "4d" => 4,
            "5d" => 5,
            _ => throw Unsupported(),
        };
        bool known = Parts[3] == "tensor" && Parts[5] is "shared::cluster" or "shared::cta" && Parts[6] == "global" && source.Has("mbarrier::complete_tx::bytes") && (!pixels || rank == 4);
        for (int i = 7; i < Parts.Length; i++)
        {
            known &= Parts[i] is "tile" or "im2col" or "mbarrier::complete_tx::bytes" or "L2::cache_hint";
        }

        PtxOperand map = Operands[1];
        PtxOperand barrier = Operands[2];
        if (!known || map.Elements.Length != rank || (pixels && Operands[3].Elements.Length != 2))
        {
            throw Unsupported();
        }

        DecodeAddress(Operands[0], AddressSpace.Shared);
        List<int> registers =
        [
            Input(new PtxOperand { Kind = PtxOperandKind.Word, Text = map.Text }, "b64"), (int)map.Offset,
            Input(new PtxOperand { Kind = PtxOperandKind.Word, Text = barrier.Text }, "b32"), (int)barrier.Offset,
        ];
        registers.AddRange(map.Elements.Select(element => Input(element, "s32")));
        registers.AddRange(pixels ? Operands[3].Elements.Select(element => Input(element, "u16")) : []);
        result.Registers = List([.. registers]);
        result.Count = (byte)rank;
        result.Size = pixels ? (byte)1 : (byte)0;
        result.Handler = &BarrierHandlers.CopyTensor;
    }

    // wgmma.fence | commit_group | wait_group N | mma_async.sync.aligned.m64nNk16.f32.T.T {d…}, a-descriptor, b-descriptor, adds, scale-a, scale-b, trans-a, trans-b
    private void DecodeWarpgroup()
    {
        hasAsynchronous = true;
        switch (Parts[1])
        {
            case "fence":
                result.Handler = &CollectiveHandlers.Nothing;
                return;
            case "commit_group":
                result.Handler = &WarpgroupHandlers.Commit;
                return;
            case "wait_group":
                result.Immediate = (long)PtxLiteral.Parse(Operands[0].Text, out _);
                result.Handler = &WarpgroupHandlers.Wait;
                return;
            case "mma_async" when Parts is [_, _, "sync", "aligned", var shape, "f32", "bf16" or "f16", var type] && type == Parts[6]
                && shape.StartsWith("m64n", StringComparison.Ordinal) && shape.EndsWith("k16", StringComparison.Ordinal) && Operands.Length == 8:
                break;
            default:
                throw Unsupported();
        }

        int columns = 2 * Operands[0].Elements.Length;
        if (Parts[4] != $"m64n{columns}k16" || columns % 8 != 0 || columns > 256)
        {
            throw Unsupported();
        }

        result.Registers = List([.. Operands[0].Elements.Select(element => Output(element, wide: false))]);
        result.Count = (byte)(columns / 8);
        result.A = Input(Operands[1], "b64");
        result.B = Input(Operands[2], "b64");
        if (IsPredicate(Operands[3]))
        {
            SourcePredicate(Operands[3]);
        }
        else
        {
            result.Immediate = (long)PtxLiteral.Parse(Operands[3].Text, out _);
        }

        result.Mode = (byte)((Parts[6] == "f16" ? WarpgroupHandlers.Half : 0)
            | (Operands[4].IsNegated ? WarpgroupHandlers.NegatedA : 0) | (Operands[5].IsNegated ? WarpgroupHandlers.NegatedB : 0)
            | (Operands[6].Text == "1" ? WarpgroupHandlers.TransposedA : 0) | (Operands[7].Text == "1" ? WarpgroupHandlers.TransposedB : 0));
        result.Handler = &WarpgroupHandlers.Issue;
    }

    // elect.sync d|p, mask
    private void DecodeElect()
    {
        result.Kind = InstructionKind.Collective;
        result.Destination = Output(Operands[0], wide: false);
        result.Predicate = Predicate(Operands[0].Second ?? throw Unsupported());
        result.C = Input(Operands[1], "b32");
        result.Handler = &CollectiveHandlers.Elect;
    }
}
