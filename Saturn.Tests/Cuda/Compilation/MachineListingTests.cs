using NUnit.Framework;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Tests.Cuda.Compilation;

/// <summary>Listings of nvdisasm, written by hand after real ones: instructions, and the loops that branches make.</summary>
public sealed class MachineListingTests
{
    // A loop in a loop; a block behind the exit that belongs to the outer one; lanes that part; a function that was not inlined; padding.
    private const string Nested = """
        	.headerflags	@"EF_CUDA_SM80 EF_CUDA_VIRTUAL_SM(EF_CUDA_SM80)"
        	.elftype	@"ET_EXEC"


        //--------------------- .text.nested        --------------------------
        	.section	.text.nested,"ax",@progbits
        	.sectioninfo	@"SHI_REGISTERS=32"
        	.align	128
                .global         nested
                .type           nested,@function
                .size           nested,(.L_x_90 - nested)
        nested:
        .text.nested:
                /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;
                /*0010*/                   ISETP.NE.AND P0, PT, R0, RZ, PT ;
        .L_x_1:
                /*0020*/                   LDG.E.128.CONSTANT R4, [R2.64] ;
                /*0030*/              @!P1 LDGSTS.E.BYPASS.128.ZFILL [R13+0x1000], [R20.64+0x10], P2 ;
        .L_x_2:
                /*0040*/                   HMMA.16816.F32.BF16 R12, R152.reuse, R142, R12 ;
                /*0050*/                   BRA.DIV ~URZ, `(.L_x_7) ;
        .L_x_3:
                /*0060*/               @P0 BRA `(.L_x_2) ;
                /*0070*/               @P2 BRA `(.L_x_5) ;
        .L_x_4:
                /*0080*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
                /*0090*/               @P3 CALL.REL.NOINC `(.L_x_6) ;
                /*00a0*/                   BRA `(.L_x_1) ;
        .L_x_6:
                /*00b0*/                   STL [R1+0x4], R9 ;
                /*00c0*/                   CALL.REL.NOINC `($__internal_0_$__cuda_sm20_rcp_rn_f32_slowpath) ;
                /*00d0*/                   EXIT ;
        .L_x_5:
                /*00e0*/                   FADD R9, R9, 1 ;
                /*00f0*/                   BRA `(.L_x_4) ;
        .L_x_7:
                /*0100*/                   SHFL.BFLY P0, R16, R29, R28, R27 ;
                /*0110*/                   BRA `(.L_x_3) ;
                .weak           $__internal_0_$__cuda_sm20_rcp_rn_f32_slowpath
                .type           $__internal_0_$__cuda_sm20_rcp_rn_f32_slowpath,@function
        $__internal_0_$__cuda_sm20_rcp_rn_f32_slowpath:
                /*0120*/                   MUFU.RCP R0, R0 ;
        .L_x_8:
                /*0130*/                   FFMA R0, R0, R0, R0 ;
                /*0140*/              @!P0 BRA P1, `(.L_x_8) ;
                /*0150*/                   RET.REL.NODEC R2 `(nested) ;
        .L_x_9:
                /*0160*/                   BRA `(.L_x_9);
                /*0170*/                   NOP;
        .L_x_90:
        """;

    // Two kernels; a jump table; a loop with uniform registers and a product of a warpgroup.
    private const string Two = """
        //--------------------- .text.second          --------------------------
        	.section	.text.second,"ax",@progbits
        second:
        .text.second:
                /*0000*/                   LDC R1, c[0x0][0x28] ;
        .L_x_10:
                /*0010*/              @UP0 UIADD3 UR4, UR4, -UR6, URZ ;
                /*0020*/                   HGMMA.64x128x16.F32.BF16 R24, gdesc[UR8], R24, gsb0 ;
                /*0030*/               @P0 ELECT P1, URZ, PT ;
                /*0040*/                   UTMALDG.4D.IM2COL [UR8], [UR24], UR14 ;
                /*0050*/               @P0 BRA.U.ANY `(.L_x_10) ;
                /*0060*/                   EXIT ;


        //--------------------- .text.first_with_a_name_that_leaves_no_blanks --------------------------
        	.section	.text.first_with_a_name_that_leaves_no_blanks,"ax",@progbits
        first_with_a_name_that_leaves_no_blanks:
        .text.first_with_a_name_that_leaves_no_blanks:
        .L_x_20:
                /*0000*/                   BRX R2 -0xf0                                                            (*"BRANCH_TARGETS .L_x_21,.L_x_22"*);
        .L_x_21:
                /*0010*/                   LDS R5, [R0] ;
                /*0020*/                   BRA `(.L_x_20) ;
        .L_x_22:
                /*0030*/                   EXIT ;
        """;

