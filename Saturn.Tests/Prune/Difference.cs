using NUnit.Framework;

namespace Saturn.Tests.Prune;

/// <summary>‖actual − expected‖₂/max(‖expected‖₂, floor) in double precision.</summary>
internal static class Difference
{
    public static double Relative(float[] actual, float[] expected, double floor = 0)
    {
        Assert.That(actual, Has.Length.EqualTo(expected.Length));
        double difference = 0, norm = 0;
        for (int i = 0; i < actual.Length; i++)
        {
            difference += Math.Pow((double)actual[i] - expected[i], 2);
            norm += Math.Pow(expected[i], 2);
        }

        return Math.Sqrt(difference) / Math.Max(Math.Sqrt(norm), Math.Max(floor, 1e-12));
    }
}
