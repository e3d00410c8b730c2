using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Emulator.Execution;

namespace Saturn.Tests.Emulator;

/// <summary>What the emulator does not cover is an error with its line, never something else.</summary>
public sealed class ParserTests
{
    private const string Head = ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p)\n{\n.reg .b32 %r<4>;\n.reg .pred %p<2>;\n.reg .b64 %rd<2>;\n.reg .f32 %f<3>;\n";

    [TestCase("tex.1d.v4.f32.s32 {%f0, %f1, %f2, %f2}, [p, {%r1}];", "tex.1d")]
    [TestCase("add.rn.ftz.f64 %r1, %r2, %r3;", "wrong size")]
    [TestCase("addc.u32 %r1, %r2, %r3;", "addc.u32")]
    [TestCase("add.cc.u32 %r1, %r2, %r3;", "add.cc.u32")]
    [TestCase("add.s32 %r1, %r2, %q3;", "%q3")]
    [TestCase("bra NOWHERE;", "NOWHERE")]
    [TestCase("mov.u32 %r1, %pm0;", "%pm0")]
    [TestCase("call (%r1), f, (%r2);", "inlined")]
    [TestCase("ld.global.v8.b32 {%r1, %r2}, [%rd1];", "ld.global.v8.b32")]
    [TestCase("mul.rm.ftz.f32 %f1, %f2, %f2;", "mul.rm.ftz.f32")]
    public void An_instruction_that_is_not_covered_is_named_with_its_line(string line, string expected)
    {
        EmulatorException? exception = Assert.Throws<EmulatorException>(() => Load(Head + line + "\nret;\n}\n").Dispose());
        Assert.That(exception!.Message, Does.Contain("PTX line 10").And.Contains(expected));
    }

    [TestCase("add.s32 %r1, %r2")]
    [TestCase("{ add.s32 %r1, %r2, %r3;")]
    [TestCase("garbage !")]
    public void Text_that_ends_too_early_or_is_no_PTX_is_an_error(string text) =>
        Assert.Throws<EmulatorException>(() => Load(Head + text).Dispose());

    [Test]
    public void A_kernel_that_is_not_there_is_an_error_that_names_those_that_are()
    {
        using LoadedModule module = LoadedModule.Load(System.Text.Encoding.ASCII.GetBytes(Head + "ret;\n}\n"), "test");
        Assert.That(Assert.Throws<EmulatorException>(() => module.GetKernel("other"))!.Message, Does.Contain("'other'").And.Contains("k"));
    }

    private static LoadedModule Load(string text)
    {
        LoadedModule module = LoadedModule.Load(System.Text.Encoding.ASCII.GetBytes(text), "test");
        module.GetKernel("k");
        return module;
    }
}
