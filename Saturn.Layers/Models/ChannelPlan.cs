namespace Saturn.Layers.Models;

/// <summary>
/// Channel counts of unit groups by name; a group that is not named has its dense width. It lets a model be built at its pruned widths. 0 for a residual block's
/// inner group builds the block without its branch.
/// </summary>
public sealed class ChannelPlan
{
    private readonly Dictionary<string, int> channels;

    /// <summary>A plan from names and counts.</summary>
    public ChannelPlan(IReadOnlyDictionary<string, int>? channels = null) => this.channels = channels is null ? [] : new Dictionary<string, int>(channels);

    /// <summary>The channels of a group.</summary>
    public int this[string group, int dense] => channels.GetValueOrDefault(group, dense);
}
