namespace Saturn.Emulator;

/// <summary>How strictly the emulator watches the kernels it runs.</summary>
/// <param name="Checked">
/// Whether out-of-bounds and misaligned accesses, reads of freed or never-written memory, uninitialised shared memory, data races in shared memory between
/// barriers, divergent barriers, and oversize shared memory or registers are reported, each with kernel, block, thread, PTX line and <c>.cu</c> line.
/// </param>
/// <param name="Workers">Threads that execute blocks; by default one per processor.</param>
public sealed record EmulatorOptions(bool Checked = true, int? Workers = null);
