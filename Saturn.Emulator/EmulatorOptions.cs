namespace Saturn.Emulator;

/// <summary>How strictly the emulator watches the kernels it runs, and how large its device is.</summary>
/// <param name="Checked">
/// Whether out-of-bounds and misaligned accesses, reads of freed or never-written memory, uninitialised shared memory, data races in shared memory between
/// barriers, divergent barriers, and oversize shared memory or registers are reported, each with kernel, block, thread, PTX line and <c>.cu</c> line.
/// </param>
/// <param name="Workers">Threads that execute blocks; by default one per processor.</param>
/// <param name="MemoryBytes">Memory of the device; an allocation beyond it fails as on hardware.</param>
/// <param name="Architecture">Which device is emulated.</param>
/// <param name="Traffic">Where bytes and multiply-adds of all launches are counted; null counts nothing.</param>
public sealed record EmulatorOptions(
    bool Checked = true, int? Workers = null, long MemoryBytes = 4L << 30, EmulatedArchitecture Architecture = EmulatedArchitecture.Ampere, MemoryTraffic? Traffic = null);

/// <summary>The devices that the emulator can stand for.</summary>
public enum EmulatedArchitecture
{
    /// <summary>Compute capability 8.0 (<c>compute_80</c>).</summary>
    Ampere,

    /// <summary>Compute capability 9.0 with bulk copies and products of warpgroups (<c>compute_90a</c>).</summary>
    Hopper,
}
