using System.Globalization;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Diagnostics;

namespace Saturn.Training;

/// <summary>Turns device names into devices; the only place that knows every kind, and that reads from the environment how they are observed. A device is never chosen silently.</summary>
public static class Devices
{
    private const string CudaPrefix = "cuda:";
    private const double DefaultTolerance = 1e-4;

    /// <summary>Of runs whose products round their operands to 10 bits of mantissa while the second run does not.</summary>
    private const double DefaultToleranceOfTf32 = 3e-3;

    private static int traces;

    /// <summary>The names that <see cref="Open"/> understands.</summary>
    public static IReadOnlyList<string> Names { get; } = ["cpu", "cuda", "cuda:N", "emulated", "emulated:fast", "emulated:sm_90a"];

    /// <summary>The device for what names none: <c>SATURN_DEVICE</c>, else the host processor.</summary>
    public static string Default => EnvironmentVariable.Device.Value ?? "cpu";

    /// <summary>Opens a device by name, with the observers that the environment asks for around it.</summary>
    /// <param name="name">
    /// <c>cpu</c>; <c>cuda:N</c>, GPU number N of the CUDA driver (<c>cuda</c> is <c>cuda:0</c>); <c>emulated</c>, a GPU in software that runs the CUDA kernels and checks
    /// every access; <c>emulated:fast</c>, the same without checks; or <c>emulated:sm_90a</c>, a GPU of compute capability 9.0 in software.
    /// </param>
    /// <param name="threads">Worker threads of the host processor or the emulator; null for one a processor.</param>
    /// <param name="precision">In which arithmetic products run; the host processor has float32 only.</param>
    /// <exception cref="ArgumentException">The name is unknown, there is no such GPU, or a variable of the environment holds what it cannot; the message says what is known.</exception>
    /// <exception cref="CudaException">There is no CUDA driver or no GPU; the message says what was searched and what to do.</exception>
    public static Device Open(string name, int? threads = null, Precision precision = Precision.Fp32)
    {
        int debug = (int)EnvironmentVariable.Debug.Number(0, 5);
        Observation? observation = Observation(debug, precision);
        Device device = OpenAlone(name, threads, precision);
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
    private static Observation? Observation(int debug, Precision precision)
    {
        double validate = EnvironmentVariable.Validate.Number(0, 1);
        if (validate > 0 && precision == Precision.Bf16)
        {
            throw new ArgumentException(
                $"{EnvironmentVariable.Validate.Name} runs every kernel again on the CPU, which has no bfloat16, and does not go with --precision bf16; use tf32 or fp32, or the emulated device, which checks every access.");
        }

        double defaultTolerance = precision == Precision.Tf32 ? DefaultToleranceOfTf32 : DefaultTolerance;
        string? trace = EnvironmentVariable.Trace.Value;
        if (trace is not null && Interlocked.Increment(ref traces) is > 1 and int number)
        {
            trace = Path.ChangeExtension(trace, null) + $"-{number}" + Path.GetExtension(trace);
        }

        return debug >= 2 || EnvironmentVariable.Sync.IsOn || validate > 0 || trace is not null
            ? new Observation(debug >= 2, debug >= 3, trace, validate == 0 ? null : validate == 1 ? defaultTolerance : validate)
            : null;
    }

    private static Device OpenAlone(string name, int? threads, Precision precision) => name switch
    {
        "cpu" when precision != Precision.Fp32 => throw new ArgumentException(
            $"--precision {precision.Name()} needs a CUDA device (--device cuda:0, or emulated), but the device is 'cpu', which has fp32 only."),
        "cpu" => new CpuDevice(threads),
        "cuda" => OpenCuda("cuda:0", LibCudaDriver.Open(), 0, precision),
        "emulated" => OpenCuda(name, new EmulatedDriver(new EmulatorOptions(Checked: true, Workers: threads)), 0, precision),
        "emulated:fast" => OpenCuda(name, new EmulatedDriver(new EmulatorOptions(Checked: false, Workers: threads)), 0, precision),
        "emulated:sm_90a" => OpenCuda(name, new EmulatedDriver(new EmulatorOptions(Checked: true, Workers: threads, Architecture: EmulatedArchitecture.Hopper)), 0, precision),
        _ when name.StartsWith(CudaPrefix, StringComparison.Ordinal)
            && int.TryParse(name.AsSpan(CudaPrefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int ordinal) => OpenCuda(name, LibCudaDriver.Open(), ordinal, precision),
        _ => throw new ArgumentException($"Unknown device '{name}'; this build knows: {string.Join(", ", Names)}."),
    };

    /// <summary>
    /// One line for each device of this machine, <c>cuda:1: …</c>, and where there is no CUDA driver or GPU, why not and what was searched.
    /// </summary>
    public static IEnumerable<string> Describe()
    {
        foreach (string name in (string[])["cpu", "emulated"])
        {
            using Device device = OpenAlone(name, null, Precision.Fp32);
            yield return $"device {name}: {device.Description}";
        }

        foreach (string line in DescribeCuda())
        {
            yield return line;
        }
    }

    private static List<string> DescribeCuda()
    {
        List<string> lines = [];
        try
        {
            using LibCudaDriver driver = LibCudaDriver.Open();
            lines.Add(driver.Description);
            for (int i = 0; i < driver.DeviceCount; i++)
            {
                lines.Add(
                    $"device cuda:{i}: {driver.DeviceName(i)}, {driver.DeviceAttribute(i, CudaDeviceAttribute.MultiprocessorCount)} multiprocessors, {driver.TargetArchitecture(i)}");
            }
        }
        catch (CudaException exception)
        {
            lines.Add("no CUDA device: " + exception.Message);
        }

        return lines;
    }

    private static CudaDevice OpenCuda(string name, ICudaDriver driver, int ordinal, Precision precision)
    {
        try
        {
            return new CudaDevice(name, driver, ordinal, precision);
        }
        catch
        {
            driver.Dispose();
            throw;
        }
    }
}
