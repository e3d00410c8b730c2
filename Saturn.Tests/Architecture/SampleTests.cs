using System.Diagnostics;
using NUnit.Framework;
using Saturn.Tests.Cuda;

namespace Saturn.Tests.Architecture;

/// <summary>The sample programs, run as a user runs them; they are short, and they end as they say.</summary>
public sealed class SampleTests
{
    [TestCase("TrainYourOwn", "step 600: loss 0.0")]
    [TestCase("CustomCriterion", "after: ")]
    [TestCase("CustomOperation", "double-precision reference: relative error")]
    [TestCase("CustomKernel", "emulated: relative error")]
    public void A_sample_runs_and_is_short(string name, string expected)
    {
        if (name == "CustomKernel")
        {
            Nvrtc.Require();
        }

        string root = FloorTests.Root;
        Assert.That(File.ReadAllLines(Path.Combine(root, "samples", name, "Program.cs")), Has.Length.LessThan(80));
        string configuration = new DirectoryInfo(TestContext.CurrentContext.TestDirectory).Name;
        ProcessStartInfo start = new("dotnet", [Path.Combine(root, "artifacts", "bin", name, configuration, name + ".dll")])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using Process process = Process.Start(start)!;
        string output = process.StandardOutput.ReadToEnd();
        string errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.Zero, errors);
        Assert.That(output, Does.Contain(expected));
    }
}
