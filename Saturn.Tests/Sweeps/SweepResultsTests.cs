using System.Text.Json.Nodes;
using System.Xml.Linq;
using NUnit.Framework;
using Saturn.Training;
using Saturn.Training.Sweeps;

namespace Saturn.Tests.Sweeps;

/// <summary>Figures over seeds against sums done by hand, and the page and tables made of them.</summary>
public sealed class SweepResultsTests
{
    private string root = "";

    [SetUp]
    public void CreateFolder() => root = Directory.CreateTempSubdirectory("saturn-sweep-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(root, recursive: true);

    [Test]
    public void Mean_deviation_and_range()
    {
        // Mean 5, squares of the differences 9 + 1 + 1 + 9 + 0 = 20, over n − 1 = 4: √5.
        Spread spread = Spread.Of([2, 4, 6, 8, 5])!;
        Assert.That(spread, Is.EqualTo(new Spread(5, 5, Math.Sqrt(5), 2, 8)));
        Assert.That(Spread.Of([0.25]), Is.EqualTo(new Spread(1, 0.25, null, 0.25, 0.25)));
        Assert.That(Spread.Of([null, 3, double.NaN]), Is.EqualTo(new Spread(1, 3, null, 3, 3)));
        Assert.That(Spread.Of([null]), Is.Null);
    }

    [Test]
    public void Seconds_are_compared_with_the_dense_run_of_the_same_seed_and_width()
    {
        IReadOnlyList<SweepCell> cells = Cells("""{ "name": "n", "seeds": [0, 1], "common": { "width": [4, 8] }, "arms": { "dense": {}, "demp": { "lambda": [1] } } }""");
        Dictionary<string, double> seconds = new()
        {
            ["dense-width=4-seed=0"] = 10,
            ["dense-width=4-seed=1"] = 20,
            ["dense-width=8-seed=0"] = 100,
            ["demp-width=4-lambda=1-seed=0"] = 5,
            ["demp-width=4-lambda=1-seed=1"] = 16,
            ["demp-width=8-lambda=1-seed=0"] = 30,
            ["demp-width=8-lambda=1-seed=1"] = 7,
        };
        IReadOnlyList<SweepRow> rows = SweepResults.Aggregate([.. cells.Select(cell => (cell, seconds.TryGetValue(cell.Name, out double value) ? new CellResult { Seconds = value } : null))]);
        Assert.That(rows.Select(row => (row.Point, row.Finished, row.Planned)), Is.EqualTo((
            (string, int, int)[])[("dense-width=4", 2, 2), ("dense-width=8", 1, 2), ("demp-width=4-lambda=1", 2, 2), ("demp-width=8-lambda=1", 2, 2)]));
        Assert.That(rows[2].SecondsRatio!.Mean, Is.EqualTo((0.5 + 0.8) / 2).Within(1e-12));
        Assert.That(rows[3].SecondsRatio, Is.EqualTo(new Spread(1, 0.3, null, 0.3, 0.3)), "the seed without a dense run has nothing to be compared with");
        Assert.That(rows[1].SecondsRatio!.Mean, Is.EqualTo(1));
    }

    [Test]
    public void Summaries_of_any_version_are_collected_and_what_is_missing_is_named()
    {
        SweepFile file = Parse("""{ "name": "n", "seeds": [0, 1, 2], "arms": { "dense": {}, "a<b": { "lambda": [0.5] } } }""".Replace("a<b", "demp"));
        PlannedCell[] cells = [.. SweepCell.Expand(file).Select(cell => new PlannedCell(cell, new TrainingOptions()))];
        SweepFolder folder = new(Path.Combine(root, "n"));
        WriteSummary("dense-seed=0", """{ "accuracy": 0.9, "neuron_sparsity": 0, "weight_sparsity": 0, "seconds": 4, "device": "abacus <1>", "of_a_later_version": [1] }""");
        WriteSummary("dense-seed=1", """{ "accuracy": 0.8, "neuron_sparsity": 0, "weight_sparsity": 0 }""");
        WriteSummary("dense-seed=2", "{}");
        WriteSummary("demp-lambda=0.5-seed=0", """{ "accuracy": 0.7, "neuron_sparsity": 0.4, "weight_sparsity": 0.6, "seconds": 2 }""");
        SweepResults results = SweepResults.Collect(file.Name, cells, folder);
        Assert.That(results.Rows, Has.Count.EqualTo(2));
        Assert.That(results.Rows[0].Accuracy!.Mean, Is.EqualTo(0.85).Within(1e-12));
        Assert.That(results.Rows[0].Accuracy!.Deviation, Is.EqualTo(Math.Sqrt(0.005)).Within(1e-12));
        Assert.That(results.Rows[1].SecondsRatio!.Mean, Is.EqualTo(0.5));
        Assert.That(results.Incomplete.Select(cell => (cell.Cell.Name, cell.State)), Is.EqualTo((
            (string, CellState)[])[("demp-lambda=0.5-seed=1", CellState.Waiting), ("demp-lambda=0.5-seed=2", CellState.Waiting)]));

        string page = File.ReadAllText(SweepReport.Write(results, folder));
        XElement html = XDocument.Parse(page.Replace("<!DOCTYPE html>", "")).Root!;
        Assert.That(html.Descendants("figure").Count(), Is.EqualTo(2));
        Assert.That(html.Descendants("figure").First().Descendants("circle").Count(), Is.EqualTo(2 + 2), "two points, two signs in the legend");
        Assert.That(html.Descendants("path").Count(path => (string?)path.Attribute("class") == "bars"), Is.EqualTo(2), "the dense point's bar in both charts");
        Assert.That(page, Does.Contain("85.00 ± 7.07 %").And.Contain("abacus &lt;1&gt;").And.Contain("1 of 3").And.Contain("demp-lambda=0.5-seed=2"));
        Assert.That(page, Does.Not.Contain("<script").And.Not.Contain("http"));

        string[] csv = File.ReadAllLines(Path.Combine(folder.Path, "results.csv"));
        Assert.That(csv, Has.Length.EqualTo(3));
        Assert.That(csv[0], Does.StartWith("arm,lambda,seeds_finished,seeds_planned,accuracy_mean,accuracy_std,accuracy_min,accuracy_max,best_accuracy_mean"));
        Assert.That(csv[2], Does.StartWith("demp,0.5,1,3,0.7,,0.7,0.7,,,,,0.4,"));
        Assert.That(csv.Select(line => line.Split(',').Length).Distinct().Count(), Is.EqualTo(1));

        JsonNode json = JsonNode.Parse(File.ReadAllText(Path.Combine(folder.Path, "results.json")))!;
        Assert.That((double)json["rows"]![1]!["weight_sparsity"]!["mean"]!, Is.EqualTo(0.6));
        Assert.That((string?)json["rows"]![1]!["axes"]!["lambda"], Is.EqualTo("0.5"));
        Assert.That(json["rows"]![1]!["best_accuracy"], Is.Null);
        Assert.That((string?)json["incomplete"]![0]!["run"], Is.EqualTo("demp-lambda=0.5-seed=1"));

        void WriteSummary(string name, string text)
        {
            Directory.CreateDirectory(Path.Combine(folder.Path, name));
            File.WriteAllText(Path.Combine(folder.Path, name, "summary.json"), text);
        }
    }

    [TestCase("{ \"accuracy\": 0.", "is damaged")]
    [TestCase("[1]", "it is no object")]
    public void A_damaged_summary_is_named(string text, string expected)
    {
        string path = Path.Combine(root, "summary.json");
        File.WriteAllText(path, text);
        Assert.That(Assert.Throws<IOException>(() => CellResult.Read(path))!.Message, Does.StartWith(path).And.Contain(expected));
    }

    private static SweepFile Parse(string text) => SweepFile.Parse("sweep.json", text, _ => null);

    private static IReadOnlyList<SweepCell> Cells(string text) => SweepCell.Expand(Parse(text));
}
