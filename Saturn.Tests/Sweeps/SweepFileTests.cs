using NUnit.Framework;
using Saturn.Training.Sweeps;

namespace Saturn.Tests.Sweeps;

/// <summary>The sweep file: the grid it stands for, the names and command lines of its cells, and what is refused.</summary>
public sealed class SweepFileTests
{
    private const string Example = """
        {
          // Comments and trailing commas are allowed.
          "name": "orderings", "workers": 3, "threads": 2,
          "common": { "data": "cifar10:${DATA}/batches", "width": [8, 16], "lambda": 5e-4 },
          "seeds": [0, 7],
          "arms": {
            "dense": { "method": "dense", "lambda": null },
            "demp": { "lambda": [0.001, 1e-2], "nesterov": [true, false], "no-augment": true, "width": 4, },
          },
        }
        """;

    [Test]
    public void The_grid_is_every_combination_with_every_seed()
    {
        SweepFile file = Parse(Example);
        Assert.That((file.Name, file.Workers), Is.EqualTo(("orderings", 3)));
        Assert.That(SweepCell.Expand(file).Select(cell => cell.Name), Is.EqualTo((string[])
        [
            "dense-width=8-seed=0", "dense-width=8-seed=7", "dense-width=16-seed=0", "dense-width=16-seed=7",
            "demp-lambda=0.001-nesterov=true-seed=0", "demp-lambda=0.001-nesterov=true-seed=7", "demp-lambda=0.001-nesterov=false-seed=0", "demp-lambda=0.001-nesterov=false-seed=7",
            "demp-lambda=0.01-nesterov=true-seed=0", "demp-lambda=0.01-nesterov=true-seed=7", "demp-lambda=0.01-nesterov=false-seed=0", "demp-lambda=0.01-nesterov=false-seed=7",
        ]));
    }

    [Test]
    public void A_cell_is_a_plain_command_line()
    {
        IReadOnlyList<SweepCell> cells = SweepCell.Expand(Parse(Example));
        Assert.That(string.Join(' ', cells[1].Arguments("runs/orderings")), Is.EqualTo(
            "train --threads 2 --data cifar10:/my data/batches --width 8 --method dense --seed 7 --run dense-width=8-seed=7 --runs runs/orderings"));
        Assert.That(string.Join(' ', cells[4].Arguments("r")), Is.EqualTo(
            "train --threads 2 --data cifar10:/my data/batches --lambda 0.001 --nesterov --no-augment --width 4 --seed 0 --run demp-lambda=0.001-nesterov=true-seed=0 --runs r"));
        Assert.That(cells[6].Arguments("r"), Does.Not.Contain("--nesterov"));
        Assert.That(string.Join(' ', cells[4].ResumeArguments("r")), Is.EqualTo("train --resume --run demp-lambda=0.001-nesterov=true-seed=0 --runs r"));
    }

    [Test]
    public void Settings_of_a_method_may_be_axes()
    {
        IReadOnlyList<SweepCell> cells = SweepCell.Expand(Parse("""{ "name": "n", "arms": { "a": { "method": "grda", "set": { "c": [1e-3, 1e-2], "norms": "off" } } } }"""));
        Assert.That(cells.Select(cell => cell.Name), Is.EqualTo((string[])["a-set.c=0.001-seed=0", "a-set.c=0.01-seed=0"]));
        Assert.That(string.Join(' ', cells[1].Arguments("r")), Is.EqualTo("train --method grda --set c=0.01 --set norms=off --seed 0 --run a-set.c=0.01-seed=0 --runs r"));
    }

    [Test]
    public void A_name_holds_the_text_of_the_file_and_no_folder()
    {
        SweepFile file = Parse("""{ "name": "n", "arms": { "a": { "data": ["mnist:${DATA}/x", "synthetic"] } } }""");
        Assert.That(SweepCell.Expand(file).Select(cell => cell.Name), Is.EqualTo((string[])["a-data=mnist_DATA_x-seed=0", "a-data=synthetic-seed=0"]));
    }

    [Test]
    public void A_value_that_looks_like_an_option_stays_a_value()
    {
        SweepCell cell = SweepCell.Expand(Parse("""{ "name": "n", "arms": { "a": { "lambda": -1, "data": "@x" } } }"""))[0];
        Assert.That(cell.Arguments("r"), Does.Contain("--lambda=-1").And.Contain("--data=@x"));
    }

    [TestCase("plain-0.5_x:/a=b,c+@%", ExpectedResult = "plain-0.5_x:/a=b,c+@%")]
    [TestCase("", ExpectedResult = "''")]
    [TestCase("two words", ExpectedResult = "'two words'")]
    [TestCase("it's", ExpectedResult = @"'it'\''s'")]
    [TestCase("$HOME;`ls`", ExpectedResult = "'$HOME;`ls`'")]
    [TestCase("λ", ExpectedResult = "'λ'")]
    public string Words_are_quoted(string word) => ShellWords.Quote(word);

    [TestCase("", "", 0)]
    [TestCase("", "abc", 3)]
    [TestCase("kitten", "sitting", 3)]
    [TestCase("lamda", "lambda", 1)]
    public void Edit_distance(string from, string to, int expected)
    {
        Assert.That(NearestName.Distance(from, to), Is.EqualTo(expected));
        Assert.That(NearestName.Distance(to, from), Is.EqualTo(expected));
    }

