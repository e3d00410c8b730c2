using Saturn.Kernels;
using Saturn.Kernels.Cuda;

namespace Saturn.Bench.Gpu;

/// <summary>
/// What a GPU can do at best: the rates that shares are counted against. Arithmetic limits are what well-tuned products reach on the device, known for some devices; the memory limit is known, or
/// measured by a copy.
/// </summary>
/// <param name="Source">Where the numbers come from, for the table's notes.</param>
/// <param name="GigabytesPerSecond">Memory: bytes read plus bytes written.</param>
/// <param name="Fp32Teraflops">Float32 without tensor cores; null if not known.</param>
/// <param name="Tf32Teraflops">TF32 on tensor cores; null if not known.</param>
/// <param name="Bf16Teraflops">bfloat16 on tensor cores; null if not known.</param>
public sealed record DeviceLimits(string Source, double GigabytesPerSecond, double? Fp32Teraflops, double? Tf32Teraflops, double? Bf16Teraflops)
{
    // By a part of the driver's name for the device; the first that fits. H100 cards differ in memory, so theirs is measured.
    private static readonly (string Name, double? Memory, double Fp32, double Tf32, double Bf16)[] Known =
    [
        ("H200", 4300, 67, 400, 790),
        ("H100", null, 67, 400, 790),
    ];

    /// <summary>The limits of a device on hardware.</summary>
    public static DeviceLimits Of(CudaDevice device)
    {
        string name = device.Context.Driver.DeviceName(device.Context.Ordinal);
        foreach (var known in Known)
        {
            if (name.Contains(known.Name, StringComparison.Ordinal))
            {
                return known.Memory is { } memory
                    ? new DeviceLimits($"known of {known.Name}", memory, known.Fp32, known.Tf32, known.Bf16)
                    : new DeviceLimits($"arithmetic known of {known.Name}, memory measured by a copy", MeasureCopy(device), known.Fp32, known.Tf32, known.Bf16);
            }
        }

        return new DeviceLimits("memory measured by a copy, arithmetic not known", MeasureCopy(device), null, null, null);
    }

    /// <summary>The limit of an arithmetic.</summary>
    public double? Teraflops(Precision precision) => precision switch
    {
        Precision.Tf32 => Tf32Teraflops,
        Precision.Bf16 => Bf16Teraflops,
        _ => Fp32Teraflops,
    };

    /// <summary>The least milliseconds that bytes and operations take; operations count for products alone.</summary>
    public double FloorMilliseconds(Precision precision, double bytes, double operations) =>
        Math.Max(bytes / GigabytesPerSecond / 1e6, Teraflops(precision) is { } limit ? operations / limit / 1e9 : 0);

    private static double MeasureCopy(CudaDevice device)
    {
        // Far beyond any cache of hardware; the emulator has none.
        long bytes = device.Kind == DeviceKind.Emulated ? 1L << 20 : 512L << 20;
        DeviceBuffer source = device.Memory.Allocate(bytes), target = device.Memory.Allocate(bytes);
        try
        {
            device.Clear(source);
            using LaunchTimer timer = new(device);
            double[] milliseconds = timer.Measure([() => device.Copy(source, target)], launches: 10, warmup: 2, repetitions: 10);
            return 2 * bytes / Summary.Of(milliseconds).Median / 1e6;
        }
        finally
        {
            device.Memory.Free(source);
            device.Memory.Free(target);
        }
    }
}
