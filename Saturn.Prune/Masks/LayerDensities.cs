namespace Saturn.Prune;

/// <summary>How the weights that stay are spread over the layers.</summary>
public enum SparsityDistribution
{
    /// <summary>The same share everywhere.</summary>
    Uniform,

    /// <summary>Erdős–Rényi kernel: narrow layers stay denser.</summary>
    Erk,

    /// <summary>By one ranking over the whole network.</summary>
    Global,
}

/// <summary>Shares of weights that stay, by layer.</summary>
public static class LayerDensities
{
    /// <summary>
    /// Erdős–Rényi kernel ("Rigging the Lottery", Evci et al. 2020): density_l = min(1, ε·(n_in + n_out + k_h + k_w)/(n_in·n_out·k_h·k_w)), ε such that the budget is met; layers that would be denser than 1 are
    /// dense, and ε is found anew for the others.
    /// </summary>
    /// <param name="shapes">Weight shapes [out, kernelHeight, kernelWidth, in] or [out, in].</param>
    /// <param name="density">Share of all weights that stay, 0 … 1.</param>
    public static double[] Erk(IReadOnlyList<int[]> shapes, double density)
    {
        double[] sizes = [.. shapes.Select(shape => shape.Aggregate(1.0, (product, extent) => product * extent))];
        double[] raw = [.. shapes.Select((shape, i) => shape.Sum() / sizes[i])];
        bool[] isDense = new bool[sizes.Length];
        double budget = density * sizes.Sum();
        while (true)
        {
            double left = budget;
            double weight = 0;
            for (int i = 0; i < sizes.Length; i++)
            {
                left -= isDense[i] ? sizes[i] : 0;
                weight += isDense[i] ? 0 : raw[i] * sizes[i];
            }

            double epsilon = weight == 0 ? 0 : left / weight;
            bool changed = false;
            for (int i = 0; i < sizes.Length; i++)
            {
                if (!isDense[i] && epsilon * raw[i] > 1)
                {
                    changed = isDense[i] = true;
                }
            }

            if (!changed)
            {
                return [.. raw.Select((value, i) => isDense[i] ? 1 : Math.Max(0, epsilon * value))];
            }
        }
    }
}
