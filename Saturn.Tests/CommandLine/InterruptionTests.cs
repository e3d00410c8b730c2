using System.Diagnostics;
using NUnit.Framework;

namespace Saturn.Tests.CommandLine;

/// <summary>Runs that are killed, interrupted, or out of disk space in the middle, as processes of their own.</summary>
public sealed class InterruptionTests : CommandLineTest
{
    [SetUp]
    public void RequireSignals() => Assume.That(OperatingSystem.IsWindows(), Is.False, "signals are POSIX");

    [Test]
    public void Killed_and_resumed_ends_with_the_same_bits()
    {
        Success(Train("whole", Pruned(6)));
        using (Process process = Start(Train("killed", Pruned(6))))
        {
            WaitUntil(() => Directory.Exists(Path.Combine(Run("killed"), "checkpoint")), process);
            process.Kill();
            Assert.That(Finish(process).ExitCode, Is.Not.Zero);
        }

        string output = Success(Train("killed", "--resume"));
        Assert.That(output, Does.Match("resuming after step [1-9]"));
        AssertSame("whole", "killed");
    }

    [Test]
    public void Killed_before_the_first_checkpoint_begins_again()
    {
        Success(Train("whole", Tiny()));
        Directory.CreateDirectory(Run("killed"));
        File.WriteAllText(Path.Combine(Run("killed"), "config.json"), File.ReadAllText(Path.Combine(Run("whole"), "config.json")).Replace("\"whole\"", "\"killed\""));
        string output = Success(Train("killed", "--resume"));
        Assert.That(output, Does.Contain("begins again"));
        AssertSame("whole", "killed");
    }

    [Test]
    public void Killed_between_the_renames_of_a_checkpoint_goes_on([Values("checkpoint.tmp", "checkpoint.old")] string standing)
    {
        Success(Train("whole", Tiny()));
        string run = CopyUnfinished("whole", "killed");
        Directory.Move(Path.Combine(run, "checkpoint"), Path.Combine(run, standing));
        if (standing == "checkpoint.old")
        {
            // A new checkpoint that was not finished counts for nothing.
            Directory.CreateDirectory(Path.Combine(run, "checkpoint.tmp"));
            File.WriteAllText(Path.Combine(run, "checkpoint.tmp", "model.safetensors"), "half");
        }

        Success("eval", "killed", "--runs", Root);
        string output = Success(Train("killed", "--resume"));
        Assert.That(output, Does.Contain("resuming after step 4"));
        Assert.That(Metrics("killed"), Is.EqualTo(Metrics("whole")));
    }

    [TestCase("INT", 130)]
    [TestCase("TERM", 143)]
    public void A_signal_stops_with_a_checkpoint(string signal, int expectedCode)
    {
        // No checkpoint before the end: the one that is found was written because of the signal.
        using Process process = Start(Train("stopped", [.. Pruned(500), "--checkpoint-every", "500"]));
        WaitUntil(() => File.Exists(Path.Combine(Run("stopped"), "metrics.jsonl")), process);
        long start = Stopwatch.GetTimestamp();
        Send(process.Id, signal);
        var (code, _, errors) = Finish(process);
        Assert.That(code, Is.EqualTo(expectedCode), errors);
        Assert.That(Stopwatch.GetElapsedTime(start).TotalSeconds, Is.LessThan(20), "promptly");
        Assert.That(errors, Does.Contain($"Stopped. The checkpoint is saved; continue with: saturn train --resume --run stopped --runs {Root}"));
        Assert.That(Files("stopped"), Is.EquivalentTo((string[])
            ["config.json", "metrics.jsonl", "checkpoint/SHA256SUMS", "checkpoint/model.safetensors", "checkpoint/optimizer.safetensors", "checkpoint/state.json"]));
        Success("eval", "stopped", "--runs", Root);
    }

    [Test]
    public void Control_C_at_a_terminal_stops_with_a_checkpoint()
    {
        Assume.That(File.Exists("/usr/bin/script") && OperatingSystem.IsLinux(), "util-linux's script makes the terminal");
        using Process process = StartShell("exec script -qec \"TERM=xterm $SATURN $*\" /dev/null", Train("stopped", Pruned(500)));
        WaitUntil(() => Directory.Exists(Path.Combine(Run("stopped"), "checkpoint")), process);
        process.StandardInput.Write('\x03');
        process.StandardInput.Flush();
        var (code, output, _) = Finish(process);
        Assert.That(code, Is.EqualTo(130), output);
        Assert.That(output, Does.Contain("Stopped. The checkpoint is saved"));
        Success("eval", "stopped", "--runs", Root);
    }

    [TestCase(true)]
    [TestCase(false)]
    public void A_full_disk_leaves_the_checkpoint_before(bool anyBefore)
    {
        string[] train = Train("full", Tiny(width: 40));
        if (anyBefore)
        {
            // An epoch's checkpoint, under a name that is free again for the run that goes on.
            Success(train);
            string run = CopyUnfinished("full", "copy");
            Directory.Delete(Run("full"), recursive: true);
            Directory.Move(run, Run("full"));
            File.WriteAllText(Path.Combine(Run("full"), "config.json"), File.ReadAllText(Path.Combine(Run("full"), "config.json")).Replace("\"epochs\": 2", "\"epochs\": 4"));
            train = Train("full", "--resume");
        }

        string[] before = Directory.Exists(Run("full")) ? Files("full") : ["config.json", "metrics.jsonl"];

        // Files of at most 300 blocks: the system refuses the write as a full disk does.
        using Process process = StartShell("trap '' XFSZ; export DOTNET_EnableWriteXorExecute=0; ulimit -f 300; exec $SATURN \"$@\"", train);
        var (code, _, errors) = Finish(process);
        Assert.That(code, Is.EqualTo(1), errors);
        Assert.That(errors.TrimEnd().Split('\n'), Has.Length.EqualTo(1), errors);
        Assert.That(errors, Does.Contain("cannot be written").And.Contain(anyBefore ? "the checkpoint before it" : "none before it"));
        Assert.That(Files("full"), Is.EquivalentTo(before));
        Success(Train("full", "--resume"));
    }

    private static void Send(int process, string signal)
    {
        using Process kill = Process.Start("/bin/kill", ["-" + signal, $"{process}"]);
        kill.WaitForExit();
        Assert.That(kill.ExitCode, Is.Zero);
    }
}