    [Test]
    public void Instructions_have_predicate_opcode_and_operands()
    {
        MachineKernel kernel = MachineListing.Kernels(Nested).Single();
        Assert.That(kernel.Name, Is.EqualTo("nested"));
        Assert.That(kernel.Instructions, Has.Count.EqualTo(24));
        Assert.That(kernel.Instructions[3], Is.EqualTo(new MachineInstruction(0x30, "!P1", "LDGSTS.E.BYPASS.128.ZFILL", "[R13+0x1000], [R20.64+0x10], P2")));
        Assert.That(kernel.Instructions[3].ToString(), Is.EqualTo("/*0030*/ @!P1 LDGSTS.E.BYPASS.128.ZFILL [R13+0x1000], [R20.64+0x10], P2"));
        Assert.That(kernel.Instructions[^1], Is.EqualTo(new MachineInstruction(0x170, "", "NOP", "")));
        Assert.That(kernel.LocalAccesses, Is.EqualTo(1));
        Assert.That(kernel.Instructions.ByName().Take(2), Is.EqualTo(new[] { ("BRA", 8), ("CALL", 2) }));
    }

    [TestCase("LDG", 1)]
    [TestCase("LDG.128", 1)]
    [TestCase("LDG.64", 0)]
    [TestCase("LD", 0)]
    [TestCase("LDGSTS.E.BYPASS.128", 1)]
    [TestCase("HMMA.16816.F32.BF16", 1)]
    [TestCase("HMMA.1688", 0)]
    public void An_opcode_has_at_least_the_modifiers_that_are_named(string opcode, int count) =>
        Assert.That(MachineListing.Kernels(Nested).Single().Instructions.Count(opcode), Is.EqualTo(count));

    [Test]
    public void Loops_are_told_from_branches_backwards()
    {
        IReadOnlyList<MachineLoop> loops = MachineListing.Kernels(Nested).Single().Loops;
        Assert.That(loops.Select(loop => (loop.Label, loop.Outer?.Label, loop.Depth)), Is.EqualTo(new[] { (".L_x_1", null, 0), (".L_x_2", ".L_x_1", 1), (".L_x_8", null, 0) }));
        Assert.That(Addresses(loops[0]), Is.EqualTo(new[] { 0x20, 0x30, 0x70, 0x80, 0x90, 0xa0, 0xe0, 0xf0 }), "the block behind the exit is part, the inner loop and the exit are not");
        Assert.That(Addresses(loops[1]), Is.EqualTo(new[] { 0x40, 0x50, 0x60 }), "without the way of lanes that have parted");
        Assert.That(Addresses(loops[2]), Is.EqualTo(new[] { 0x130, 0x140 }));
    }

    [Test]
    public void A_listing_holds_several_kernels()
    {
        IReadOnlyList<MachineKernel> kernels = MachineListing.Kernels(Two);
        Assert.That(kernels.Select(kernel => kernel.Name), Is.EqualTo(new[] { "first_with_a_name_that_leaves_no_blanks", "second" }));
        Assert.That(Addresses(kernels[0].Loops.Single()), Is.EqualTo(new[] { 0x0, 0x10, 0x20 }));
        Assert.That(Addresses(kernels[1].Loops.Single()), Is.EqualTo(new[] { 0x10, 0x20, 0x30, 0x40, 0x50 }));
        Assert.That(kernels[1].Instructions[1].Predicate, Is.EqualTo("UP0"));
        Assert.That(kernels[1].Loops[0].Instructions.Count("HGMMA.F32", "UTMALDG.4D"), Is.EqualTo(2));
    }

    [Test]
    public void A_kernel_is_cut_out_of_a_listing()
    {
        string section = MachineListing.Section(Two, "second");
        Assert.That(section, Does.StartWith("//--------------------- .text.second ").And.Contain("HGMMA").And.Not.Contain("first"));
        Assert.That(() => MachineListing.Section(Two, "third"), Throws.ArgumentException.With.Message.Contains("no kernel 'third'"));
    }

    [TestCase("")]
    [TestCase("\t.headerflags\t@\"EF_CUDA_SM80\"\n\t.elftype\t@\"ET_EXEC\"\n")]
    [TestCase("//--------------------- .text.empty --------------------------\nempty:\n")]
    public void A_listing_may_hold_nothing(string listing) =>
        Assert.That(MachineListing.Kernels(listing).SelectMany(kernel => kernel.Instructions), Is.Empty);

    private static IEnumerable<int> Addresses(MachineLoop loop) => loop.Instructions.Select(instruction => instruction.Address);
}
