using System.Diagnostics;
using System.Text.Json;
using NUnit.Framework;
using Saturn.Training.Runs;
using Saturn.Training.Sweeps;

namespace Saturn.Tests.CommandLine;

/// <summary><c>saturn sweep</c> as a process: from beginning to end, again, killed, stopped, twice at once, and with cells that cannot be.</summary>
public sealed class SweepTests : CommandLineTest
{
    private const string Quick = """
        {
          "name": "quick", "workers": 2, "threads": 1, "seeds": [0, 1],
          "common": { "data": "synthetic", "train-images": 256, "validation-images": 64, "model": "mlp", "width": 12, "epochs": 1 },
          "arms": { "dense": { "method": "dense" }, "demp": { "lambda": [0.1], "regularize": "all", "prune-every": 1 } },
        }
        """;

    private static readonly string[] QuickCells = ["dense-seed=0", "dense-seed=1", "demp-lambda=0.1-seed=0", "demp-lambda=0.1-seed=1"];

    // Some seconds a cell, in epochs of a tenth of one; the limits of images are small so that much of a run is ahead when its first checkpoint is written.
    private const string Slow = """
        {
          "name": "slow", "workers": 1, "threads": 1, "seeds": [0, 1, 2],
          "arms": { "demp": { "train-images": 64, "validation-images": 32, "model": "resnet18", "width": 2, "epochs": 20, "batch": 8, "optimizer": "adam", "lambda": 0.01, "census-images": 32 } }
        }
        """;

    private static string[] ProjectsSweeps =>
    [
        .. Directory.GetFiles(Path.Combine(Architecture.FloorTests.Root, "sweeps"), "*.json", SearchOption.AllDirectories)
            .Select(path => Path.GetRelativePath(Path.Combine(Architecture.FloorTests.Root, "sweeps"), path)).Order(StringComparer.Ordinal),
    ];

    [SetUp]
    public void RequireSignals() => Assume.That(OperatingSystem.IsWindows(), Is.False, "signals are POSIX");

    [Test]
    public void Two_arms_and_two_seeds_from_beginning_to_end()
    {
        string file = Write(Quick);
        Assert.That(Success("sweep", file, "--runs", Root, "--status"), Does.Contain("4 waiting"));
        var (code, output, errors) = Sweep(file);
        Assert.That(code, Is.Zero, errors);
        Assert.That(output, Does.Contain("4 cells, 0 of them done; 2 at a time.").And.Match(@"(?m)^\[4/4\] .*: accuracy [0-9.]+ %, neuron sparsity [0-9.]+ %, weight sparsity [0-9.]+ %, [0-9.]+ s\s*$"));
        Assert.That(Success("sweep", file, "--runs", Root, "--status"), Does.Contain("4 done"));
        string page = File.ReadAllText(Path.Combine(Root, "quick", "report.html"));
        Assert.That(page, Does.Contain("4 of 4 runs have finished"));
        Assert.That(File.ReadAllLines(Path.Combine(Root, "quick", "results.csv")), Has.Length.EqualTo(3));

        // The row is what the summaries say.
        RunSummary[] summaries = [.. QuickCells[2..].Select(cell => RunFolder.Open(Cell("quick", cell)).ReadSummary()!)];
        using (JsonDocument results = JsonDocument.Parse(File.ReadAllText(Path.Combine(Root, "quick", "results.json"))))
        {
            JsonElement accuracy = results.RootElement.GetProperty("rows")[1].GetProperty("accuracy");
            Assert.That(accuracy.GetProperty("mean").GetDouble(), Is.EqualTo((summaries[0].Accuracy + summaries[1].Accuracy) / 2).Within(1e-12));
            Assert.That(accuracy.GetProperty("std").GetDouble(), Is.EqualTo(Math.Abs(summaries[0].Accuracy - summaries[1].Accuracy) / Math.Sqrt(2)).Within(1e-12));
        }

        // Again: nothing runs.
        Dictionary<string, DateTime> times = SummaryTimes("quick", QuickCells);
        (code, output, errors) = Sweep(file);
        Assert.That(code, Is.Zero, errors);
        Assert.That(output, Does.Contain("4 cells, 4 of them done.").And.Not.Contain("accuracy"));
        Assert.That(SummaryTimes("quick", QuickCells), Is.EqualTo(times));
        Assert.That(QuickCells.Select(cell => Starts("quick", cell)), Is.All.EqualTo(1));
    }

