using System.Globalization;

namespace Saturn.Emulator;

/// <summary>
/// What kernels asked of the memory and the multipliers, counted lane by lane over all launches of the driver that it was given to (<see cref="EmulatorOptions"/>). Bytes are those that lanes asked for:
/// what several lanes or blocks ask for again counts again, and caches are not modelled, so a count is a kernel's traffic at its first-level cache. Safe for any number of threads.
/// </summary>
public sealed class MemoryTraffic
{
    private const int WarpLanes = 32;

    private long loadedBytes;
    private long storedBytes;
    private long multiplyAdds;
    private long matrixMultiplyAdds;
    private long warpInstructions;

    /// <summary>Bytes that lanes loaded from global memory, asynchronous and bulk copies into shared memory included; the zeros that a copy writes instead of what lies outside of an array are not.</summary>
    public long LoadedBytes => Volatile.Read(ref loadedBytes);

    /// <summary>Bytes that lanes stored to global memory, atomic operations included.</summary>
    public long StoredBytes => Volatile.Read(ref storedBytes);

    /// <summary>Fused multiply-adds of single lanes, packed pairs counted twice.</summary>
    public long MultiplyAdds => Volatile.Read(ref multiplyAdds);

    /// <summary>Multiply-adds inside matrix instructions: m·n·k a warp or warpgroup.</summary>
    public long MatrixMultiplyAdds => Volatile.Read(ref matrixMultiplyAdds);

    /// <summary>Warp instructions.</summary>
    public long WarpInstructions => Volatile.Read(ref warpInstructions);

    /// <summary>Starts from zero.</summary>
    public void Reset()
    {
        Volatile.Write(ref loadedBytes, 0);
        Volatile.Write(ref storedBytes, 0);
        Volatile.Write(ref multiplyAdds, 0);
        Volatile.Write(ref matrixMultiplyAdds, 0);
        Volatile.Write(ref warpInstructions, 0);
    }

    /// <summary>Adds executions of one instruction.</summary>
    /// <param name="parts">The opcode's parts, such as <c>ld</c>, <c>global</c>, <c>v4</c>, <c>f32</c>.</param>
    /// <param name="lanes">Lanes that executed it, summed over all executions.</param>
    internal void Add(string[] parts, long lanes)
    {
        switch (parts[0])
        {
            case "ld" when parts[1] == "global":
                Interlocked.Add(ref loadedBytes, lanes * AccessBytes(parts));
                break;
            case "st" when parts[1] == "global":
            case "atom" or "red" when parts.Contains("global"):
                Interlocked.Add(ref storedBytes, lanes * AccessBytes(parts));
                break;
            case "fma":
                Interlocked.Add(ref multiplyAdds, lanes * (parts[^1].EndsWith("x2", StringComparison.Ordinal) ? 2 : 1));
                break;
            case "mma":
                Interlocked.Add(ref matrixMultiplyAdds, lanes / WarpLanes * ProductOf(parts));
                break;

            // Each of the four warps of a warpgroup executes it, and all of them compute it together.
            case "wgmma" when parts[1] == "mma_async":
                Interlocked.Add(ref matrixMultiplyAdds, lanes / (4 * WarpLanes) * ProductOf(parts));
                break;
        }
    }

    /// <summary>Adds bytes that copies into shared memory read.</summary>
    internal void AddLoaded(long bytes) => Interlocked.Add(ref loadedBytes, bytes);

    /// <summary>Adds warp instructions of any kind.</summary>
    internal void AddInstructions(long count) => Interlocked.Add(ref warpInstructions, count);

    // m·n·k of a part such as m16n8k16.
    private static long ProductOf(string[] parts) =>
        parts.First(part => part.Length > 1 && part[0] == 'm' && char.IsDigit(part[1])).Split('m', 'n', 'k').Skip(1)
            .Aggregate(1L, (product, extent) => product * long.Parse(extent, CultureInfo.InvariantCulture));

    // Size of the type times the elements of a vector access.
    private static long AccessBytes(string[] parts)
    {
        long bits = long.Parse(parts[^1].AsSpan(parts[^1].AsSpan().IndexOfAnyInRange('0', '9')), CultureInfo.InvariantCulture);
        long elements = parts.Contains("v2") ? 2 : parts.Contains("v4") ? 4 : 1;
        return bits / 8 * elements;
    }
}
