using MathNet.Numerics;
using Saturn.Engine;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Training.Lab;

/// <summary>Survivors of a Brownian walk at one time.</summary>
/// <param name="Step">Steps taken.</param>
/// <param name="Survivors">Share of walkers not absorbed.</param>
/// <param name="WithoutBridge">The same where crossings between steps go unseen.</param>
/// <param name="Theory">erf(w₀/√(2ηt)).</param>
/// <param name="StandardError">√(p(1 − p)/n) of the theory's p.</param>
public sealed record SurvivalPoint(int Step, double Survivors, double WithoutBridge, double Theory, double StandardError);

/// <summary>Growth of a multiplicative walk.</summary>
/// <param name="LearningRate">η.</param>
/// <param name="Curvature">h.</param>
/// <param name="Noise">Standard deviation of ζ.</param>
/// <param name="Measured">Mean of ln|w_t/w₀|/t over the walkers.</param>
/// <param name="Theory">E ln|1 − η(h + ζ)|.</param>
/// <param name="StandardError">Of the measured mean.</param>
/// <param name="SecondMoment">E (1 − η(h + ζ))², above 1 where w² grows on average although almost every walker may vanish.</param>
public sealed record GrowthPoint(double LearningRate, double Curvature, double Noise, double Measured, double Theory, double StandardError, double SecondMoment);

/// <summary>
/// The two models of why neurons die ("Maxwell's Demon at Work", appendix B), simulated on a device. All numbers are counter-based: the same seed gives the same walkers.
/// </summary>
public static class RandomWalks
{
    private const float SmallestFactor = 1e-9f;
    private const uint StepStream = 0xB0;
    private const uint CrossingStream = 0xB1;
    private const uint MultiplierStream = 0xB2;

    /// <summary>
    /// Walkers start at w₀ > 0 and take normal steps of variance η; at 0 they die. Brownian motion survives to time t with probability erf(w₀/√(2ηt)). A walk in discrete steps misses crossings: between two positive
    /// ends w and w′ the path in between, a Brownian bridge, has crossed 0 with probability exp(−2ww′/η), so a walker is absorbed with that probability too.
    /// </summary>
    /// <param name="device">Where to simulate.</param>
    /// <param name="walkers">Walkers.</param>
    /// <param name="steps">Steps.</param>
    /// <param name="distance">w₀.</param>
    /// <param name="learningRate">η.</param>
    /// <param name="points">How many times are looked at, evenly spaced.</param>
    /// <param name="seed">Seed.</param>
    public static IReadOnlyList<SurvivalPoint> Survival(Device device, int walkers, int steps, double distance, double learningRate, int points = 20, ulong seed = 0)
    {
        RequirePositive(walkers, "walkers");
        RequirePositive(steps, "steps");
        RequirePositive(distance, "distance");
        RequirePositive(learningRate, "lr");
        Shape shape = new(walkers);
        IElementwiseKernels elementwise = device.Elementwise;
        using TensorScope scope = new();
        Tensor position = Tensor.Full(device, shape, (float)distance);
        Tensor next = Tensor.Allocate(device, shape);
        Tensor draw = Tensor.Allocate(device, shape);
        Tensor crossing = Tensor.Allocate(device, shape);
        Tensor zero = Tensor.Zeros(device, shape);
        Tensor withBridge = Tensor.Full(device, shape, 1);
        Tensor withoutBridge = Tensor.Full(device, shape, 1);
        List<SurvivalPoint> found = [];
        for (int step = 1; step <= steps; step++)
        {
            device.Random.Normal(shape, new RandomKey(seed, StepStream, (ulong)step), 0, (float)Math.Sqrt(learningRate), draw.Buffer);
            Combine(BinaryOperation.Add, position, draw, next);

            // Alive in both counts only above 0.
            Combine(BinaryOperation.Less, zero, next, draw);
            Combine(BinaryOperation.Multiply, withoutBridge, draw, withoutBridge);
            Combine(BinaryOperation.Multiply, withBridge, draw, withBridge);

            // exp(−2ww′/η) against a uniform number; where w′ is not positive the walker is dead already.
            Combine(BinaryOperation.Multiply, position, next, crossing);
            elementwise.Unary(UnaryOperation.Affine, shape, crossing.Buffer, crossing.Buffer, (float)(-2 / learningRate), 0);
            elementwise.Unary(UnaryOperation.Exponential, shape, crossing.Buffer, crossing.Buffer);
            device.Random.Uniform(shape, new RandomKey(seed, CrossingStream, (ulong)step), 0, 1, draw.Buffer);
            Combine(BinaryOperation.GreaterOrEqual, draw, crossing, draw);
            Combine(BinaryOperation.Multiply, withBridge, draw, withBridge);
            (position, next) = (next, position);
            if (step * (long)points / steps > (step - 1) * (long)points / steps)
            {
                double theory = SpecialFunctions.Erf(distance / Math.Sqrt(2 * learningRate * step));
                found.Add(new SurvivalPoint(step, Mean(withBridge), Mean(withoutBridge), theory, Math.Sqrt(theory * (1 - theory) / walkers)));
            }
        }

        return found;

        void Combine(BinaryOperation operation, Tensor left, Tensor right, Tensor output) =>
            elementwise.Binary(operation, shape, left.Buffer, shape, right.Buffer, shape, output.Buffer);
    }

