namespace Saturn.Kernels.Cuda;

/// <summary>How a kernel is spread over the device: blocks of the grid, threads of a block, and dynamic shared memory of a block.</summary>
/// <param name="GridX">Blocks in x.</param>
/// <param name="GridY">Blocks in y, at most 65,535.</param>
/// <param name="GridZ">Blocks in z, at most 65,535.</param>
/// <param name="BlockX">Threads in x.</param>
/// <param name="BlockY">Threads in y.</param>
/// <param name="BlockZ">Threads in z.</param>
/// <param name="SharedBytes">Dynamic shared memory of a block in bytes.</param>
public readonly record struct LaunchGeometry(uint GridX, uint GridY, uint GridZ, uint BlockX, uint BlockY = 1, uint BlockZ = 1, uint SharedBytes = 0)
{
    /// <summary>A one-dimensional grid of one-dimensional blocks.</summary>
    public static LaunchGeometry Linear(long blocks, int threads, int sharedBytes = 0) => new(checked((uint)blocks), 1, 1, (uint)threads, 1, 1, (uint)sharedBytes);

    /// <summary>
    /// Blocks of <paramref name="threads"/> that cover <paramref name="items"/> in a grid-stride loop: as many as there are items for, at most
    /// <paramref name="maximumBlocks"/>.
    /// </summary>
    public static LaunchGeometry Cover(long items, int threads, long maximumBlocks = 132 * 16) =>
        Linear(Math.Clamp((items + threads - 1) / threads, 1, maximumBlocks), threads);

    /// <inheritdoc/>
    public override string ToString() => $"grid ({GridX}, {GridY}, {GridZ}), block ({BlockX}, {BlockY}, {BlockZ}), {SharedBytes} bytes of dynamic shared memory";
}
