using Saturn.Engine;
using Saturn.Kernels;

namespace Saturn.Prune.Methods;

/// <summary>
/// What the methods of single weights share. The target is the share of the weights of convolutions and linear layers that is absent, against the dense network; biases and normalizations are never masked. Masks
/// change on the host, at update steps only.
/// </summary>
public abstract class MaskedPruning : PruningMethod
{
    /// <summary>The sparsity to reach.</summary>
    [Setting("target-sparsity", "Share of the weights of convolutions and linear layers that is absent in the end, above 0 and below 1.")]
    public double TargetSparsity { get; set; } = 0.8;

    /// <summary>Steps between mask updates.</summary>
    [Setting("update-every", "Steps from one update of the masks to the next, at least 1.")]
    public int UpdateEvery { get; set; } = 100;

    /// <inheritdoc/>
    public override bool ChangesSingleWeights => true;

    /// <inheritdoc/>
    public override void Validate()
    {
        Require(TargetSparsity is > 0 and < 1, "target-sparsity", "above 0 and below 1", TargetSparsity);
        Require(UpdateEvery >= 1, "update-every", "at least 1", UpdateEvery);
    }

    /// <summary>Weights of a layer in the dense network.</summary>
    protected static long DenseSize(PruningRun run, Parameter weight) => DenseLayer(run, weight).Parameters;

    /// <summary>A layer as it was in the dense network.</summary>
    protected static LayerCost DenseLayer(PruningRun run, Parameter weight)
    {
        string name = weight.Name.EndsWith(".weight", StringComparison.Ordinal) ? weight.Name[..^7] : weight.Name;
        return run.Accounting.Dense.Layers.First(layer => layer.Name == name);
    }

    /// <summary>Erdős–Rényi kernel densities of all weights, from their dense shapes, so that they stay what they are when units are removed.</summary>
    protected static Dictionary<Parameter, double> ErkDensities(PruningRun run, double density)
    {
        Parameter[] weights = [.. run.UseMasks().Weights];
        double[] all = LayerDensities.Erk([.. run.Accounting.Dense.Layers.Where(layer => layer.Parameters > 0).Select(layer => layer.WeightShape)], density);
        Dictionary<string, double> byLayer = run.Accounting.Dense.Layers.Where(layer => layer.Parameters > 0).Zip(all).ToDictionary(pair => pair.First.Name, pair => pair.Second);
        return weights.ToDictionary(weight => weight, weight => byLayer[DenseLayer(run, weight).Name]);
    }

    /// <summary>A uniform random number of a weight at a step.</summary>
    protected static float Draw(PruningRun run, Parameter weight, int position, long step) =>
        Philox.ToUniform(Philox.Block((uint)position, (uint)step, (uint)(step >> 32), weight.TensorId, (uint)run.Seed, (uint)(run.Seed >> 32)).Word0);
}
