using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;

namespace Saturn.Tests.Engine;

/// <summary>Directional pruning against a worked example, the closed form of its bound, and SGD.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class DirectionalPruningTests(string device) : EngineTest(device)
{
    [Test]
    public void Three_steps_worked_out_by_hand()
    {
        // η = ¼, μ = ½, c = ½: g_t = c·η^{½+μ}·√t = √t/8. The loss is Σ xᵢ·wᵢ, so the gradient is x = (1, −1, ½) in every step.
        // a₀ = w₀ = ( 0.5,   0.125,   −0.125)
        // a₁      = ( 0.25,  0.375,   −0.25 ), g₁ = 1/8:         w₁ = (0.125, 0.25, −0.125)
        // a₂      = ( 0,     0.625,   −0.375), g₂ = √2/8 = 0.177: w₂ = (0, 0.448, −0.198)
        // a₃      = (−0.25,  0.875,   −0.5  ), g₃ = √3/8 = 0.217: w₃ = (−0.033, 0.658, −0.283)
        using Parameter weight = NewParameter("w", new Shape(3), [0.5f, 0.125f, -0.125f]);
        using DirectionalPruning optimizer = new([new ParameterGroup([weight], 0.25)], c: 0.5, mu: 0.5);
        float[][] accumulators = [[0.25f, 0.375f, -0.25f], [0, 0.625f, -0.375f], [-0.25f, 0.875f, -0.5f]];
        double[][] weights = [[0.125, 0.25, -0.125], [0, 0.625 - Math.Sqrt(2) / 8, -0.375 + Math.Sqrt(2) / 8], [-0.25 + Math.Sqrt(3) / 8, 0.875 - Math.Sqrt(3) / 8, -0.5 + Math.Sqrt(3) / 8]];
        for (int step = 0; step < 3; step++)
        {
            Step(optimizer, weight, [1, -1, 0.5f]);
            Assert.That(optimizer.BoundOf(optimizer.Groups[0]), Is.EqualTo(Math.Sqrt(step + 1) / 8).Within(1e-15));
            Assert.That(optimizer.MomentsOf(weight).Single().ToArray(), Is.EqualTo(accumulators[step]), $"a after step {step + 1}");
            Assert.That(weight.Value.ToArray().Select(value => (double)value), Is.EqualTo(weights[step]).Within(1e-7), $"w after step {step + 1}");
        }
    }

    [Test]
    public void Momentum_and_weight_decay_worked_out_by_hand()
    {
        // c = 1, μ = ½, η = ½: g₁ = ½, g₂ = √2/2. Momentum ½, weight decay 1, gradient 0; the decay looks at w, not at a.
        // a₀ = w₀ = 2. m₁ = 2, a₁ = 2 − 1 = 1, w₁ = ½. m₂ = 1 + ½ = 1.5, a₂ = 1 − 0.75 = 0.25, below g₂: w₂ = 0. m₃ = 0.75, a₃ = 0.25 − 0.375 = −0.125.
        using Parameter weight = NewParameter("w", new Shape(1), [2]);
        using DirectionalPruning optimizer = new([new ParameterGroup([weight], 0.5, weightDecay: 1)], c: 1, mu: 0.5, momentum: 0.5);
        (float M, float A, float W)[] expected = [(2, 1, 0.5f), (1.5f, 0.25f, 0), (0.75f, -0.125f, 0)];
        foreach (var (m, a, w) in expected)
        {
            Step(optimizer, weight, [0]);
            Assert.That(optimizer.MomentsOf(weight).Select(moment => moment.ToArray()[0]), Is.EqualTo(new[] { m, a }));
            Assert.That(weight.Value.ToArray()[0], Is.EqualTo(w));
        }
    }

    [TestCase(1e-3, 0.1, 0.51)]
    [TestCase(5e-3, 0.01, 0.7)]
    public void The_bound_has_its_closed_form_while_the_learning_rate_stays(double c, double rate, double mu)
    {
        using Parameter weight = NewParameter("w", new Shape(1), [1]);
        using DirectionalPruning optimizer = new([new ParameterGroup([weight], rate)], c, mu);
        for (int t = 1; t <= 500; t++)
        {
            optimizer.Step();
            Assert.That(optimizer.Bounds.Single(), Is.EqualTo(c * Math.Sqrt(rate) * Math.Pow(t * rate, mu)).Within(1e-9).Percent, $"g of step {t}");
        }
    }

    [Test]
    public void The_bound_follows_a_schedule_by_its_increments_group_by_group()
    {
        using Parameter a = NewParameter("a", new Shape(1), [1]);
        using Parameter b = NewParameter("b", new Shape(1), [1]);
        using Parameter spared = NewParameter("spared", new Shape(1), [1]);
        ParameterGroup[] groups = [new([a], 0), new([b], 0), new([spared], 1) { IsThresholded = false }];
        const double c = 0.01, mu = 0.6;
        using DirectionalPruning optimizer = new(groups, c, mu);
        MultiStepSchedule schedule = new(0.1, [30, 60], 0.1);
        double expected = 0;
        for (int t = 1; t <= 90; t++)
        {
            double rate = groups[0].LearningRate = schedule.At(t - 1);
            groups[1].LearningRate = 2 * rate;
            expected += c * Math.Pow(rate, 0.5 + mu) * (Math.Pow(t, mu) - Math.Pow(t - 1, mu));
            Step(optimizer, a, [0]);
        }

        // With the last rate alone the bound would be 100^{1.1} times smaller than with the first: a run whose rate falls must not lose the bound it has.
        Assert.That(optimizer.BoundOf(groups[0]), Is.EqualTo(expected).Within(1e-9).Percent);
        Assert.That(optimizer.BoundOf(groups[1]), Is.EqualTo(expected * Math.Pow(2, 0.5 + mu)).Within(1e-9).Percent);
        Assert.That(optimizer.BoundOf(groups[2]), Is.Zero);
        Assert.That(a.Value.ToArray()[0], Is.EqualTo(1 - expected).Within(1e-6), "of a weight without a gradient");
    }

    [TestCase(0, false)]
    [TestCase(0.9, false)]
    [TestCase(0.9, true)]
    public void Without_a_bound_it_is_SGD_bit_for_bit(double momentum, bool nesterov)
    {
        Shape shape = new(5, 3, 3, 11);
        float[] start = Values(shape, 1);
        using Parameter reference = NewParameter("w", shape, start);
        using Parameter zero = NewParameter("w", shape, start);
        using Parameter spared = NewParameter("w", shape, start);
        using Sgd sgd = new([Group(reference)], momentum, nesterov);
        using DirectionalPruning pruning = new([Group(zero)], 0, 0.51, momentum, nesterov);
        using DirectionalPruning sparing = new([Group(spared)], 1, 0.51, momentum, nesterov);
        sparing.Groups[0].IsThresholded = false;
        for (int step = 0; step < 4; step++)
        {
            float[] gradient = Values(shape, 10 + step);
            Step(sgd, reference, gradient);
            Step(pruning, zero, gradient);
            Step(sparing, spared, gradient);
        }

        Assert.That(zero.Value.ToArray(), Is.EqualTo(reference.Value.ToArray()));
        Assert.That(spared.Value.ToArray(), Is.EqualTo(reference.Value.ToArray()));
        Assert.That(reference.Value.ToArray(), Is.Not.EqualTo(start));

        static ParameterGroup Group(Parameter parameter) => new([parameter], 0.05, 0.01) { L1 = 0.02, L2 = 0.01, NoiseStandardDeviation = 0.01 };
    }

    [Test]
    public void A_value_written_to_a_weight_is_taken_over([Values] bool thresholded)
    {
        // c = 1, μ = ½, η = ½: g_t = √t/2. Without a gradient a weight loses what the bound gains, and no more than that after it was written.
        using Parameter weight = NewParameter("w", new Shape(3), [1, -2, 0.25f]);
        using DirectionalPruning optimizer = new([new ParameterGroup([weight], 0.5) { IsThresholded = thresholded }], 1, 0.5);
        Step(optimizer, weight, [0, 0, 0]);
        Assert.That(weight.Value.ToArray(), Is.EqualTo(thresholded ? new[] { 0.5f, -1.5f, 0 } : new[] { 1, -2, 0.25f }));
        Step(optimizer, weight, [0, 0, 0]);
        weight.Value.CopyFrom([5, -6, 7]);
        Step(optimizer, weight, [0, 0, 0]);
        float loss = thresholded ? (float)(Math.Sqrt(3) - Math.Sqrt(2)) / 2 : 0;
        Assert.That(weight.Value.ToArray(), Is.EqualTo(new[] { 5 - loss, -6 + loss, 7 - loss }).Within(1e-6));
    }

    [Test]
    public void A_parameter_that_missed_steps_is_measured_by_the_bound_of_its_own_last_one()
    {
        // g_t = √t/2 as above. The second parameter starts with step 3 and misses 4 and 5: from then on its accumulator is what it was.
        using Parameter other = NewParameter("other", new Shape(1), [1]);
        using Parameter late = NewParameter("late", new Shape(1), [4]);
        using DirectionalPruning optimizer = new([new ParameterGroup([other, late], 0.5)], 1, 0.5);
        foreach (Parameter parameter in (Parameter[])[other, other, late, other, other, late])
        {
            Step(optimizer, parameter, [0]);
        }

        Assert.That(optimizer.MomentsOf(late).Single().ToArray()[0], Is.EqualTo(4));
        Assert.That(late.Value.ToArray()[0], Is.EqualTo(4 - Math.Sqrt(6) / 2).Within(1e-6));
    }

    [Test]
    public void A_run_goes_on_from_its_state_with_the_same_bits()
    {
        Shape shape = new(4, 19);
        float[] start = Values(shape, 1);
        using Parameter whole = NewParameter("w", shape, start);
        using DirectionalPruning first = new([Group(whole)], 0.5, 0.55, 0.9);
        for (int step = 0; step < 3; step++)
        {
            Step(first, whole, Values(shape, 10 + step));
        }

        using Parameter resumed = NewParameter("w", shape, whole.Value.ToArray());
        using DirectionalPruning second = new([Group(resumed)], 0.5, 0.55, 0.9) { Bounds = first.Bounds, StepCount = first.StepCount };
        Tensor[] moments = [.. first.MomentsOf(whole).Select(moment => Copy(shape, moment.ToArray()))];
        second.ReplaceMoments(resumed, moments);
        for (int step = 3; step < 6; step++)
        {
            Step(first, whole, Values(shape, 10 + step));
            Step(second, resumed, Values(shape, 10 + step));
        }

        Assert.That(resumed.Value.ToArray(), Is.EqualTo(whole.Value.ToArray()));
        Assert.That(second.Bounds, Is.EqualTo(first.Bounds));
        Assert.That(whole.Value.ToArray().Count(value => value == 0), Is.InRange(5, 70), "some weights must be pruned to say anything");

        static ParameterGroup Group(Parameter parameter) => new([parameter], 0.1) { NoiseStandardDeviation = 0.01 };
    }

    [TestCase(-1, 0.6, 0)]
    [TestCase(double.NaN, 0.6, 0)]
    [TestCase(1, 0, 0)]
    [TestCase(1, 1, 0)]
    [TestCase(1, double.NaN, 0)]
    [TestCase(1, 0.6, 1)]
    public void Constants_that_make_no_sense_are_refused_in_one_sentence(double c, double mu, double momentum)
    {
        using Parameter weight = NewParameter("w", new Shape(1), [1]);
        Assert.That(
            () => new DirectionalPruning([new ParameterGroup([weight], 0.1)], c, mu, momentum),
            Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.StartsWith("Directional pruning needs c ≥ 0, μ strictly between 0 and 1, and momentum in [0, 1), but got "));
    }

    [Test]
    public void Bounds_that_do_not_fit_are_refused()
    {
        using Parameter weight = NewParameter("w", new Shape(1), [1]);
        using DirectionalPruning optimizer = new([new ParameterGroup([weight], 0.1)], 1, 0.6);
        Assert.That(() => optimizer.Bounds = [1, 2], Throws.ArgumentException.With.Message.Contains("[1, 2]"));
        Assert.That(() => optimizer.Bounds = [-1], Throws.ArgumentException);
        Assert.That(() => optimizer.BoundOf(new ParameterGroup([weight], 0.1)), Throws.ArgumentException);
        Assert.That(() => new DirectionalPruning([new ParameterGroup([weight], 0.1)], 1, 0.6, 0, nesterov: true), Throws.ArgumentException);
    }

    private static float[] Values(Shape shape, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, (int)shape.ElementCount).Select(_ => random.NextSingle() * 2 - 1)];
    }

    /// <summary>A step at a gradient of these values.</summary>
    private void Step(Optimizer optimizer, Parameter parameter, float[] gradient)
    {
        using TensorScope scope = new();
        Operation.Sum(parameter.Value * Tensor.FromValues(Device, parameter.Shape, gradient)).Backward();
        optimizer.Step();
    }

    private Parameter NewParameter(string name, Shape shape, float[] values) => new(name, ParameterRole.Weight, Copy(shape, values));

    private Tensor Copy(Shape shape, float[] values)
    {
        Tensor tensor = Tensor.AllocateUnscoped(Device, shape);
        tensor.CopyFrom(values);
        return tensor;
    }
}
