using System.Runtime.InteropServices;

namespace Saturn.Cli;

/// <summary>A run that a signal has stopped in good order.</summary>
internal sealed class InterruptedException(PosixSignal signal, string message) : Exception(message)
{
    /// <summary>128 + the signal's number, as shells count it.</summary>
    public int ExitCode { get; } = 128 + (signal == PosixSignal.SIGTERM ? 15 : 2);
}
