using Saturn.Engine;
using Saturn.Kernels;

namespace Saturn.Prune.Scores;

/// <summary>Uniform random numbers, which the scores of every other method must beat; drawn by the run's seed and the unit's number in the dense network.</summary>
public sealed class RandomScore : IUnitScore
{
    /// <inheritdoc/>
    public IReadOnlyDictionary<UnitGroup, double[]> Score(PruningRun run) => run.Graph.Groups
        .Where(group => group.PinnedBecause is null && group.Channels > 0)
        .ToDictionary(group => group, group => Enumerable.Range(0, group.Channels).Select(c => Draw(run.Seed, group, group.Activity.OriginalChannels?[c] ?? c)).ToArray());

    private static double Draw(ulong seed, UnitGroup group, int channel) =>
        Philox.Block((uint)channel, 0, 0, StreamId.Of(group.Name), (uint)seed, (uint)(seed >> 32)).Word0 / 4294967296.0;
}
