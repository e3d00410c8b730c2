using Saturn.Engine;

namespace Saturn.Prune;

/// <summary>A weight that reads a unit group: it loses columns when units go.</summary>
/// <param name="Weight">The filter or matrix.</param>
/// <param name="Bias">Its bias, or null.</param>
/// <param name="Positions">Positions that a flatten made of every channel; 1 otherwise. Column = position·channels + channel.</param>
/// <param name="Offset">First column of the group inside the weight, behind a concatenation; 0 otherwise.</param>
/// <param name="Stride">Columns from one position to the next.</param>
public sealed record Reader(Parameter Weight, Parameter? Bias, int Positions, int Offset, int Stride)
{
    /// <summary>Running mean of the normalization that follows, if one does: constants of removed units are folded there.</summary>
    public Parameter? RunningMean { get; internal set; }
}

/// <summary>An identity shortcut from one unit group into the sum before another.</summary>
/// <param name="Link">The block's shortcut object.</param>
/// <param name="Source">The group that is read.</param>
/// <param name="Beta">The vector that is added on the other side of the sum, β of a block's last norm; constants of removed source units are folded there. Null if there is none.</param>
public sealed record ShortcutEdge(Shortcut Link, UnitGroup Source, Parameter? Beta)
{
    /// <summary>The group behind the sum.</summary>
    public UnitGroup Target { get; internal set; } = null!;

    /// <summary>The source's channel that one of the target's reads, or −1.</summary>
    internal int SourceOf(int channel) => Link.Map is { } map ? map.Sources[channel] : channel;

    /// <summary>The target's channel that reads one of the source's, or −1.</summary>
    internal int OutputOf(int channel) => Link.Map is { } map ? map.Outputs[channel] : channel;
}

/// <summary>The channels after one activation, with everything that produces and reads them.</summary>
public sealed class UnitGroup
{
    private readonly int tracedChannels;

    internal UnitGroup(ChannelActivity activity)
    {
        Activity = activity;
        tracedChannels = activity.Channels;
    }

    /// <summary>The group's activity record; it carries the name and the channel count.</summary>
    public ChannelActivity Activity { get; }

    /// <summary>The name in reports, such as <c>layer1.0.conv1</c>.</summary>
    public string Name => Activity.Name;

    /// <summary>Channels now.</summary>
    public int Channels => Activity.Channels;

    /// <summary>Parameters whose rows (elements, of vectors) are these channels: weights, biases and normalizations added into the pre-activation.</summary>
    public IReadOnlyList<Parameter> Producers => ProducerList;

    /// <summary>Weights whose columns are these channels.</summary>
    public IReadOnlyList<Reader> Readers => ReaderList;

    /// <summary>Identity shortcuts into the sum before this group's activation.</summary>
    public IReadOnlyList<ShortcutEdge> Incoming => IncomingList;

    /// <summary>Identity shortcuts that read this group.</summary>
    public IReadOnlyList<ShortcutEdge> Outgoing => OutgoingList;

    /// <summary>Why no channel of the group may be removed; null if they may.</summary>
    public string? PinnedBecause { get; internal set; }

    internal List<Parameter> ProducerList { get; } = [];

    internal List<Reader> ReaderList { get; } = [];

    internal List<ShortcutEdge> IncomingList { get; } = [];

    internal List<ShortcutEdge> OutgoingList { get; } = [];

    /// <summary>Throws if channels were removed since the graph was traced, which makes the readers' columns wrong.</summary>
    internal void RequireFresh()
    {
        if (tracedChannels != Channels)
        {
            throw new InvalidOperationException($"{Name} had {tracedChannels} channels when its graph was traced, and has {Channels} now; trace the graph again after a removal.");
        }
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Name}: {Channels} channels";
}
