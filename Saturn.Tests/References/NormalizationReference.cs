namespace Saturn.Tests.References;

/// <summary>Batch normalization of [rows, channels] with a mapped residual and a rectifier, forward and backward, by its formulas in double precision over logical arrays.</summary>
public sealed class NormalizationReference
{
    /// <summary>Computes everything.</summary>
    /// <param name="x">The input, row-major.</param>
    /// <param name="gamma">γ; their number is that of the channels.</param>
    /// <param name="beta">β.</param>
    /// <param name="shortcut">The residual, row-major; null for none.</param>
    /// <param name="map">The residual's channel for each channel, or −1.</param>
    /// <param name="slope">What negative values are multiplied by.</param>
    /// <param name="dy">The output's gradient.</param>
    /// <param name="epsilon">Added to the variance.</param>
    public NormalizationReference(float[] x, float[] gamma, float[] beta, float[]? shortcut, int[] map, double slope, float[] dy, double epsilon)
    {
        int channels = gamma.Length;
        int rows = x.Length / channels;
        int shortcutChannels = shortcut is null ? 0 : shortcut.Length / rows;
        Mean = new double[channels];
        Variance = new double[channels];
        GammaGradient = new double[channels];
        BetaGradient = new double[channels];
        for (int c = 0; c < channels; c++)
        {
            double[] column = [.. Enumerable.Range(0, rows).Select(row => (double)x[row * channels + c])];
            Mean[c] = column.Average();
            Variance[c] = column.Average(value => (value - Mean[c]) * (value - Mean[c]));
        }

        Output = new double[x.Length];
        InputGradient = new double[x.Length];
        ShortcutGradient = new double[shortcut?.Length ?? 0];
        double[] dz = new double[x.Length];
        for (int i = 0; i < x.Length; i++)
        {
            int c = i % channels;
            double normal = (x[i] - Mean[c]) / Math.Sqrt(Variance[c] + epsilon);
            double z = gamma[c] * normal + beta[c] + (shortcut is null || map[c] < 0 ? 0 : shortcut[i / channels * shortcutChannels + map[c]]);
            Output[i] = z > 0 ? z : slope * z;
            dz[i] = z > 0 ? dy[i] : slope * dy[i];
            GammaGradient[c] += dz[i] * normal;
            BetaGradient[c] += dz[i];
            if (shortcut is not null && map[c] >= 0)
            {
                ShortcutGradient[i / channels * shortcutChannels + map[c]] = dz[i];
            }
        }

        for (int i = 0; i < x.Length; i++)
        {
            int c = i % channels;
            double inverseStd = 1 / Math.Sqrt(Variance[c] + epsilon);
            InputGradient[i] = gamma[c] * inverseStd * (dz[i] - BetaGradient[c] / rows - (x[i] - Mean[c]) * inverseStd * GammaGradient[c] / rows);
        }
    }

    public double[] Mean { get; }

    public double[] Variance { get; }

    public double[] Output { get; }

    public double[] InputGradient { get; }

    public double[] GammaGradient { get; }

    public double[] BetaGradient { get; }

    public double[] ShortcutGradient { get; }
}
