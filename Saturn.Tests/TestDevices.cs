using System.Runtime.Intrinsics;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Diagnostics;

namespace Saturn.Tests;

/// <summary>
/// The devices that the test matrix runs on, by name. Each fixture that takes a device name runs once per entry; every test of a fixture
/// gets a fresh device and fails if it leaves memory behind.
/// </summary>
public static class TestDevices
{
    public static readonly string[] Names = ["cpu"];

    /// <summary>The same, and the host with the tiles of the other vector width than its processor's own: for kernels whose tiles come in two widths.</summary>
    public static readonly string[] TileNames = [.. Names, Vector512.IsHardwareAccelerated ? "cpu 256-bit" : "cpu 512-bit"];

    /// <summary>The same, and the host under observation, where every kernel call takes the way through the observer and is checked against a second run.</summary>
    public static readonly string[] ObservedNames = [.. Names, "cpu observed"];

    public static Device Open(string name) => name switch
    {
        // Three workers on any machine, so that scheduling differs from the serial order even where there are fewer processors.
        "cpu" => new CpuDevice(workers: 3),
        "cpu 256-bit" => new CpuDevice(3, wide: false),
        "cpu 512-bit" => new CpuDevice(3, wide: true),
        "cpu observed" => new ObservedDevice(new CpuDevice(workers: 3), new Observation(Tolerance: 1e-4)),
        _ => throw new ArgumentException($"Unknown test device '{name}'; known: {string.Join(", ", Names)}."),
    };
}
