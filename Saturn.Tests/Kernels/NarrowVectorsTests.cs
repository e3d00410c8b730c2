using System.Diagnostics;
using System.Globalization;
using System.Runtime.Intrinsics;
using System.Text.RegularExpressions;
using NUnit.Framework;

namespace Saturn.Tests.Kernels;

/// <summary>The kernels as they run on processors without AVX-512: a process of its own with AVX-512 turned off runs the kernel tests of the host once more.</summary>
public sealed partial class NarrowVectorsTests
{
    private const string Knob = "DOTNET_EnableAVX512";
    private const int FewestTests = 300;

    [Test]
    public void Kernels_of_the_cpu_pass_their_tests_without_512_bit_vectors()
    {
        if (!Vector512.IsHardwareAccelerated)
        {
            Assert.Ignore("This process runs without 512-bit vectors already.");
        }

        Assert.That(Environment.GetEnvironmentVariable(Knob), Is.Not.EqualTo("0"), $"{Knob}=0 no longer turns 512-bit vectors off");
        ProcessStartInfo start = new(
            "dotnet", ["test", typeof(NarrowVectorsTests).Assembly.Location, "--filter", "FullyQualifiedName~Saturn.Tests.Kernels&(FullyQualifiedName~cpu|FullyQualifiedName~Philox)"])
        {
            RedirectStandardOutput = true,
        };
        start.Environment[Knob] = "0";
        start.Environment["DOTNET_CLI_UI_LANGUAGE"] = "en";
        using Process process = Process.Start(start)!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();

        // This test is among those that the other process is asked for, and is skipped there if AVX-512 is really off.
        Match counts = Counts().Match(output);
        Assert.That(process.ExitCode, Is.Zero, output);
        Assert.That(counts.Success, $"a line of counts was expected at the end of: {output}");
        Assert.That(int.Parse(counts.Groups[1].Value, CultureInfo.InvariantCulture), Is.GreaterThanOrEqualTo(FewestTests), "tests passed in the other process");
        Assert.That(counts.Groups[2].Value, Is.EqualTo("1"), "this test, skipped in the other process for want of 512-bit vectors");
    }

    [GeneratedRegex(@"Failed:\s+0, Passed:\s+(\d+), Skipped:\s+(\d+)")]
    private static partial Regex Counts();
}
