namespace Saturn.Bench;

/// <summary>Order statistics of repeated timings, in the unit of the timings.</summary>
/// <param name="Count">How many timings.</param>
/// <param name="Minimum">The smallest.</param>
/// <param name="Percentile10">Below it lies a tenth.</param>
/// <param name="Median">The middle.</param>
/// <param name="Percentile90">Above it lies a tenth.</param>
/// <param name="Maximum">The largest.</param>
public readonly record struct Summary(int Count, double Minimum, double Percentile10, double Median, double Percentile90, double Maximum)
{
    /// <summary>Summarises timings in any order.</summary>
    /// <exception cref="ArgumentException">There is no timing, or one is not a finite number.</exception>
    public static Summary Of(IEnumerable<double> timings)
    {
        double[] sorted = [.. timings];
        if (sorted.Length == 0 || sorted.Any(timing => !double.IsFinite(timing)))
        {
            throw new ArgumentException($"A summary needs at least one timing and finite ones only, but got [{string.Join(", ", sorted)}].", nameof(timings));
        }

        Array.Sort(sorted);
        return new Summary(sorted.Length, sorted[0], Percentile(sorted, 0.1), Percentile(sorted, 0.5), Percentile(sorted, 0.9), sorted[^1]);
    }

    /// <summary>
    /// Percentile with linear interpolation between the closest ranks: position = fraction·(count − 1) (definition 7 of Hyndman and Fan,
    /// "Sample Quantiles in Statistical Packages", 1996).
    /// </summary>
    /// <param name="sorted">Values in ascending order, at least one.</param>
    /// <param name="fraction">0 … 1.</param>
    public static double Percentile(ReadOnlySpan<double> sorted, double fraction)
    {
        if (sorted.IsEmpty || !(fraction >= 0 && fraction <= 1))
        {
            throw new ArgumentException($"A percentile needs values and a fraction in 0 … 1, but got {sorted.Length} values and {fraction}.", nameof(fraction));
        }

        double position = fraction * (sorted.Length - 1);
        int below = (int)position;
        int above = Math.Min(below + 1, sorted.Length - 1);
        return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
    }
}
