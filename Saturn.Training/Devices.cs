using Saturn.Kernels;
using Saturn.Kernels.Cpu;

namespace Saturn.Training;

/// <summary>Turns device names into devices; the only place that knows every kind. A device is never chosen silently.</summary>
public static class Devices
{
    /// <summary>The names that <see cref="Open"/> understands.</summary>
    public static IReadOnlyList<string> Names { get; } = ["cpu"];

    /// <summary>Opens a device by name.</summary>
    /// <param name="name">Such as <c>cpu</c>.</param>
    /// <param name="threads">Worker threads of the host processor; null for one a processor.</param>
    /// <exception cref="ArgumentException">The name is unknown; the message lists those that are known.</exception>
    public static Device Open(string name, int? threads = null) => name switch
    {
        "cpu" => new CpuDevice(threads),
        _ => throw new ArgumentException($"Unknown device '{name}'; this build knows: {string.Join(", ", Names)}."),
    };
}
