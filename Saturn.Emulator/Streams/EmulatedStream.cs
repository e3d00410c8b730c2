namespace Saturn.Emulator.Streams;

/// <summary>A stream. All streams share one queue in the order of the calls, so a stream is but the recording that its calls go into, if any.</summary>
internal sealed class EmulatedStream
{
    /// <summary>The recording under way, or null.</summary>
    public Recording? Recording { get; set; }
}
