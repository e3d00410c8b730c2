using NUnit.Framework;
using Saturn.Bench;

namespace Saturn.Tests.Bench;

[TestFixture]
public sealed class SummaryTests
{
    [Test]
    public void OfElevenTimingsInAnyOrderHitsTheRanksExactly()
    {
        Summary summary = Summary.Of([100, 30, 0, 90, 10, 50, 20, 70, 60, 40, 80]);

        Assert.That(summary, Is.EqualTo(new Summary(11, 0, 10, 50, 90, 100)));
    }

    [Test]
    public void BetweenRanksIsInterpolated()
    {
        // Position 0.1·3 = 0.3 between 1 and 2, 0.5·3 = 1.5 between 2 and 4, 0.9·3 = 2.7 between 4 and 8.
        Summary summary = Summary.Of([8, 1, 4, 2]);

        Assert.That(summary.Percentile10, Is.EqualTo(1.3).Within(1e-12));
        Assert.That(summary.Median, Is.EqualTo(3).Within(1e-12));
        Assert.That(summary.Percentile90, Is.EqualTo(6.8).Within(1e-12));
    }

    [Test]
    public void OfOneTimingIsThatTiming() => Assert.That(Summary.Of([7]), Is.EqualTo(new Summary(1, 7, 7, 7, 7, 7)));

    [Test]
    public void OfNothingOrOfNaNIsRefused()
    {
        Assert.That(() => Summary.Of([]), Throws.ArgumentException.With.Message.Contains("at least one"));
        Assert.That(() => Summary.Of([1, double.NaN]), Throws.ArgumentException);
    }
}