    [TestCaseSource(nameof(ProjectsSweeps))]
    public void Every_sweep_of_the_project_can_run(string file)
    {
        Environment.SetEnvironmentVariable("CIFAR10", "/images");
        Environment.SetEnvironmentVariable("MNIST", "/images");
        try
        {
            var (code, output, errors) = Call("sweep", Path.Combine(Architecture.FloorTests.Root, "sweeps", file), "--list", "--runs", Root);
            Assert.That(code, Is.Zero, errors);
            Assert.That(output, Does.Match(@"saturn(\.dll)? train "));
        }
        finally
        {
            Environment.SetEnvironmentVariable("CIFAR10", null);
            Environment.SetEnvironmentVariable("MNIST", null);
        }
    }

    [Test]
    public void The_list_is_what_a_shell_can_run()
    {
        string file = Write(Quick.Replace("\"quick\"", "\"listed\"").Replace("\"synthetic\"", "\"${SWEEP_TEST_DATA}\""));
        Environment.SetEnvironmentVariable("SWEEP_TEST_DATA", "synthetic");
        try
        {
            string[] lines = Success("sweep", file, "--runs", Path.Combine(Root, "it's here"), "--list", "--arm", "demp").TrimEnd().Split('\n');
            Assert.That(lines, Has.Length.EqualTo(2));
            using Process process = StartShell(lines[1]);
            var (code, _, errors) = Finish(process);
            Assert.That(code, Is.Zero, errors);
            string[] status = Success("sweep", file, "--runs", Path.Combine(Root, "it's here"), "--status").TrimEnd().Split('\n');
            Assert.That(status[^1], Is.EqualTo("1 done, 3 waiting"));
            string output = Success("sweep", file, "--runs", Path.Combine(Root, "it's here"), "--report");
            Assert.That(output, Does.StartWith("Report: "));
            Assert.That(File.ReadAllText(Path.Combine(Root, "it's here", "listed", "report.html")), Does.Contain("1 of 4 runs have finished").And.Contain("demp-lambda=0.1-seed=0</td><td>waiting"));
        }
        finally
        {
            Environment.SetEnvironmentVariable("SWEEP_TEST_DATA", null);
        }
    }

    [Test]
    public void A_file_that_changed_is_refused_until_it_is_told_to_overwrite()
    {
        string file = Write(Quick);
        Assert.That(Sweep(file).ExitCode, Is.Zero);
        Dictionary<string, DateTime> times = SummaryTimes("quick", QuickCells);
        Write(Quick.Replace("\"prune-every\": 1", "\"prune-every\": 2"));
        string refusal = Refusal("sweep", file, "--runs", Root);
        Assert.That(refusal, Does.Contain("demp-lambda=0.1-seed=0' (and 1 more)").And.Contain("pruning.prune_every is 1 there and 2 in the file").And.Contain("--overwrite"));
        Assert.That(Success("sweep", file, "--runs", Root, "--status"), Does.Contain("2 made with other options, 2 done"));
        Assert.That(SummaryTimes("quick", QuickCells), Is.EqualTo(times));

        // Another number of threads, or another interval of checkpoints, makes the same run.
        Write(Quick.Replace("\"threads\": 1", "\"threads\": 2").Replace("\"epochs\": 1", "\"epochs\": 1, \"checkpoint-every\": 9"));
        Assert.That(Success("sweep", file, "--runs", Root, "--status"), Does.Contain("4 done"));

        Write(Quick.Replace("\"prune-every\": 1", "\"prune-every\": 2"));
        Assert.That(Sweep(file, "--overwrite").ExitCode, Is.Zero);
        Dictionary<string, DateTime> after = SummaryTimes("quick", QuickCells);
        Assert.That(QuickCells.Where(cell => after[cell] != times[cell]), Is.EquivalentTo(QuickCells[2..]));
    }

    [Test]
    public void A_cell_that_fails_is_reported_and_the_others_go_on()
    {
        string file = Write(Quick.Replace("\"lambda\": [0.1]", "\"batch\": [1000, 64]"));
        var (code, output, errors) = Sweep(file);
        Assert.That(code, Is.EqualTo(1));
        string log = Path.Combine(Root, "quick", "demp-batch=1000-seed=0.log");
        Assert.That(errors, Does.Contain("demp-batch=1000-seed=0: failed with exit code 1: error: --batch 1000 is larger than the 256 training images").And.Contain(log));
        Assert.That(errors, Does.Contain("error: 2 of 6 cells failed; try those again with: saturn sweep"));
        Assert.That(output, Does.Contain("[4/6]"));
        Assert.That(File.ReadAllText(log), Does.Contain("--batch 1000").And.Contain("larger than the 256 training images").And.EndWith("-- exit code 1\n"));
        Assert.That(Success("sweep", file, "--runs", Root, "--status"), Does.Contain("4 done, 2 failed"));
        Assert.That(File.ReadAllText(Path.Combine(Root, "quick", "report.html")), Does.Contain("demp-batch=1000-seed=0</td><td>failed"));
    }

