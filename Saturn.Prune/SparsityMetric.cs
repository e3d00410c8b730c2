namespace Saturn.Prune;

/// <summary>What a sparsity is measured in.</summary>
public enum SparsityMetric
{
    /// <summary>Units: 1 − live / all.</summary>
    Neurons,

    /// <summary>Parameters: 1 − present / dense.</summary>
    Weights,

    /// <summary>Forward operations: 1 − now / dense.</summary>
    Flops,
}

/// <summary>Counts of a network.</summary>
/// <param name="Units">Units.</param>
/// <param name="Parameters">Trained parameters.</param>
/// <param name="Flops">Forward operations an image.</param>
public readonly record struct NetworkCounts(long Units, long Parameters, long Flops)
{
    /// <summary>The sparsity of these counts against dense ones.</summary>
    public double Sparsity(SparsityMetric metric, in NetworkCounts dense) => metric switch
    {
        SparsityMetric.Neurons => 1 - (double)Units / Math.Max(1, dense.Units),
        SparsityMetric.Weights => 1 - (double)Parameters / dense.Parameters,
        _ => 1 - (double)Flops / dense.Flops,
    };
}
