using System.Diagnostics;
using System.Text.Json.Nodes;
using NUnit.Framework;
using Saturn.Cli;
using Saturn.Tests.Architecture;

namespace Saturn.Tests.CommandLine;

/// <summary>Ground of tests of the <c>saturn</c> command: a folder of their own, and the command as a process or inside this one.</summary>
public abstract class CommandLineTest
{
    private static readonly string Program =
        Path.Combine(FloorTests.Root, "artifacts", "bin", "Saturn.Cli", new DirectoryInfo(TestContext.CurrentContext.TestDirectory).Name, "saturn.dll");

    /// <summary>The test's own folder.</summary>
    protected string Root { get; private set; } = "";

    [SetUp]
    public void CreateFolder() => Root = Directory.CreateTempSubdirectory("saturn-command-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(Root, recursive: true);

    /// <summary>The folder of a run.</summary>
    protected string Run(string name) => Path.Combine(Root, name);

    /// <summary>A command line that trains into a run of this test.</summary>
    protected string[] Train(string name, params IEnumerable<string> options) => ["train", "--runs", Root, "--run", name, .. options];

    /// <summary>Options of a run that prunes, in epochs of 8 steps and some 100 ms.</summary>
    protected static string[] Pruned(int epochs) =>
    [
        "--train-images", "64", "--validation-images", "32", "--model", "resnet18", "--width", "2", "--epochs", $"{epochs}", "--batch", "8", "--optimizer", "adam", "--lr", "0.05",
        "--lambda", "0.5", "--noise-std", "0.001", "--prune-every", "6", "--census-images", "32", "--threads", "1",
    ];

    /// <summary>Options of a run of a few milliseconds: 2 epochs of 2 steps.</summary>
    protected static string[] Tiny(int width = 4) =>
    [
        "--train-images", "16", "--validation-images", "8", "--model", "mlp", "--width", $"{width}", "--epochs", "2", "--batch", "8", "--optimizer", "adam", "--threads", "1",
    ];

    /// <summary>Runs the command in this process, which is quicker than starting another one.</summary>
    protected static (int ExitCode, string Output, string Errors) Call(params string[] arguments)
    {
        TextWriter output = Console.Out;
        TextWriter errors = Console.Error;

        // Not disposed: the console of tables keeps the first writer that it sees.
        StringWriter newOutput = new();
        StringWriter newErrors = new();
        try
        {
            Console.SetOut(newOutput);
            Console.SetError(newErrors);
            return ((int)typeof(CommandErrors).Assembly.EntryPoint!.Invoke(null, [arguments])!, newOutput.ToString(), newErrors.ToString());
        }
        finally
        {
            Console.SetOut(output);
            Console.SetError(errors);
        }
    }

    /// <summary>Calls the command, which must succeed.</summary>
    protected static string Success(params string[] arguments)
    {
        var (code, output, errors) = Call(arguments);
        Assert.That(code, Is.Zero, errors);
        return output;
    }

    /// <summary>Calls the command, which must fail with one line on standard error.</summary>
    protected static string Refusal(params string[] arguments)
    {
        var (code, _, errors) = Call(arguments);
        Assert.That(code, Is.Not.Zero, "the exit code");
        string[] lines = errors.TrimEnd().Split('\n');
        Assert.That(lines, Has.Length.EqualTo(1), errors);
        Assert.That(lines[0], Does.StartWith("error: ").And.EndsWith("."));
        return lines[0];
    }

    /// <summary>Starts the command as a process of its own.</summary>
    protected static Process Start(params IEnumerable<string> arguments) => StartProgram("dotnet", [Program, .. arguments]);

    /// <summary>Starts the command from a line of a shell, in which <c>$SATURN</c> stands for it; the words are the shell's <c>"$@"</c>.</summary>
    protected static Process StartShell(string line, params IEnumerable<string> words) => StartProgram("bash", ["-c", line.Replace("$SATURN", $"dotnet {Program}"), "bash", .. words]);

    private static Process StartProgram(string program, IEnumerable<string> arguments) => Process.Start(
        new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;

    /// <summary>Waits for the end and reads what was printed.</summary>
    protected static (int ExitCode, string Output, string Errors) Finish(Process process)
    {
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        if (!process.WaitForExit(60_000))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail("The command did not end within a minute.");
        }

        return (process.ExitCode, output, errors.Result);
    }

    /// <summary>Waits until something is true.</summary>
    protected static void WaitUntil(Func<bool> condition, Process process)
    {
        long end = Environment.TickCount64 + 60_000;
        while (!condition())
        {
            Assert.That(process.HasExited, Is.False, "the command ended too early");
            Assert.That(Environment.TickCount64, Is.LessThan(end), "nothing happened within a minute");
            Thread.Sleep(5);
        }
    }

    /// <summary>The epochs of a run without what the clock decides.</summary>
    protected string[] Metrics(string run) => [.. File.ReadAllLines(Path.Combine(Run(run), "metrics.jsonl")).Select(line =>
    {
        JsonObject epoch = JsonNode.Parse(line)!.AsObject();
        Assert.That(epoch.Remove("images_per_second") && epoch.Remove("ms_per_step") && epoch.Remove("seconds"), Is.True, line);
        return epoch.ToJsonString();
    })];

    /// <summary>Asserts that two finished runs ended with the same weights, optimizer state and metrics, bit for bit, and that nothing else lies in the second one's folder.</summary>
    protected void AssertSame(string run, string other)
    {
        Assert.That(Metrics(other), Is.EqualTo(Metrics(run)));
        foreach (string file in (string[])["model.safetensors", "optimizer.safetensors"])
        {
            Assert.That(
                File.ReadAllBytes(Path.Combine(Run(other), "checkpoint", file)).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(Run(run), "checkpoint", file))), Is.True, file);
        }

        Assert.That(Files(other), Is.EquivalentTo(Files(run)));
    }

    /// <summary>All files of a run, by path inside its folder.</summary>
    protected string[] Files(string run) => [.. Directory.EnumerateFiles(Run(run), "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(Run(run), file)).Order()];

    /// <summary>Copies a run under another name, as one that has not finished.</summary>
    protected string CopyUnfinished(string run, string name)
    {
        foreach (string file in Files(run).Where(file => file is not ("summary.json" or "report.html")))
        {
            string target = Path.Combine(Run(name), file);
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(Path.Combine(Run(run), file), target, overwrite: true);
        }

        return Run(name);
    }
}
