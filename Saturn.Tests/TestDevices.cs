using System.Runtime.Intrinsics;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Cuda;
using Saturn.Training;

namespace Saturn.Tests;

/// <summary>
/// The devices that the test matrix runs on, by name: those that SATURN_TEST_DEVICES lists, such as <c>cpu,cuda:0</c>, or all that this machine has. Each fixture that takes a device name
/// runs once per entry; every test of a fixture gets a fresh device and fails if it leaves memory behind.
/// </summary>
public static class TestDevices
{
    // The emulator joins as soon as it has a kernel for every family.
    private static readonly string[] Always = ["cpu", "emulated"];

    /// <summary>Why there is no CUDA device, or null.</summary>
    public static readonly string? WithoutCuda = FindCuda();

    public static readonly string[] Names = Environment.GetEnvironmentVariable("SATURN_TEST_DEVICES") is { Length: > 0 } listed
        ? listed.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
        : WithoutCuda is null ? [.. Always, "cuda:0"] : Always;

    /// <summary>The same, and the host with the tiles of the other vector width than its processor's own: for kernels whose tiles come in two widths.</summary>
    public static readonly string[] TileNames = Names.Contains("cpu") ? [.. Names, Vector512.IsHardwareAccelerated ? "cpu 256-bit" : "cpu 512-bit"] : Names;

    /// <summary>The CUDA drivers, real and emulated, that the tests of the driver contract run on.</summary>
    public static readonly string[] DriverNames = ["emulated", .. Names.Where(name => name.StartsWith("cuda", StringComparison.Ordinal))];

    public static Device Open(string name) => name switch
    {
        // Three workers on any machine, so that scheduling differs from the serial order even where there are fewer processors.
        "cpu" => new CpuDevice(workers: 3),
        "cpu 256-bit" => new CpuDevice(3, wide: false),
        "cpu 512-bit" => new CpuDevice(3, wide: true),
        "emulated" => new CudaDevice(name, new EmulatedDriver(new EmulatorOptions(Checked: true, Workers: 3))),
        _ => Devices.Open(name),
    };

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
