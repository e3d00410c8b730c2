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
    /// <summary>Takes a census of all groups of a graph. The modules' modes are restored, and nothing is left behind if the sample or the network throws.</summary>
    /// <exception cref="InvalidOperationException">The sample had no images, or channels were removed since the graph was traced.</exception>
    public static IReadOnlyDictionary<UnitGroup, ChannelStatistics> Take(Module model, ChannelGraph graph, CensusSample sample)
    {
        foreach (UnitGroup group in graph.Groups)
        {
            group.RequireFresh();
        }

        Dictionary<UnitGroup, ChannelStatistics> results = [];
        foreach (UnitGroup group in graph.Groups)
        {
            group.Activity.BeginCensus();
        }

        try
        {
            using EvaluationMode evaluation = new(model);
            using InferenceScope inference = new();
            sample(batch =>
            {
                using TensorScope scope = new();
                model.Forward(batch);
            });
        }
        finally
        {
            foreach (UnitGroup group in graph.Groups)
            {
                results[group] = group.Activity.EndCensus();
            }
        }

        foreach (var (group, seen) in results)
        {
            if (seen.Rows == 0)
            {
                throw new InvalidOperationException($"The census saw no output of {group.Name}: without images every unit would count as dead. Give it at least one batch.");
            }
        }

        return results;
    }
}
