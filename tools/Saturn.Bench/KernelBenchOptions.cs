namespace Saturn.Bench;

/// <summary>What the kernel benches have in common.</summary>
/// <param name="Command">The command line that is being run, for the table's heading.</param>
/// <param name="Threads">Threads that the device and the peer use.</param>
/// <param name="Repetition">How often to measure.</param>
/// <param name="Peer">The peer to race against, or null to measure alone.</param>
/// <param name="Filter">Only layers whose name contains this text, upper and lower case alike; null for all.</param>
public sealed record KernelBenchOptions(string Command, int Threads, Repetition Repetition, PeerProcess? Peer = null, string? Filter = null)
{
    /// <summary>Whether a layer is asked for.</summary>
    public bool Includes(string layer) => Filter is null || layer.Contains(Filter, StringComparison.OrdinalIgnoreCase);
}
