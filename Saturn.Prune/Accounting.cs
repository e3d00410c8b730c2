using Saturn.Engine;
using Saturn.Layers;

namespace Saturn.Prune;

/// <summary>
/// Counts units, parameters and floating-point operations, dense and as they are. A multiply-add is two operations; convolutions and linear layers count; a training step is three forward passes.
/// </summary>
public sealed class Accounting
{
    private readonly long denseFlops;
    private long absentWeights;

    /// <summary>Counts a network as the dense one.</summary>
    public Accounting(Module model, ChannelGraph graph)
        : this(DenseNetwork.Count(model, graph)) => Update(model, graph);

    /// <summary>Takes the dense counts from a checkpoint.</summary>
    public Accounting(DenseNetwork dense)
    {
        Dense = dense;
        denseFlops = dense.Layers.Sum(layer => layer.Flops);
    }

    /// <summary>The dense network.</summary>
    public DenseNetwork Dense { get; }

    /// <summary>Units of the dense network.</summary>
    public long TotalUnits => Dense.Groups.Sum(group => (long)group.Channels);

    /// <summary>Units now.</summary>
    public long LiveUnits { get; private set; }

    /// <summary>Channels of each group now, in the order of <see cref="DenseNetwork.Groups"/>.</summary>
    public IReadOnlyList<int> LiveChannels { get; private set; } = [];

    /// <summary>Layers now; those of a dropped branch are missing.</summary>
    public IReadOnlyList<LayerCost> Layers { get; private set; } = [];

    /// <summary>Parameters of the dense network, running statistics not counted.</summary>
    public long DenseParameters => Dense.Parameters;

    /// <summary>Counts of the dense network.</summary>
    public NetworkCounts DenseCounts => new(TotalUnits, DenseParameters, denseFlops);

    /// <summary>Counts of the network now.</summary>
    public NetworkCounts Counts => new(LiveUnits, Parameters, (long)Math.Round(Flops));

    /// <summary>Parameters now; weights that are masked or exactly zero under a method of single weights count as absent.</summary>
    public long Parameters { get; private set; }

    /// <summary>Forward operations an image now, of the weights that are present.</summary>
    public double Flops { get; private set; }

    /// <summary>Forward operations an image now, as dense kernels take them: absent weights of a tensor that is still there count.</summary>
    public long StructuralFlops { get; private set; }

    /// <summary>1 − units now / units of the dense network.</summary>
    public double NeuronSparsity => 1 - (double)LiveUnits / Math.Max(TotalUnits, 1);

    /// <summary>1 − parameters now / parameters of the dense network, normalizations and biases included.</summary>
    public double WeightSparsity => 1 - (double)Parameters / DenseParameters;

    /// <summary>The same over the weights of convolutions and linear layers alone.</summary>
    public double LayerWeightSparsity => 1 - (double)(Layers.Sum(layer => layer.Parameters) - absentWeights) / Dense.Layers.Sum(layer => layer.Parameters);

    /// <summary>Forward operations of the weights present over dense ones.</summary>
    public double InferenceFlopsRatio => Flops / denseFlops;

    /// <summary>Forward operations over dense ones where only whole units count as gone: what a GPU's dense kernels save.</summary>
    public double StructuralInferenceFlopsRatio => (double)StructuralFlops / denseFlops;

    /// <summary>Operations of training so far.</summary>
    public double TrainingFlops { get; set; }

    /// <summary>The same as dense kernels took them.</summary>
    public double StructuralTrainingFlops { get; set; }

    /// <summary>Operations that the dense network would have taken for the same steps.</summary>
    public double DenseTrainingFlops { get; set; }

    /// <summary>Training operations, census included, over those of the dense run of the same length.</summary>
    public double TrainingFlopsRatio => DenseTrainingFlops == 0 ? 1 : TrainingFlops / DenseTrainingFlops;

    /// <summary>The same ratio as dense kernels took them.</summary>
    public double StructuralTrainingFlopsRatio => DenseTrainingFlops == 0 ? 1 : StructuralTrainingFlops / DenseTrainingFlops;

    /// <summary>Counts one training step of so many images with the network as it is.</summary>
    public void CountStep(int images)
    {
        TrainingFlops += 3 * Flops * images;
        StructuralTrainingFlops += 3.0 * StructuralFlops * images;
        DenseTrainingFlops += 3.0 * denseFlops * images;
    }

    /// <summary>Counts forward passes of so many images, as a census makes one and a gradient three.</summary>
    public void CountForward(int images, int passes = 1)
    {
        TrainingFlops += passes * Flops * images;
        StructuralTrainingFlops += (double)passes * StructuralFlops * images;
    }

    /// <summary>
    /// Counts what a step takes beyond its own where the gradient of all weights is wanted, absent ones included: a dense weight gradient instead of a sparse one ("Rigging the Lottery", appendix).
    /// </summary>
    public void CountDenseGradient(int images) => TrainingFlops += (StructuralFlops - Flops) * images;

    /// <summary>Counts the network anew after a removal or a change of masks.</summary>
    /// <param name="model">The model.</param>
    /// <param name="graph">Its channel graph.</param>
    /// <param name="absent">Absent weights of each tensor; null where all are present.</param>
    public void Update(Module model, ChannelGraph graph, IReadOnlyDictionary<Parameter, long>? absent = null)
    {
        Dictionary<string, int> channels = graph.Groups.ToDictionary(group => group.Name, group => group.Channels);
        LiveChannels = [.. Dense.Groups.Select(group => channels.GetValueOrDefault(group.Name))];
        LiveUnits = LiveChannels.Sum(count => (long)count);
        absentWeights = absent?.Values.Sum() ?? 0;
        Parameters = DenseNetwork.CountParameters(model) - absentWeights;
        Layers = [.. graph.Layers];
        StructuralFlops = Layers.Sum(layer => layer.Flops);
        Flops = StructuralFlops;
        foreach (var (weight, count) in absent ?? new Dictionary<Parameter, long>())
        {
            if (count > 0 && graph.LayerOf(weight) is { } layer)
            {
                Flops -= layer.Flops * ((double)count / layer.Parameters);
            }
        }
    }
}

/// <summary>A unit group's name and dense width.</summary>
/// <param name="Name">The group's name.</param>
/// <param name="Channels">Channels.</param>
public sealed record GroupWidth(string Name, int Channels);

/// <summary>The counts of the network before anything was removed.</summary>
/// <param name="Groups">Unit groups in the order of the forward pass.</param>
/// <param name="Layers">Convolutions and linear layers in the order of the forward pass.</param>
/// <param name="Parameters">All trained parameters.</param>
public sealed record DenseNetwork(IReadOnlyList<GroupWidth> Groups, IReadOnlyList<LayerCost> Layers, long Parameters)
{
    internal static DenseNetwork Count(Module model, ChannelGraph graph) =>
        new([.. graph.Groups.Select(group => new GroupWidth(group.Name, group.Channels))], [.. graph.Layers], CountParameters(model));

    internal static long CountParameters(Module model) =>
        model.Parameters.Where(parameter => parameter.IsTrained).Sum(parameter => parameter.Shape.ElementCount);
}
