using NUnit.Framework;
using Saturn.Bench;

namespace Saturn.Tests.Bench;

[TestFixture]
public sealed class BenchTableTests
{
    private static BenchTable Example()
    {
        BenchTable table = new("Steps", "saturn bench step", "network", "ms") { MachineDescription = "a machine", Date = new DateOnly(2024, 3, 5) };
        table.Add("ResNet-18", "299");
        table.Add("a|b", "7.25");
        table.Note("Medians.");
        return table;
    }

    [Test]
    public void PlainTextIsAligned() => Assert.That(Example().ToPlainText(), Is.EqualTo("""
        Steps
        Machine: a machine
        Date: 2024-03-05
        Command: saturn bench step

        network      ms
        ---------  ----
        ResNet-18   299
        a|b        7.25

        Medians.

        """));

    [Test]
    public void MarkdownIsATableUnderAHeading()
    {
        Assert.That(Example().ToMarkdown(), Is.EqualTo("""
            ### Steps

            - Machine: a machine
            - Date: 2024-03-05
            - Command: `saturn bench step`

            | network   |   ms |
            | --------- | ---: |
            | ResNet-18 |  299 |
            | a\|b      | 7.25 |

            Medians.

            """));
    }

    [Test]
    public void RowOfAnotherLengthIsRefused() =>
        Assert.That(() => Example().Add("only one"), Throws.ArgumentException.With.Message.Contains("2 columns").And.Message.Contains("1 cells"));

    [TestCase(1234.4, "1234")]
    [TestCase(99.94, "99.9")]
    [TestCase(1.234, "1.23")]
    [TestCase(0.01234, "0.012")]
    public void NumbersHaveAboutThreeDigits(double value, string expected) => Assert.That(BenchTable.Number(value), Is.EqualTo(expected));

    [Test]
    public void MachineKnowsItsPeakMemoryOnLinux()
    {
        Assume.That(File.Exists("/proc/self/status"), "only Linux tells");
        Assert.That(Machine.PeakResidentBytes(), Is.InRange(10L << 20, 1L << 40));
    }
}
