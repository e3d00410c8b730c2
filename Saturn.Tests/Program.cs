using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using System.Xml.Linq;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Saturn.Tests;

/// <summary>
/// The tests as a program, for machines without an SDK (tools/bundle.sh): <c>Saturn.Tests [--match REGEX] [--skip REGEX] [--list] [--results FILE.json] [--seconds LIMIT]</c>. The expressions
/// are matched against full test names, such as <c>Saturn.Tests.Kernels.MatrixTests("cuda:0").Product</c>.
/// </summary>
internal static class Program
{
    private static int Main(string[] arguments)
    {
        string? match = null;
        string? skip = null;
        string? file = null;
        double limit = double.PositiveInfinity;
        bool list = false;
        for (int i = 0; i < arguments.Length; i++)
        {
            switch (arguments[i])
            {
                case "--list": list = true; break;
                case "--match" when i + 1 < arguments.Length: match = arguments[++i]; break;
                case "--skip" when i + 1 < arguments.Length: skip = arguments[++i]; break;
                case "--results" when i + 1 < arguments.Length: file = arguments[++i]; break;
                case "--seconds" when i + 1 < arguments.Length && double.TryParse(arguments[i + 1], NumberStyles.Float, CultureInfo.InvariantCulture, out limit): i++; break;
                default:
                    Console.Error.WriteLine($"Unknown or incomplete option '{arguments[i]}'; known: --match REGEX, --skip REGEX, --list, --results FILE, --seconds LIMIT.");
                    return 2;
            }
        }

        NUnitTestAssemblyRunner runner = new(new DefaultTestAssemblyBuilder());
        runner.Load(typeof(Program).Assembly, new Dictionary<string, object> { ["NumberOfTestWorkers"] = 1 });
        ITestFilter filter = TestFilter.FromXml(Filter(match, skip));
        if (list)
        {
            foreach (ITest test in Cases(runner.ExploreTests(filter)))
            {
                Console.WriteLine(test.FullName);
            }

            return 0;
        }

        Report report = new(runner, limit);
        Stopwatch watch = Stopwatch.StartNew();
        runner.Run(report, filter);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{report.Passed} passed, {report.Failures.Count} failed, {report.Skipped} skipped"));
        if (file is not null)
        {
            JsonObject results = new()
            {
                ["seconds"] = Math.Round(watch.Elapsed.TotalSeconds, 1),
                ["devices"] = new JsonArray([.. TestDevices.Names.Select(name => (JsonNode)name)]),
                ["passed"] = report.Passed,
                ["failed"] = report.Failures.Count,
                ["skipped"] = report.Skipped,
                ["stopped"] = report.Stopped,
                ["failures"] = report.Failures,
                ["skips"] = report.Skips,
                ["slowest"] = new JsonArray([.. report.Slowest.Select(test => (JsonNode)new JsonObject { ["test"] = test.Name, ["seconds"] = Math.Round(test.Seconds, 2) })]),
            };
            File.WriteAllText(file, results.ToJsonString(new() { WriteIndented = true }));
        }

        return report.Failures.Count > 0 || report.Passed == 0 || report.Stopped ? 1 : 0;
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

    /// <summary>Counts results, prints failures as they come, and stops the run when its time is over.</summary>
    private sealed class Report(NUnitTestAssemblyRunner runner, double limit) : ITestListener
    {
        private readonly Stopwatch watch = Stopwatch.StartNew();
        private readonly List<(string Name, double Seconds)> times = [];

        public int Passed { get; private set; }

        public int Skipped { get; private set; }

        public bool Stopped { get; private set; }

        public JsonArray Failures { get; } = [];

        public JsonArray Skips { get; } = [];

        public IEnumerable<(string Name, double Seconds)> Slowest => times.OrderByDescending(test => test.Seconds).Take(10);

        public void TestFinished(ITestResult result)
        {
            if (result.Test.IsSuite)
            {
                // A fixture that could not be set up has no results of its own tests.
                if (result.ResultState.Status == TestStatus.Failed && result.ResultState.Site == FailureSite.SetUp)
                {
                    Fail(result);
                }

                return;
            }

            times.Add((result.FullName, result.Duration));
            switch (result.ResultState.Status)
            {
                case TestStatus.Passed or TestStatus.Warning:
                    Passed++;
                    break;
                case TestStatus.Failed:
                    Fail(result);
                    break;
                default:
                    Skipped++;
                    Skips.Add(new JsonObject { ["test"] = result.FullName, ["reason"] = result.Message });
                    break;
            }

            if (!Stopped && watch.Elapsed.TotalSeconds > limit)
            {
                Stopped = true;
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"The {limit} seconds are over: the tests that follow are left out."));
                runner.StopRun();
            }
        }

        public void TestStarted(ITest test)
        {
        }

        public void TestOutput(TestOutput output)
        {
        }

        public void SendMessage(TestMessage message)
        {
        }

        private void Fail(ITestResult result)
        {
            Failures.Add(new JsonObject { ["test"] = result.FullName, ["message"] = result.Message, ["trace"] = result.StackTrace });
            Console.WriteLine($"FAILED {result.FullName}\n{result.Message}\n{result.StackTrace}");
        }
    }
}
