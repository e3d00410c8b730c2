using System.CommandLine;

namespace Saturn.Cli;

/// <summary><c>saturn bench</c>: kernels and whole steps, beside PyTorch where it is installed.</summary>
internal static class BenchCommand
{
    public static Command Create() => new("bench", "Measure kernels or whole training steps, beside PyTorch where it is installed.");
}
