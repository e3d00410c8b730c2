using Saturn.Engine;
using Saturn.Kernels.Families;

namespace Saturn.Prune;

/// <summary>Decides which units of a group go, from what the census saw of them.</summary>
public interface IPruningCriterion
{
    /// <summary>Marks the units to remove.</summary>
    /// <param name="group">The group.</param>
    /// <param name="statistics">Extrema and sums over the census images.</param>
    /// <param name="remove">One flag a channel, false at first.</param>
    void Select(UnitGroup group, ChannelStatistics statistics, Span<bool> remove);
}

/// <summary>
/// Demon Pruning's criterion: a unit is dead when its output was never active on the census. ReLU and leaky ReLU: no value above ε; GELU and SiLU: no magnitude of ε or more. A unit
/// that is constant, whatever its value, carries no information and goes as well: its constant is folded into the readers. A unit whose outputs were not all finite stays.
/// </summary>
/// <param name="constantToo">Whether constant units go as well; they must then be folded.</param>
public sealed class DeadUnits(bool constantToo = true) : IPruningCriterion
{
    /// <inheritdoc/>
    public void Select(UnitGroup group, ChannelStatistics statistics, Span<bool> remove)
    {
        ChannelActivity activity = group.Activity;
        for (int c = 0; c < remove.Length; c++)
        {
            float maximum = statistics.Maximum[c];
            float minimum = statistics.Minimum[c];
            bool dead = activity.Criterion == ActivityCriterion.AboveThreshold
                ? maximum <= activity.Threshold
                : maximum < activity.Threshold && -minimum < activity.Threshold;

            // One row says nothing about constancy.
            bool constant = constantToo && maximum == minimum && statistics.Rows > 1;
            remove[c] = (dead || constant) && double.IsFinite(statistics.Sum[c]);
        }
    }
}
