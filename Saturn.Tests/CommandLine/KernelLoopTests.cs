using System.Diagnostics;
using NUnit.Framework;
using Saturn.Tests.Cuda;

namespace Saturn.Tests.CommandLine;

/// <summary><c>saturn kernels loops</c> and <c>kernels show</c>: machine code, and what is said where it cannot be read.</summary>
public sealed class KernelLoopTests : CommandLineTest
{
    [Test]
    public void Loops_of_a_kernel_are_counted()
    {
        Nvdisasm.Require();
        using Process process = Start("kernels", "loops", "accumulate", "--target", "sm_90a");
        var (code, output, errors) = Finish(process);
        Assert.That(code, Is.Zero, errors);
        Assert.That(output, Does.Match(@"(?m)^accumulate \(elementwise\.cu, sm_90a\): \d+ instructions, 0 on local memory, \d+ registers$"));
        Assert.That(output, Does.Match(@"(?m)^│ \.L_x_\d+ +│ +\d+ │ +4 FFMA │ +\d+\.\d\d │ 2 of 2 │ 1 of 1 │ +– │ +– │ +– │ +\d+ │$"));
    }

    [Test]
    public void A_kernel_of_one_architecture_is_found_there_and_shown_alone()
    {
        Nvdisasm.Require();
        string output = Success("kernels", "show", "forward64", "--target", "sm_90a");
        Assert.That(output, Does.Contain("HGMMA.64x64x16.F32.BF16").And.Contain(".text.forward64").And.Not.Contain(".text.forward128"));
    }

    [TestCase("kernels loops forward64 --target compute_90a", "--target must be an architecture such as sm_80 or sm_90a, but is compute_90a")]
    [TestCase("kernels loops forward64 --target sm_eighty", "sm_eighty")]
    public void A_target_without_machine_code_is_refused(string arguments, string expected)
    {
        Nvrtc.Require();
        Assert.That(Refusal(arguments.Split(' ')), Does.Contain(expected));
    }

    [Test]
    public void Where_nvdisasm_is_missing_the_command_says_what_to_do()
    {
        Nvrtc.Require();
        using Process process = StartShell($"SATURN_NVDISASM={Root}/none exec $SATURN \"$@\"", "kernels", "loops", "elementwise.cu");
        var (code, output, errors) = Finish(process);
        Assert.That(code, Is.EqualTo(1));
        Assert.That(output, Is.Empty);
        Assert.That(errors, Does.StartWith("error: nvdisasm").And.Contain("tools/install-nvrtc.sh --disassembler").And.Contain($"SATURN_NVDISASM: {Root}/none: no such file"));
    }

    [Test]
    public void Where_nvdisasm_is_missing_PTX_is_shown()
    {
        Nvrtc.Require();
        using Process process = StartShell($"SATURN_NVDISASM={Root}/none exec $SATURN \"$@\"", "kernels", "show", "fill", "--target", "sm_80");
        var (code, output, errors) = Finish(process);
        Assert.That(code, Is.Zero, errors);
        Assert.That(output, Does.Contain("// nvdisasm").And.Contain("// This is the PTX for compute_80:").And.Contain(".entry fill("));
    }
}
