using MathNet.Numerics.Statistics;

namespace Saturn.Tests.References;

/// <summary>Layer normalization by its formulas in double precision, on MathNet's statistics; arrays are logical [rows, channels].</summary>
public static class LayerNormalizationReference
{
    /// <summary>Mean and 1/√(variance + ε) of each row.</summary>
    public static (double Mean, double InverseStd)[] Statistics(int channels, double epsilon, float[] input) => [.. input.Chunk(channels).Select(row =>
    {
        double[] values = [.. row.Select(value => (double)value)];
        return (values.Mean(), 1 / Math.Sqrt(values.PopulationVariance() + epsilon));
    })];

    /// <summary>x̂ = (x − mean)/√(variance + ε)</summary>
    public static double[] Normalise(int channels, (double Mean, double InverseStd)[] statistics, float[] input) =>
        [.. input.Select((value, i) => (value - statistics[i / channels].Mean) * statistics[i / channels].InverseStd)];

    /// <summary>y = γ·x̂ + β</summary>
    public static double[] Forward(int channels, double epsilon, float[] input, float[]? gamma, float[]? beta) =>
        [.. Normalise(channels, Statistics(channels, epsilon, input), input).Select((value, i) => value * (gamma?[i % channels] ?? 1.0) + (beta?[i % channels] ?? 0.0))];

    /// <summary>dx = inverseStd·(g − mean(g) − x̂·mean(g·x̂)) with g = dy·γ, dγ = Σ dy·x̂, dβ = Σ dy.</summary>
    public static (double[] Input, double[] Gamma, double[] Beta) Backward(
        int channels, (double Mean, double InverseStd)[] statistics, float[] input, float[]? gamma, float[] outputGradient)
    {
        double[] normal = Normalise(channels, statistics, input);
        double[] dx = new double[input.Length], dGamma = new double[channels], dBeta = new double[channels];
        for (int row = 0; row < statistics.Length; row++)
        {
            int start = row * channels;
            double[] g = [.. Enumerable.Range(0, channels).Select(c => outputGradient[start + c] * (gamma?[c] ?? 1.0))];
            double mean = g.Average();
            double product = g.Select((value, c) => value * normal[start + c]).Average();
            for (int c = 0; c < channels; c++)
            {
                dx[start + c] = statistics[row].InverseStd * (g[c] - mean - normal[start + c] * product);
                dGamma[c] += outputGradient[start + c] * normal[start + c];
                dBeta[c] += outputGradient[start + c];
            }
        }

        return (dx, dGamma, dBeta);
    }
}
