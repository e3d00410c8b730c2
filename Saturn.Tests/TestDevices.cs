using System.Globalization;
using System.Runtime.Intrinsics;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Diagnostics;
using Saturn.Tests.Cuda;
using Saturn.Training;

namespace Saturn.Tests;

/// <summary>
/// The devices that the test matrix runs on, by name: those that SATURN_TEST_DEVICES lists, such as <c>cpu,cuda:0</c>, or all that this machine has. Each fixture that takes a device name
/// runs once per entry; every test of a fixture gets a fresh device and fails if it leaves memory behind.
/// </summary>
public static class TestDevices
{
    private static readonly string[] Always = ["cpu", "emulated"];

    /// <summary>Why there is no CUDA device, or null.</summary>
    public static readonly string? WithoutCuda = FindCuda();

    public static readonly string[] Names = Environment.GetEnvironmentVariable("SATURN_TEST_DEVICES") is { Length: > 0 } listed
        ? listed.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
        : WithoutCuda is null ? [.. Always, "cuda:0"] : Always;

    private static readonly Dictionary<string, (nint Context, LibCudaDriver Driver)> Kept = [];

    /// <summary>The device names of the matrix, and the host with the tiles of the other vector width than its processor's own: for kernels whose tiles come in two widths.</summary>
    public static readonly string[] TileNames = Names.Contains("cpu") ? [.. Names, Vector512.IsHardwareAccelerated ? "cpu 256-bit" : "cpu 512-bit"] : Names;

    /// <summary>The CUDA devices, real and emulated, in the precisions that use tensor cores.</summary>
    public static readonly string[] TensorNames =
    [
        .. from name in Names where !name.StartsWith("cpu", StringComparison.Ordinal) from precision in (string[])["tf32", "bf16"] select $"{name} {precision}",
    ];

    /// <summary>The CUDA drivers, real and emulated, that the tests of the driver contract run on.</summary>
    public static readonly string[] DriverNames = ["emulated", .. Names.Where(name => name.StartsWith("cuda", StringComparison.Ordinal))];

    /// <summary>The devices of compute capability 9.0: the emulated one, and the GPU if it is one.</summary>
    public static readonly string[] HopperNames = ["emulated:sm_90a", .. Names.Where(IsHopper)];

    /// <summary>The device names of the matrix, and the host under observation, where every kernel call takes the way through the observer and is checked against a second run.</summary>
    public static readonly string[] ObservedNames = [.. Names, "cpu observed"];

    public static Device Open(string name) => name switch
    {
        // Three workers on any machine, so that scheduling differs from the serial order even where there are fewer processors.
        "cpu" => new CpuDevice(workers: 3),
        "cpu 256-bit" => new CpuDevice(3, wide: false),
        "cpu 512-bit" => new CpuDevice(3, wide: true),
        "cpu observed" => new ObservedDevice(new CpuDevice(workers: 3), new Observation(Tolerance: 1e-4)),
        _ when name.EndsWith(" tf32", StringComparison.Ordinal) => Open(name.Split(' ')[0], Precision.Tf32),
        _ when name.EndsWith(" bf16", StringComparison.Ordinal) => Open(name.Split(' ')[0], Precision.Bf16),
        _ => Open(name, Precision.Fp32),
    };

    private static Device Open(string name, Precision precision) => name switch
    {
        "emulated" => OpenEmulated(name, EmulatedArchitecture.Ampere, precision),
        "emulated:sm_90a" => OpenEmulated(name, EmulatedArchitecture.Hopper, precision),
        _ when name.StartsWith("cuda:", StringComparison.Ordinal) => OpenCuda(name, precision),
        _ => Devices.Open(name, precision: precision),
    };

    // Without NVRTC there is nothing to emulate: the test is skipped with the reason.
    private static CudaDevice OpenEmulated(string name, EmulatedArchitecture architecture, Precision precision)
    {
        Nvrtc.Require();
        return new CudaDevice(name, new EmulatedDriver(new EmulatorOptions(Checked: true, Workers: 3, Architecture: architecture)), precision: precision);
    }

    /// <summary>Whether a test has lost the context of a CUDA device, so that every further test on it would fail.</summary>
    public static bool IsContextLost()
    {
        foreach ((nint context, LibCudaDriver driver) in Kept.Values)
        {
            try
            {
                driver.SetCurrentContext(context);
                _ = driver.MemoryInformation();
                nint stream = driver.CreateStream();
                driver.SynchronizeStream(stream);
                driver.DestroyStream(stream);
            }
            catch (CudaException exception) when (exception.IsSticky)
            {
                return true;
            }
        }

        return false;
    }

    // Making a context takes a good part of a second: while one is retained, the devices of the tests share it.
    private static Device OpenCuda(string name, Precision precision)
    {
        if (!Kept.ContainsKey(name))
        {
            LibCudaDriver driver = LibCudaDriver.Open();
            Kept.Add(name, (driver.RetainPrimaryContext(int.Parse(name["cuda:".Length..], CultureInfo.InvariantCulture)), driver));
        }

        return Devices.Open(name, precision: precision);
    }

    private static bool IsHopper(string name)
    {
        if (!name.StartsWith("cuda:", StringComparison.Ordinal) || WithoutCuda is not null)
        {
            return false;
        }

        using LibCudaDriver driver = LibCudaDriver.Open();
        return driver.DeviceAttribute(int.Parse(name["cuda:".Length..], CultureInfo.InvariantCulture), CudaDeviceAttribute.ComputeCapabilityMajor) == 9;
    }

    private static string? FindCuda()
    {
        try
        {
            using LibCudaDriver driver = LibCudaDriver.Open();
            return driver.DeviceCount > 0 ? null : $"{driver.Description} has no device.";
        }
        catch (CudaException exception)
        {
            return exception.Message;
        }
    }
}