    [TestCase("[]", "must be an object")]
    [TestCase("{", "no valid JSON")]
    [TestCase("""{ "name": "a", "name": "b" }""", "no valid JSON")]
    [TestCase("""{ "arms": { "a": {} } }""", "\"name\" must be the name of a folder")]
    [TestCase("""{ "name": "../a", "arms": { "a": {} } }""", "\"name\" must be the name of a folder")]
    [TestCase("""{ "name": "..", "arms": { "a": {} } }""", "\"name\" must be the name of a folder")]
    [TestCase("""{ "name": 3, "arms": { "a": {} } }""", "\"name\" must be the name of a folder")]
    [TestCase("""{ "name": "n", "seed": [1], "arms": { "a": {} } }""", "the key 'seed' is not known; the nearest one is 'seeds'")]
    [TestCase("""{ "name": "n" }""", "at least one arm")]
    [TestCase("""{ "name": "n", "arms": {} }""", "at least one arm")]
    [TestCase("""{ "name": "n", "arms": { "a/b": {} } }""", "the arm 'a/b' must have a name")]
    [TestCase("""{ "name": "n", "arms": { "a": 3 } }""", "the arm 'a' must be an object")]
    [TestCase("""{ "name": "n", "common": [], "arms": { "a": {} } }""", "\"common\" must be an object")]
    [TestCase("""{ "name": "n", "workers": 0, "arms": { "a": {} } }""", "\"workers\" must be a whole number, at least 1, but is 0")]
    [TestCase("""{ "name": "n", "threads": "two", "arms": { "a": {} } }""", "\"threads\" must be a whole number, at least 1, but is \"two\"")]
    [TestCase("""{ "name": "n", "seeds": [], "arms": { "a": {} } }""", "\"seeds\" must be an array")]
    [TestCase("""{ "name": "n", "seeds": 3, "arms": { "a": {} } }""", "\"seeds\" must be an array")]
    [TestCase("""{ "name": "n", "seeds": [-1], "arms": { "a": {} } }""", "0 or above, but one is -1")]
    [TestCase("""{ "name": "n", "seeds": [1, 1], "arms": { "a": {} } }""", "a seed stands twice")]
    [TestCase("""{ "name": "n", "arms": { "a": { "lambda": [] } } }""", "the arm 'a' has no value for 'lambda'")]
    [TestCase("""{ "name": "n", "arms": { "a": { "lambda": [[1]] } } }""", "the arm 'a' must give 'lambda' a text, a number")]
    [TestCase("""{ "name": "n", "arms": { "a": { "lambda": {} } } }""", "the arm 'a' must give 'lambda' a text, a number")]
    [TestCase("""{ "name": "n", "arms": { "a": { "data": "mnist:${NOWHERE}" } } }""", "the arm 'a', 'data' needs the variable NOWHERE of the environment")]
    [TestCase("""{ "name": "n", "arms": { "a": { "data": "mnist:${EMPTY}" } } }""", "the arm 'a', 'data' needs the variable EMPTY of the environment")]
    [TestCase("""{ "name": "n", "arms": { "a": { "data": "mnist:${DATA" } } }""", "names no variable; write ${NAME}")]
    [TestCase("""{ "name": "n", "arms": { "a": { "lamda": 1 } } }""", "the arm 'a' sets 'lamda', which 'saturn train' does not know; the nearest option is 'lambda'")]
    [TestCase("""{ "name": "n", "common": { "seed": 1 }, "arms": { "a": {} } }""", "the arm 'a' sets 'seed', but the seeds of all arms stand under \"seeds\"")]
    [TestCase("""{ "name": "n", "arms": { "a": { "overwrite": true } } }""", "saturn sweep --overwrite")]
    [TestCase("""{ "name": "n", "arms": { "a": { "lambda": [1, 1] } } }""", "would be named 'a-lambda=1-seed=0'")]
    [TestCase("""{ "name": "n", "arms": { "a": { "lambda": [1e-3, 0.001] } } }""", "would be named 'a-lambda=0.001-seed=0'")]
    [TestCase("""{ "name": "n", "arms": { "a": { "lambda": [1] }, "A-lambda=1": {} } }""", "would be named 'A-lambda=1-seed=0'")]
    [TestCase("""{ "name": "n", "arms": { "a": { "data": ["LONG"] } } }""", "more than the 240")]
    public void Bad_input_is_refused(string text, string expected)
    {
        InvalidDataException exception = Assert.Throws<InvalidDataException>(() =>
        {
            SweepFile file = Parse(text.Replace("LONG", new string('x', 240)));
            file.RequireKnown(["lambda", "data", "seed", "overwrite"]);
            SweepCell.Expand(file);
        })!;
        Assert.That(exception.Message, Does.Contain(expected).And.EndsWith("."));
        Assert.That(exception.Message, Does.Not.Contain("\n"));
    }

    private static SweepFile Parse(string text) => SweepFile.Parse("sweep.json", text, name => name switch { "DATA" => "/my data", "EMPTY" => "", _ => null });
}
