using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Training.Lab;

namespace Saturn.Tests.Lab;

/// <summary>The paper's random walks against their closed forms. The seeds are fixed, so the bounds of four standard errors either hold or do not.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class RandomWalkTests(string deviceName)
{
    [Test]
    public void Survivors_are_those_of_theory_once_crossings_between_steps_count()
    {
        using Device device = TestDevices.Open(deviceName);
        int walkers = device.Kind == DeviceKind.Cpu ? 40_000 : 4_000;

        // Few, large steps: the standard deviation of one is 0.3 where the distance is 0.6.
        var points = RandomWalks.Survival(device, walkers, 40, 0.6, 0.09, 4, seed: 3);
        Assert.That(points.Select(point => point.Step), Is.EqualTo(new[] { 10, 20, 30, 40 }));
        foreach (SurvivalPoint point in points)
        {
            Assert.That(point.Theory, Is.EqualTo(MathNet.Numerics.SpecialFunctions.Erf(0.6 / Math.Sqrt(2 * 0.09 * point.Step))).Within(1e-12));
            Assert.That(point.Survivors, Is.EqualTo(point.Theory).Within(4 * point.StandardError));
            Assert.That(point.WithoutBridge - point.Theory, Is.GreaterThan(4 * point.StandardError), "steps alone miss crossings");
        }
    }

    [TestCase(0.1, 1, 1)]
    [TestCase(0.1, 0, 10)]
    [TestCase(0.1, 0, 20)]
    [TestCase(0.5, 4.5, 0.5)]
    public void Growth_has_the_value_and_the_sign_of_the_expected_logarithm(double rate, double curvature, double noise)
    {
        using Device device = TestDevices.Open(deviceName);
        GrowthPoint point = RandomWalks.Growth(device, device.Kind == DeviceKind.Cpu ? 20_000 : 4_000, 20, rate, curvature, noise, seed: 5);
        Assert.That(point.Measured, Is.EqualTo(point.Theory).Within(4 * point.StandardError));
        Assert.That(Math.Sign(point.Measured), Is.EqualTo(Math.Sign(point.Theory)));
    }

    [Test]
    public void Almost_every_walker_may_vanish_while_the_second_moment_explodes()
    {
        // 1 + N(0, 1): E ln|x| = −0.2085 (numerically), E x² = 2.
        Assert.That(RandomWalks.ExpectedLogarithm(1, 1), Is.EqualTo(-0.2085).Within(1e-4));

        // N(0, s²): ln s − (γ + ln 2)/2.
        Assert.That(RandomWalks.ExpectedLogarithm(0, 2), Is.EqualTo(Math.Log(2) - (0.5772156649015329 + Math.Log(2)) / 2).Within(1e-7));

        // Far from 0 the logarithm is nearly linear: ln c − s²/2c².
        Assert.That(RandomWalks.ExpectedLogarithm(10, 0.1), Is.EqualTo(Math.Log(10) - 0.01 / 200).Within(1e-8));
    }

    [Test]
    public void Bad_sizes_are_one_sentence()
    {
        using Device device = TestDevices.Open(deviceName);
        Assert.That(() => RandomWalks.Survival(device, 10, 10, 0, 0.1), Throws.ArgumentException.With.Message.EqualTo("--distance must be above 0, but is 0."));
        Assert.That(() => RandomWalks.Growth(device, 10, 10, -1, 1, 1), Throws.ArgumentException.With.Message.EqualTo("--lr must be above 0, but is -1."));
    }
}
