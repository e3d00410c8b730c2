namespace Saturn.Engine;

/// <summary>How far back a channel may have been active and still count as live for the noise.</summary>
public enum LivenessMemory
{
    /// <summary>In the forward passes of this step.</summary>
    Batch,

    /// <summary>In the forward passes of the last <see cref="ChannelActivity.WindowLength"/> steps, this one included.</summary>
    Window,

    /// <summary>In the last census, whatever came after it.</summary>
    Census,
}
