using Saturn.Kernels;
using Saturn.Kernels.Cpu;

namespace Saturn.Tests;

/// <summary>
/// The devices that the test matrix runs on, by name. Each fixture that takes a device name runs once per entry; every test of a fixture
/// gets a fresh device and fails if it leaves memory behind.
/// </summary>
public static class TestDevices
{
    public static readonly string[] Names = ["cpu"];

    public static Device Open(string name) => name switch
    {
        // Three workers on any machine, so that scheduling differs from the serial order even where there are fewer processors.
        "cpu" => new CpuDevice(workers: 3),
        _ => throw new ArgumentException($"Unknown test device '{name}'; known: {string.Join(", ", Names)}."),
    };
}
