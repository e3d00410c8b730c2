using Saturn.Engine;

namespace Saturn.Prune;

/// <summary>Some channels of a value: a group, and where it begins in a concatenation.</summary>
internal readonly record struct ChannelSegment(UnitGroup Group, int Offset);

/// <summary>
/// What the trace knows of the channels of one value on the tape: either they are units, of one group or of several that were concatenated, or they are on their way to an
/// activation, and then who has produced them so far.
/// </summary>
internal sealed class ChannelFlow
{
    /// <summary>The group, if the value is one's output (or a pooled, flattened view of it).</summary>
    public UnitGroup? Group { get; set; }

    /// <summary>Positions that a flatten made of every channel.</summary>
    public int Positions { get; init; } = 1;

    /// <summary>The parts of a concatenation, those that are groups.</summary>
    public List<ChannelSegment>? Concatenated { get; set; }

    /// <summary>All channels of a concatenation.</summary>
    public int Width { get; set; }

    /// <summary>Parameters whose rows are these channels, while no activation has closed the list.</summary>
    public List<Parameter> Producers { get; } = [];

    /// <summary>Identity shortcuts that were added.</summary>
    public List<ShortcutEdge> Shortcuts { get; } = [];

    /// <summary>The readers that made this value, so that a following norm can tell them its running mean.</summary>
    public List<Reader> Readers { get; } = [];

    /// <summary>A vector that was added last, unscaled: a constant may be added to it instead of the value. Null if there is none.</summary>
    public Parameter? Shift { get; set; }

    /// <summary>Why no channel may be removed.</summary>
    public string? PinnedBecause { get; set; }

    /// <summary>Whether the channels are units already.</summary>
    public bool IsUnits => Group is not null || Concatenated is not null;

    /// <summary>The groups in this value.</summary>
    public IEnumerable<ChannelSegment> Segments() => Concatenated ?? (Group is null ? [] : [new ChannelSegment(Group, 0)]);

    /// <summary>Columns from one flattened position to the next.</summary>
    public int Channels(ChannelSegment segment) => Concatenated is null ? segment.Group.Channels : Width;

    /// <summary>Takes over what is known of a value that goes into this one channel by channel.</summary>
    public void TakePreActivation(ChannelFlow other)
    {
        if (other.IsUnits)
        {
            other.Pin("it is read by a normalization or activation of its own");
            PinnedBecause ??= "it follows another group without a weight between";
            return;
        }

        Producers.AddRange(other.Producers);
        Shortcuts.AddRange(other.Shortcuts);
        PinnedBecause ??= other.PinnedBecause;
    }

    /// <summary>The flow behind a flatten.</summary>
    public ChannelFlow Flattened(int positions) => positions == 1
        ? this
        : new ChannelFlow
        {
            Group = Group,
            Positions = Positions * positions,
            Concatenated = Concatenated,
            Width = Width,
            PinnedBecause = PinnedBecause ?? (IsUnits ? null : "its channels were flattened before their activation"),
        };

    /// <summary>Forbids removals in all groups of this value.</summary>
    public void Pin(string reason)
    {
        foreach (ChannelSegment segment in Segments())
        {
            segment.Group.PinnedBecause ??= reason;
        }
    }
}