    /// <summary>
    /// w ← w − η(h + ζ)w with ζ ~ N(0, s²) multiplies w by 1 − η(h + ζ) at every step: ln|w_t/w₀|/t tends to E ln|1 − η(h + ζ)|, so almost every walker vanishes exactly where that is below 0, even
    /// where the mean of w² explodes.
    /// </summary>
    /// <param name="device">Where to simulate.</param>
    /// <param name="walkers">Walkers.</param>
    /// <param name="steps">Steps.</param>
    /// <param name="learningRate">η.</param>
    /// <param name="curvature">h.</param>
    /// <param name="noise">s.</param>
    /// <param name="seed">Seed.</param>
    public static GrowthPoint Growth(Device device, int walkers, int steps, double learningRate, double curvature, double noise, ulong seed = 0)
    {
        RequirePositive(walkers, "walkers");
        RequirePositive(steps, "steps");
        RequirePositive(learningRate, "lr");
        RequirePositive(noise, "noise");
        Shape shape = new(walkers);
        using TensorScope scope = new();
        Tensor sum = Tensor.Zeros(device, shape);
        Tensor factor = Tensor.Allocate(device, shape);
        for (int step = 0; step < steps; step++)
        {
            device.Random.Normal(shape, new RandomKey(seed, MultiplierStream, (ulong)step), (float)(1 - learningRate * curvature), (float)(learningRate * noise), factor.Buffer);
            device.Elementwise.Unary(UnaryOperation.Absolute, shape, factor.Buffer, factor.Buffer);

            // A factor can be exactly 0 in float32; its logarithm is then that of a factor too small to be told from 0.
            device.Elementwise.Unary(UnaryOperation.Clamp, shape, factor.Buffer, factor.Buffer, SmallestFactor, float.MaxValue);
            device.Elementwise.Unary(UnaryOperation.Logarithm, shape, factor.Buffer, factor.Buffer);
            device.Elementwise.Accumulate(shape, factor.Buffer, sum.Buffer, 1f / steps);
        }

        float[] rates = sum.ToArray();
        double mean = rates.Average(rate => (double)rate);
        double deviation = Math.Sqrt(rates.Sum(rate => (rate - mean) * (rate - mean)) / (walkers - 1.0));
        double center = 1 - learningRate * curvature;
        double spread = learningRate * noise;
        return new GrowthPoint(
            learningRate, curvature, noise, mean, ExpectedLogarithm(center, spread), deviation / Math.Sqrt(walkers), center * center + spread * spread);
    }

    /// <summary>E ln|x| of x ~ N(center, spread²), by integration on both sides of the singularity at 0.</summary>
    public static double ExpectedLogarithm(double center, double spread)
    {
        const double Reach = 12;
        double low = center - Reach * spread;
        double high = center + Reach * spread;
        double[] ends = low < 0 && high > 0 ? [low, 0, high] : [low, high];
        double sum = 0;
        for (int i = 1; i < ends.Length; i++)
        {
            sum += Integrate.DoubleExponential(Density, ends[i - 1], ends[i], 1e-10);
        }

        return sum;

        double Density(double x)
        {
            double z = (x - center) / spread;
            return x == 0 ? 0 : Math.Log(Math.Abs(x)) * Math.Exp(-z * z / 2) / (spread * Constants.Sqrt2Pi);
        }
    }

    private static double Mean(Tensor values) => values.ToArray().Average(value => (double)value);

    private static void RequirePositive(double value, string option)
    {
        if (!(value > 0 && double.IsFinite(value)))
        {
            throw new ArgumentException($"--{option} must be above 0, but is {value}.");
        }
    }
}
