using Saturn.Engine;
using Saturn.Layers;

namespace Saturn.Prune;

/// <summary>Shows the census its images: calls back with one batch after another, each of which lives during the call.</summary>
/// <param name="visit">Takes a batch [batch, height, width, channels].</param>
public delegate void CensusSample(Action<Tensor> visit);

/// <summary>
/// Runs a fixed sample of training images through the network, in evaluation mode and through the training kernels, and collects extrema and sums of every unit.
/// </summary>
public static class Census
{
    /// <summary>Takes a census of all groups of a graph. The model's mode is restored.</summary>
    public static IReadOnlyDictionary<UnitGroup, ChannelStatistics> Take(Module model, ChannelGraph graph, CensusSample sample)
    {
        bool training = model.IsTraining;
        model.SetTraining(false);
        foreach (UnitGroup group in graph.Groups)
        {
            group.Activity.BeginCensus();
        }

        using (InferenceScope inference = new())
        {
            sample(batch =>
            {
                using TensorScope scope = new();
                model.Forward(batch);
            });
        }

        Dictionary<UnitGroup, ChannelStatistics> results = [];
        foreach (UnitGroup group in graph.Groups)
        {
            results[group] = group.Activity.EndCensus();
        }

        model.SetTraining(training);
        return results;
    }
}
