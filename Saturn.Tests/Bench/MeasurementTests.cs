using NUnit.Framework;
using Saturn.Bench;

namespace Saturn.Tests.Bench;

[TestFixture]
public sealed class MeasurementTests
{
    [Test]
    public void ContendersRunInTurn()
    {
        List<string> order = [];
        Contender Named(string name) => new(name, () => { order.Add(name); return [order.Count]; });

        IReadOnlyList<Timings> timings = Measurement.Interleave([Named("A"), Named("B")], rounds: 3);

        Assert.That(order, Is.EqualTo(new[] { "A", "B", "A", "B", "A", "B" }));
        Assert.That(timings[0].Rounds.SelectMany(round => round), Is.EqualTo(new double[] { 1, 3, 5 }));
        Assert.That(timings[1].Rounds.SelectMany(round => round), Is.EqualTo(new double[] { 2, 4, 6 }));
    }

    [Test]
    public void WarmupIsNotTimed()
    {
        int calls = 0;
        Contender contender = Measurement.Of("A", () => calls++, new Repetition(Rounds: 1, Warmup: 2, Repetitions: 3));

        Assert.That(contender.Round(), Has.Count.EqualTo(3));
        Assert.That(calls, Is.EqualTo(5));
    }

    [Test]
    public void RatioIsTheMedianOfTheRoundsQuotients()
    {
        // The machine is ten times slower in the second round; the quotients 2, 2 and 4 do not see it.
        Timings slow = new("slow", [[2, 2, 90], [20], [4]]);
        Timings fast = new("fast", [[1], [10], [1]]);

        Assert.That(slow.RatioTo(fast), Is.EqualTo(2));
        Assert.That(fast.RatioTo(slow), Is.EqualTo(0.5));
    }

    [Test]
    public void RatioOfUnequalRoundsIsRefused() =>
        Assert.That(() => new Timings("a", [[1]]).RatioTo(new Timings("b", [[1], [1]])), Throws.ArgumentException.With.Message.Contains("rounds"));

    [Test]
    public void MultiplyAddCeilingIsAPlausibleRate()
    {
        double gigaflops = FusedMultiplyAddCeiling.Gigaflops(threads: 1, iterations: 200_000);

        Assert.That(gigaflops, Is.InRange(0.1, 2000));
    }
}