    [TestCase("\"prune-every\": 1", "\"prune-evry\": 1", "the arm 'demp' sets 'prune-evry', which 'saturn train' does not know; the nearest option is 'prune-every'")]
    [TestCase("\"prune-every\": 1", "\"prune-every\": \"often\"", "the arm 'demp' makes the run 'demp-lambda=0.1-seed=0', for which --prune-every must be a whole number, but is 'often'")]
    [TestCase("\"prune-every\": 1", "\"method\": \"dense\"", "the arm 'demp' makes the run 'demp-lambda=0.1-seed=0', for which --method dense does not go with --lambda")]
    [TestCase("\"epochs\": 1", "\"epochs\": 0", "the arm 'dense' makes the run 'dense-seed=0', for which --epochs must be at least 1, but is 0")]
    [TestCase("\"epochs\": 1", "\"epochs\": true", "--epochs")]
    public void A_bad_cell_is_refused_before_anything_runs(string good, string bad, string expected)
    {
        Assert.That(Refusal("sweep", Write(Quick.Replace(good, bad)), "--runs", Root), Does.Contain(expected));
        Assert.That(Directory.GetDirectories(Root), Is.Empty);
    }

    [TestCase("--arm demb", "no arm 'demb'; the nearest one is 'demp'")]
    [TestCase("--workers 0", "--workers must be at least 1, but is 0")]
    [TestCase("--list --status", "give one of them")]
    public void A_bad_option_is_refused(string options, string expected)
    {
        Assert.That(Refusal(["sweep", Write(Quick), "--runs", Root, .. options.Split(' ')]), Does.Contain(expected));
        Assert.That(Directory.GetDirectories(Root), Is.Empty);
    }

    [Test]
    public void A_file_that_is_not_there() => Assert.That(Refusal("sweep", Path.Combine(Root, "none.json")), Does.Contain("There is no sweep file"));

    [Test]
    public void Killed_in_the_middle_and_run_again_finishes_each_cell_once()
    {
        string file = Write(Slow);
        int orphan;
        using (Process process = Start("sweep", file, "--runs", Root))
        {
            WaitUntil(() => File.Exists(Path.Combine(Cell("slow", "demp-seed=0"), "summary.json")) && Directory.Exists(Path.Combine(Cell("slow", "demp-seed=1"), "checkpoint")), process);
            orphan = NotedProcess("demp-seed=1");
            process.Kill();
            Assert.That(process.WaitForExit(10_000), Is.True);
        }

        Dictionary<string, DateTime> times = SummaryTimes("slow", ["demp-seed=0"]);
        Assert.That(Success("sweep", file, "--runs", Root, "--status"), Does.Contain("1 done, 1 running, 1 waiting"), "its process lives on");

        // Killed too: what is left of the cell is a checkpoint.
        using (Process process = Process.GetProcessById(orphan))
        {
            process.Kill();
            WaitUntilEnded(process);
        }

        Assert.That(Success("sweep", file, "--runs", Root, "--status"), Does.Contain("1 done, 1 stopped, 1 waiting"));
        var (code, output, errors) = Sweep(file);
        Assert.That(code, Is.Zero, errors);
        Assert.That(output, Does.Contain("3 cells, 1 of them done"));
        Assert.That(SummaryTimes("slow", ["demp-seed=0"]), Is.EqualTo(times));
        Assert.That(Starts("slow", "demp-seed=0"), Is.EqualTo(1));
        Assert.That(File.ReadAllText(Cell("slow", "demp-seed=1") + ".log"), Does.Contain("train --resume").And.Match("resuming after step [1-9]"));
        Assert.That(Starts("slow", "demp-seed=2"), Is.EqualTo(1));
    }

