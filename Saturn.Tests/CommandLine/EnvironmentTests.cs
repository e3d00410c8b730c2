using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Diagnostics;
using Saturn.Tests.Architecture;
using Saturn.Training;

namespace Saturn.Tests.CommandLine;

/// <summary>The variables of the environment: declared in one place, documented from there, refused where they hold nonsense, and without influence on the numbers.</summary>
public sealed partial class EnvironmentTests : CommandLineTest
{
    [Test]
    public void The_page_is_the_declarations()
    {
        string page = File.ReadAllText(Path.Combine(FloorTests.Root, "docs", "environment.md"));
        Assert.That(page, Is.EqualTo(EnvironmentVariable.ToMarkdown()), "write it anew: ./saturn info --environment > docs/environment.md");
        Assert.That(Success("info", "--environment"), Is.EqualTo(page));
    }

    [Test]
    public void Every_variable_that_is_read_is_declared()
    {
        string[] files =
        [
            .. (string[])["saturn", ".ci/run"],
            .. ((string[])["Saturn.Kernels", "Saturn.Engine", "Saturn.Emulator", "Saturn.Layers", "Saturn.Prune", "Saturn.Training", "Saturn.Tests", "tools", "samples", "docs"])
                .SelectMany(folder => Directory.EnumerateFiles(Path.Combine(FloorTests.Root, folder), "*", SearchOption.AllDirectories))
                .Where(file => Path.GetExtension(file) is ".cs" or ".sh" or ".py" or ".md")
                .Select(file => Path.GetRelativePath(FloorTests.Root, file)),
        ];
        HashSet<string> declared = [.. EnvironmentVariable.All.Select(variable => variable.Name)];
        foreach (string file in files)
        {
            foreach (Match match in Variable().Matches(File.ReadAllText(Path.Combine(FloorTests.Root, file))))
            {
                Assert.That(declared, Does.Contain(match.Value), $"{file} names a variable that Saturn.Kernels/Diagnostics/EnvironmentVariable.cs does not declare");
            }
        }
    }

    [Test]
    public void Nothing_stands_around_a_device_that_nobody_observes()
    {
        Assume.That(new[] { EnvironmentVariable.Debug, EnvironmentVariable.Sync, EnvironmentVariable.Validate, EnvironmentVariable.Trace }.Select(variable => variable.Value), Is.All.Null);
        using Device device = Devices.Open("cpu");
        Assert.That(device, Is.TypeOf<CpuDevice>());
    }

    [TestCase("SATURN_DEBUG", "6", "SATURN_DEBUG must be a number from 0 to 5, but is '6'")]
    [TestCase("SATURN_VALIDATE", "yes", "SATURN_VALIDATE must be a number from 0 to 1, but is 'yes'")]
    [TestCase("SATURN_TRACE", "/nowhere/trace.json", "'/nowhere/trace.json' cannot be written")]
    [TestCase("SATURN_DEVICE", "abacus", "Unknown device 'abacus'")]
    public void Nonsense_is_refused(string variable, string value, string expected)
    {
        using Process process = StartShell($"{variable}={value} exec $SATURN \"$@\"", Train("refused", Tiny()));
        var (code, _, errors) = Finish(process);
        Assert.That(code, Is.EqualTo(1));
        Assert.That(errors, Does.Contain(expected));
        Assert.That(Directory.EnumerateFileSystemEntries(Root), Is.Empty);
    }

    [Test]
    public void A_second_run_on_the_CPU_does_not_go_with_bfloat16()
    {
        using Process process = StartShell("SATURN_VALIDATE=1 exec $SATURN \"$@\"", Train("refused", [.. Tiny(), "--device", "emulated", "--precision", "bf16"]));
        var (code, _, errors) = Finish(process);
        Assert.That(code, Is.EqualTo(1));
        Assert.That(errors, Does.Contain("SATURN_VALIDATE runs every kernel again on the CPU, which has no bfloat16"));
        Assert.That(Directory.EnumerateFileSystemEntries(Root), Is.Empty);
    }

    [Test]
    public void Looking_changes_nothing()
    {
        Success(Train("unseen", Pruned(2)));
        string trace = Path.Combine(Root, "trace.json");
        using Process process = StartShell(
            $"SATURN_DEVICE=cpu SATURN_DEBUG=3 SATURN_VALIDATE=1 SATURN_SYNC=1 SATURN_LEAKS=1 SATURN_TRACE={trace} exec $SATURN \"$@\"", Train("seen", Pruned(2)));
        var (code, _, errors) = Finish(process);
        Assert.That(code, Is.Zero, errors);
        AssertSame("unseen", "seen");
        Assert.That(errors, Does.Contain("device cpu: 1 worker").And.Match(@"(?m)^Kernels on cpu .* calls").And.Match(@"(?m)^convolution\.Forward +[0-9.]+ µs .*\[8, 32, 32, 3\]"));
        Assert.That(errors, Does.Match(@"(?m)^optimizer\.Adam +16 ").And.Contain("SATURN_LEAKS: no tensor is alive."));
        using JsonDocument timeline = JsonDocument.Parse(File.ReadAllText(trace));
        Assert.That(timeline.RootElement.GetProperty("traceEvents").EnumerateArray().Count(span => span.GetProperty("name").GetString() == "optimizer.Adam"), Is.EqualTo(16));
    }

    [GeneratedRegex("SATURN_[A-Z]+(_[A-Z]+)*")]
    private static partial Regex Variable();
}
