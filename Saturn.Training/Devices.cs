using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Diagnostics;

namespace Saturn.Training;

/// <summary>Turns device names into devices; the only place that knows every kind, and that reads from the environment how they are observed. A device is never chosen silently.</summary>
public static class Devices
{
    private const double DefaultTolerance = 1e-4;

    private static int traces;

    /// <summary>The names that <see cref="Open"/> understands.</summary>
    public static IReadOnlyList<string> Names { get; } = ["cpu"];

    /// <summary>The device for what names none: <c>SATURN_DEVICE</c>, else the host processor.</summary>
    public static string Default => EnvironmentVariable.Device.Value ?? "cpu";

    /// <summary>Opens a device by name, with the observers that the environment asks for around it.</summary>
    /// <param name="name">Such as <c>cpu</c>.</param>
    /// <param name="threads">Worker threads of the host processor; null for one a processor.</param>
    /// <exception cref="ArgumentException">The name is unknown, or a variable of the environment holds what it cannot; the message says what is known.</exception>
    public static Device Open(string name, int? threads = null)
    {
        int debug = (int)EnvironmentVariable.Debug.Number(0, 5);
        Observation? observation = Observation(debug);
        Device device = name switch
        {
            "cpu" => new CpuDevice(threads),
            _ => throw new ArgumentException($"Unknown device '{name}'; this build knows: {string.Join(", ", Names)}."),
        };
        if (debug >= 1)
        {
            Console.Error.WriteLine($"device {device.Name}: {device.Description}");
        }

        if (observation is null)
        {
            return device;
        }

        try
        {
            return new ObservedDevice(device, observation);
        }
        catch
        {
            device.Dispose();
            throw;
        }
    }

    /// <summary>What the environment asks to observe; null for nothing.</summary>
    private static Observation? Observation(int debug)
    {
        double validate = EnvironmentVariable.Validate.Number(0, 1);
        string? trace = EnvironmentVariable.Trace.Value;
        if (trace is not null && Interlocked.Increment(ref traces) is > 1 and int number)
        {
            trace = Path.ChangeExtension(trace, null) + $"-{number}" + Path.GetExtension(trace);
        }

        return debug >= 2 || EnvironmentVariable.Sync.IsOn || validate > 0 || trace is not null
            ? new Observation(debug >= 2, debug >= 3, trace, validate == 0 ? null : validate == 1 ? DefaultTolerance : validate)
            : null;
    }
}