    [Test]
    public void A_cell_that_outlives_its_sweep_is_waited_for()
    {
        string file = Write(Slow.Replace("[0, 1, 2]", "[0]"));
        using (Process process = Start("sweep", file, "--runs", Root))
        {
            WaitUntil(() => Directory.Exists(Path.Combine(Cell("slow", "demp-seed=0"), "checkpoint")), process);
            process.Kill();
            Assert.That(process.WaitForExit(10_000), Is.True);
        }

        var (code, output, errors) = Sweep(file);
        Assert.That(code, Is.Zero, errors);
        Assert.That(output, Does.Contain("of a sweep that was killed; waiting for it").And.Contain("[1/1]"));
        Assert.That(Starts("slow", "demp-seed=0"), Is.EqualTo(1));
    }

    [Test]
    public void Two_sweeps_at_once_run_no_cell_twice()
    {
        string file = Write(Quick);
        using Process one = Start("sweep", file, "--runs", Root);
        using Process other = Start("sweep", file, "--runs", Root);
        var first = Finish(one);
        var second = Finish(other);
        Assert.That((first.ExitCode, second.ExitCode), Is.EqualTo((0, 0)), first.Errors + second.Errors);
        Assert.That(QuickCells.Select(cell => Starts("quick", cell)), Is.All.EqualTo(1));
        Assert.That(Success("sweep", file, "--runs", Root, "--status"), Does.Contain("4 done"));
    }

    // To the sweep alone, as a scheduler sends it, and to the whole group, as a terminal does: a second signal must not reach a cell that saves its checkpoint.
    [TestCase("TERM", false, 143)]
    [TestCase("INT", false, 130)]
    [TestCase("TERM", true, 143)]
    [TestCase("INT", true, 130)]
    public void A_signal_stops_with_checkpoints_and_the_sweep_goes_on_from_them(string signal, bool toGroup, int expectedCode)
    {
        // No checkpoint before the end: the one that is found was written because of the signal.
        string file = Write(Slow.Replace("\"epochs\": 20", "\"epochs\": 5000, \"checkpoint-every\": 5000").Replace("\"workers\": 1", "\"workers\": 2"));
        using Process process = StartShell("exec setsid $SATURN \"$@\"", "sweep", file, "--runs", Root);
        string[] cells = ["demp-seed=0", "demp-seed=1"];
        WaitUntil(() => cells.All(cell => File.Exists(Path.Combine(Cell("slow", cell), "metrics.jsonl"))), process);
        using (Process kill = Process.Start("/bin/kill", ["-" + signal, "--", (toGroup ? "-" : "") + process.Id]))
        {
            kill.WaitForExit();
            Assert.That(kill.ExitCode, Is.Zero);
        }

        var (code, output, errors) = Finish(process);
        Assert.That(code, Is.EqualTo(expectedCode), errors);
        Assert.That(errors, Does.Contain($"Stopped. 0 of 3 cells are done; continue with: saturn sweep {file} --runs {Root}"));
        foreach (string cell in cells)
        {
            Assert.That(Directory.Exists(Path.Combine(Cell("slow", cell), "checkpoint")), Is.True, File.ReadAllText(Cell("slow", cell) + ".log"));
            Assert.That(File.ReadAllText(Cell("slow", cell) + ".log"), Does.Contain("The checkpoint is saved").And.EndWith($"-- exit code {(toGroup ? expectedCode : 143)}\n"));
        }

        Assert.That(Success("sweep", file, "--runs", Root, "--status"), Does.Contain("2 stopped, 1 waiting"), output);
    }

    private string Write(string text)
    {
        string path = Path.Combine(Root, "sweep.json");
        File.WriteAllText(path, text);
        return path;
    }

    private (int ExitCode, string Output, string Errors) Sweep(string file, params string[] options)
    {
        using Process process = Start(["sweep", file, "--runs", Root, .. options]);
        return Finish(process);
    }

    private string Cell(string sweep, string cell) => Path.Combine(Root, sweep, cell);

    private Dictionary<string, DateTime> SummaryTimes(string sweep, string[] cells) =>
        cells.ToDictionary(cell => cell, cell => File.GetLastWriteTimeUtc(Path.Combine(Cell(sweep, cell), "summary.json")));

    private int Starts(string sweep, string cell) => File.ReadLines(Cell(sweep, cell) + ".log").Count(line => line.StartsWith("$ ", StringComparison.Ordinal));

    // Read by another program, since the lock keeps this one's runtime from opening the file.
    private int NotedProcess(string cell)
    {
        using Process process = StartShell("cat \"$1\"", Cell("slow", cell) + ".lock");
        return int.Parse(Finish(process).Output.Split(' ')[1]);
    }

    private static void WaitUntilEnded(Process process)
    {
        for (int i = 0; i < 1000 && !CellLock.HasEnded(process); i++)
        {
            Thread.Sleep(10);
        }
    }
}
