using NUnit.Framework;
using Saturn.Tests.Cuda;

namespace Saturn.Tests.CommandLine;

/// <summary><c>saturn bench</c> on the emulated GPU.</summary>
public sealed class BenchTests : CommandLineTest
{
    private static readonly string[] OneStep =
        ["--device", "emulated:fast", "--model", "resnet18", "--width", "4", "--batch", "1", "--image", "8", "--filter", "25 % live", "--no-peer", "--rounds", "1", "--repetitions", "1", "--graph", "off"];

    [TestCase("step")]
    [TestCase("steps")]
    public void Steps_in_several_precisions_make_a_table_each(string name)
    {
        Nvrtc.Require();
        string file = Path.Combine(Root, "tables.jsonl");
        string output = Success(["bench", name, .. OneStep, "--precision", "bf16, fp32", "--json", file]);
        int first = output.IndexOf("Training steps on emulated:fast in bf16", StringComparison.Ordinal), second = output.IndexOf("Training steps on emulated:fast in fp32", StringComparison.Ordinal);
        Assert.That(first, Is.Not.Negative, output);
        Assert.That(second, Is.GreaterThan(first), "in the order in which they were asked for");
        Assert.That(output, Does.Contain("--precision bf16 ").And.Contain("--precision fp32 "), "the command of each table");
        Assert.That(File.ReadAllLines(file), Has.Length.EqualTo(2).And.All.Contains("resnet18, 25 % live"));
    }

    [Test]
    public void Kernels_in_several_precisions_make_a_table_each_and_share_the_time()
    {
        Nvrtc.Require();
        string output = Success("bench", "kernels", "--device", "emulated:fast", "--filter", "softmax cross", "--precision", "tf32,fp32,tf32", "--seconds", "100");
        Assert.That(output.Split("Counts of kernels on emulated:fast in ").Skip(1).Select(table => table[..4]), Is.EqualTo((string[])["tf32", "fp32"]));
    }

    [TestCase("step", "fp8")]
    [TestCase("steps", "bf16,fp8")]
    [TestCase("kernels", ",")]
    public void An_unknown_precision(string name, string precision) =>
        Assert.That(Refusal("bench", name, "--precision", precision), Does.Contain($"--precision must be one or more of fp32, tf32, bf16, with commas between them, but is '{precision}'"));

    [TestCase("steps")]
    [TestCase("kernels")]
    public void The_host_has_one_precision(string name) =>
        Assert.That(Refusal("bench", name, "--device", "cpu", "--no-peer", "--precision", "fp32,bf16"), Does.Contain("--precision bf16 needs a CUDA device"));
}
