namespace Saturn.Kernels.Cpu;

/// <summary>
/// The channels that a convolution or matrix product computes, in vectors of sixteen, and those in blocks that one register tile takes. The 512-bit tiles take pairs of vectors, and
/// three at the end where the number is odd; the 256-bit tile takes one.
/// </summary>
/// <param name="channels">Channels; at least 1.</param>
/// <param name="wide">Whether the tiles are the 512-bit ones.</param>
internal readonly struct ChannelBlocks(int channels, bool wide)
{
    /// <summary>Vectors of sixteen channels.</summary>
    public int Vectors => (channels + 15) / 16;

    /// <summary>Vectors of the block that begins at a vector.</summary>
    public int WidthAt(int vector) => !wide ? 1 : Vectors - vector == 3 ? 3 : Math.Min(2, Vectors - vector);

    /// <summary>Where a vector's weights stand in a packed filter: a block's vectors stand side by side, depth by depth.</summary>
    /// <param name="vector">The vector.</param>
    /// <param name="depth">Products that each output sums up.</param>
    /// <param name="step">Floats from one depth to the next.</param>
    /// <returns>Floats from the start of the packed weights.</returns>
    public long PackedOffset(int vector, long depth, out int step)
    {
        int block = !wide ? vector : Vectors > 1 ? Math.Min(vector / 2, Vectors / 2 - 1) * 2 : 0;
        step = WidthAt(block) * 16;
        return block * 16L * depth + (vector - block) * 16;
    }
}
