namespace Saturn.Layers.Models;

/// <summary>
/// Channel counts of unit groups by name; a group that is not named has its dense width. It lets a model be built at its pruned widths. 0 for a residual block's
/// inner group builds the block without its branch.
/// </summary>
public sealed class ChannelPlan
{
    private readonly Dictionary<string, int> channels;
    private readonly double share = 1;

    /// <summary>A plan from names and counts.</summary>
    public ChannelPlan(IReadOnlyDictionary<string, int>? channels = null) => this.channels = channels is null ? [] : new Dictionary<string, int>(channels);

    private ChannelPlan(double share)
        : this() => this.share = share;

    /// <summary>The groups that the plan names.</summary>
    public IReadOnlyCollection<string> Groups => channels.Keys;

    /// <summary>The channels of a group that keeps at least one.</summary>
    /// <exception cref="ArgumentException">The plan's count is not in 1 … dense.</exception>
    public int this[string group, int dense] => Count(group, dense, 1);

    /// <summary>A plan that gives every group the same share of its dense channels, rounded, but at least one: for measurements without a checkpoint.</summary>
    public static ChannelPlan OfShare(double share) =>
        share is > 0 and <= 1 ? new ChannelPlan(share) : throw new ArgumentOutOfRangeException(nameof(share), $"The share must lie in (0, 1], but is {share}.");

    /// <summary>The channels of a group that may have lost all of them.</summary>
    /// <exception cref="ArgumentException">The plan's count is not in 0 … dense.</exception>
    public int OrNone(string group, int dense) => Count(group, dense, 0);

    private int Count(string group, int dense, int least)
    {
        int count = channels.TryGetValue(group, out int planned) ? planned : Math.Max(1, (int)Math.Round(dense * share));
        return count >= least && count <= dense
            ? count
            : throw new ArgumentException($"The channel plan gives {group} {count} channels, but {least} to {dense} are possible.");
    }
}
