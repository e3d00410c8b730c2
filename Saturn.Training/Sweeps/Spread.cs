namespace Saturn.Training.Sweeps;

/// <summary>A figure over several seeds.</summary>
/// <param name="Count">Seeds that have the figure; at least 1.</param>
/// <param name="Mean">The mean.</param>
/// <param name="Deviation">The sample standard deviation √(Σ(x − mean)² / (n − 1)), or null for a single seed, which has none.</param>
/// <param name="Low">The lowest.</param>
/// <param name="High">The highest.</param>
public sealed record Spread(int Count, double Mean, double? Deviation, double Low, double High)
{
    /// <summary>The spread of the values that are there, or null if there is none.</summary>
    public static Spread? Of(IEnumerable<double?> values)
    {
        double[] found = [.. values.Where(value => value is { } number && double.IsFinite(number)).Select(value => value!.Value)];
        if (found.Length == 0)
        {
            return null;
        }

        double mean = found.Average();
        double? deviation = found.Length == 1 ? null : Math.Sqrt(found.Sum(value => (value - mean) * (value - mean)) / (found.Length - 1));
        return new Spread(found.Length, mean, deviation, found.Min(), found.Max());
    }
}
