using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using System.Xml.Linq;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Saturn.Tests;

/// <summary>
/// The tests as a program, for machines without an SDK (tools/bundle.sh): <c>Saturn.Tests [--match REGEX] [--skip REGEX] [--list] [--log FILE.jsonl] [--results FILE.json] [--seconds LIMIT]</c>.
/// The expressions are matched against full test names, such as <c>Saturn.Tests.Kernels.MatrixTests("cuda:0").Product</c>. With a log, a further run goes on where the last one ended.
/// Exit codes: 0, all passed; 1, some failed or the time was over; 2, wrong usage; 3, a test lost the CUDA context and the rest needs a new process.
/// </summary>
internal static class Program
{
    private const int ContextLost = 3;

    private static int Main(string[] arguments)
    {
        Dictionary<string, string> options = [];
        for (int i = 0; i < arguments.Length; i++)
        {
            if (arguments[i] == "--list")
            {
                options[arguments[i]] = "";
            }
            else if (arguments[i] is "--match" or "--skip" or "--log" or "--results" or "--seconds" && i + 1 < arguments.Length)
            {
                options[arguments[i]] = arguments[++i];
            }
            else
            {
                Console.Error.WriteLine($"Unknown or incomplete option '{arguments[i]}'; known: --match REGEX, --skip REGEX, --list, --log FILE, --results FILE, --seconds LIMIT.");
                return 2;
            }
        }

        double limit = options.TryGetValue("--seconds", out string? seconds) ? double.Parse(seconds, CultureInfo.InvariantCulture) : double.PositiveInfinity;
        using TestLog log = new(options.GetValueOrDefault("--log"));
        NUnitTestAssemblyRunner runner = new(new DefaultTestAssemblyBuilder());
        runner.Load(typeof(Program).Assembly, new Dictionary<string, object> { ["NumberOfTestWorkers"] = 1 });
        RemainingFilter filter = new(TestFilter.FromXml(Filter(options.GetValueOrDefault("--match"), options.GetValueOrDefault("--skip"))), log);
        if (options.ContainsKey("--list"))
        {
            foreach (ITest test in Cases(runner.ExploreTests(filter)))
            {
                Console.WriteLine(test.FullName);
            }

            return 0;
        }

        Report report = new(runner, log, limit);
        runner.Run(report, filter);
        (int passed, int failed, int skipped) = (log.With("passed").Count(), log.With("failed").Count(), log.With("skipped").Count());
        Console.WriteLine($"{passed} passed, {failed} failed, {skipped} skipped");
        if (options.TryGetValue("--results", out string? file))
        {
            JsonObject results = new()
            {
                ["devices"] = new JsonArray([.. TestDevices.Names.Select(name => (JsonNode)name)]),
                ["passed"] = passed,
                ["failed"] = failed,
                ["skipped"] = skipped,
                ["timeOver"] = report.TimeOver,
                ["failures"] = Copies(log.With("failed")),
                ["skips"] = Copies(log.With("skipped")),
                ["slowest"] = Copies(log.Results.OrderByDescending(result => (double?)result["seconds"] ?? 0).Take(10)),
            };
            File.WriteAllText(file, results.ToJsonString(new() { WriteIndented = true }));
        }

        return report.ContextLost ? ContextLost : failed > 0 || passed == 0 || report.TimeOver ? 1 : 0;
    }

    private static string Filter(string? match, string? skip)
    {
        XElement filter = new("filter");
        if (match is not null)
        {
            filter.Add(new XElement("test", new XAttribute("re", "1"), match));
        }

        if (skip is not null)
        {
            filter.Add(new XElement("not", new XElement("test", new XAttribute("re", "1"), skip)));
        }

        return filter.ToString();
    }

    private static IEnumerable<ITest> Cases(ITest test) => test.HasChildren ? test.Tests.SelectMany(Cases) : test.IsSuite ? [] : [test];

    private static JsonArray Copies(IEnumerable<JsonObject> results) => new([.. results.Select(result => result.DeepClone())]);

    /// <summary>The cases that another filter lets through and the log does not hold.</summary>
    private sealed class RemainingFilter(TestFilter inner, TestLog log) : TestFilter
    {
        public override bool Match(ITest test) => Pass(test, false);

        public override bool Pass(ITest test, bool negated) =>
            test.IsSuite ? test.Tests.Any(child => Pass(child, negated)) : !log.Contains(test) && inner.Pass(test);

        public override TNode AddToXml(TNode parentNode, bool recursive) => inner.AddToXml(parentNode, recursive);
    }

    /// <summary>Logs results, prints failures as they come, and stops the run when its time is over or no further test can succeed.</summary>
    private sealed class Report(NUnitTestAssemblyRunner runner, TestLog log, double limit) : ITestListener
    {
        private readonly Stopwatch watch = Stopwatch.StartNew();

        public bool TimeOver { get; private set; }

        public bool ContextLost { get; private set; }

        public void TestStarted(ITest test)
        {
            if (!test.IsSuite)
            {
                log.Write(new JsonObject { ["id"] = test.Id, ["test"] = test.FullName, ["outcome"] = "begun" });
            }
        }

        public void TestFinished(ITestResult result)
        {
            string outcome = result.ResultState.Status switch { TestStatus.Passed or TestStatus.Warning => "passed", TestStatus.Failed => "failed", _ => "skipped" };

            // A fixture that could not be set up has no results of its own tests.
            if (result.Test.IsSuite && !(outcome == "failed" && result.ResultState.Site == FailureSite.SetUp))
            {
                return;
            }

            JsonObject line = new() { ["id"] = result.Test.Id, ["test"] = result.FullName, ["outcome"] = outcome, ["seconds"] = Math.Round(result.Duration, 3) };
            if (outcome != "passed")
            {
                line["message"] = result.Message;
            }

            if (outcome == "failed")
            {
                line["trace"] = result.StackTrace;
                Console.WriteLine($"FAILED {result.FullName}\n{result.Message}\n{result.StackTrace}");
            }

            log.Write(line);
            StopWhereNeeded(outcome == "failed" && TestDevices.IsContextLost());
        }

        public void TestOutput(TestOutput output)
        {
        }

        public void SendMessage(TestMessage message)
        {
        }

        private void StopWhereNeeded(bool lost)
        {
            if (ContextLost || TimeOver)
            {
                return;
            }

            ContextLost = lost;
            TimeOver = watch.Elapsed.TotalSeconds > limit;
            if (ContextLost || TimeOver)
            {
                Console.WriteLine(lost ? "The CUDA context is lost: what follows needs a new process." : string.Create(CultureInfo.InvariantCulture, $"The {limit} seconds are over."));
                runner.StopRun();
            }
        }
    }
}
