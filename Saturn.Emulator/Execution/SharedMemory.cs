using System.Runtime.InteropServices;

namespace Saturn.Emulator.Execution;

/// <summary>
/// The shared memory of one block. In checked mode each 32-bit word remembers who wrote and read it since the last barrier: a read of a never-written byte, and two
/// warps that touch the same bytes between barriers, at least one of them writing, are errors.
/// </summary>
internal sealed unsafe class SharedMemory : IDisposable
{
    // Who touched a word: the epoch (number of barriers passed) times 64, plus the warp, plus one; 62 stands for several warps.
    private const uint WarpBits = 64;
    private const uint Several = 62;

    private struct Shadow
    {
        public uint Writer;
        public uint Reader;

        /// <summary>Bit b: byte b was written since the last barrier; bit b + 8: it was written at all; bit b + 16: read since the last barrier.</summary>
        public uint Bytes;
    }

    private readonly bool isChecked;
    private byte* data;
    private Shadow* shadows;
    private int capacity;

    public SharedMemory(bool isChecked, bool hasAsynchronous)
    {
        this.isChecked = isChecked;
        Asynchronous = isChecked && hasAsynchronous ? new AsynchronousShadow(Barriers) : null;
    }

    /// <summary>The barrier objects.</summary>
    public SharedBarriers Barriers { get; } = new();

    /// <summary>What bulk copies and products of warpgroups do, where that is checked.</summary>
    public AsynchronousShadow? Asynchronous { get; }

    public byte* Data => data;

    /// <summary>Bytes of the present block.</summary>
    public int Length { get; private set; }

    /// <summary>Barriers that the block has passed.</summary>
    public uint Epoch { get; set; }

    /// <summary>Gives a new block its memory: poisoned and unwritten in checked mode.</summary>
    public void Reset(int length)
    {
        if (length > capacity)
        {
            Dispose();
            capacity = (length + 1023) / 1024 * 1024;
            data = (byte*)NativeMemory.AlignedAlloc((nuint)capacity, 1024);
            shadows = isChecked ? (Shadow*)NativeMemory.Alloc((nuint)capacity / 4, (nuint)sizeof(Shadow)) : null;
        }

        Length = length;
        Epoch = 0;
        Asynchronous?.Reset(length);
        if (isChecked)
        {
            new Span<byte>(data, length).Fill(0xFF);
            NativeMemory.Clear(shadows, (nuint)((length + 3) / 4 * sizeof(Shadow)));
        }
    }

    /// <summary>Notes a read; returns what is wrong with it, or null.</summary>
    public string? Read(uint offset, int size, int warp)
    {
        if (Asynchronous?.Access(offset, size, warp, isStore: false) is string asynchronous)
        {
            return asynchronous;
        }

        uint now = Epoch * WarpBits;
        uint me = now + (uint)warp + 1;
        for (uint left = (uint)size, at = offset; left > 0;)
        {
            uint inWord = Math.Min(left, 4 - (at & 3));
            uint bytes = ((1u << (int)inWord) - 1) << (int)(at & 3);
            ref Shadow shadow = ref shadows[at >> 2];
            if ((shadow.Bytes >> 8 & bytes) != bytes)
            {
                return $"reads {size} bytes of shared memory at offset {offset} that were never written in this block";
            }

            if (shadow.Writer > now)
            {
                if (shadow.Writer != me && (shadow.Bytes & bytes) != 0)
                {
                    return $"races: it reads {size} bytes of shared memory at offset {offset} that {Other(shadow.Writer)} wrote since the last barrier; a __syncthreads() is missing between";
                }
            }

            if (shadow.Reader <= now)
            {
                shadow.Reader = me;
                shadow.Bytes &= 0xFFFF;
            }
            else if (shadow.Reader != me)
            {
                shadow.Reader = now + Several + 1;
            }

            shadow.Bytes |= bytes << 16;
            at += inWord;
            left -= inWord;
        }

        return null;
    }

    /// <summary>Notes a write; returns what is wrong with it, or null. Atomic operations do not race with each other.</summary>
    public string? Write(uint offset, int size, int warp, bool atomic = false)
    {
        if (Asynchronous?.Access(offset, size, warp, isStore: true) is string asynchronous)
        {
            return asynchronous;
        }

        uint now = Epoch * WarpBits;
        uint me = now + (uint)warp + 1;
        for (uint left = (uint)size, at = offset; left > 0;)
        {
            uint inWord = Math.Min(left, 4 - (at & 3));
            uint bytes = ((1u << (int)inWord) - 1) << (int)(at & 3);
            ref Shadow shadow = ref shadows[at >> 2];
            if (!atomic)
            {
                if (shadow.Writer > now && shadow.Writer != me && (shadow.Bytes & bytes) != 0)
                {
                    return $"races: it writes {size} bytes of shared memory at offset {offset} that {Other(shadow.Writer)} wrote since the last barrier; a __syncthreads() is missing between";
                }

                if (shadow.Reader > now && shadow.Reader != me && (shadow.Bytes >> 16 & bytes) != 0)
                {
                    return $"races: it writes {size} bytes of shared memory at offset {offset} that {Other(shadow.Reader)} read since the last barrier; a __syncthreads() is missing between";
                }

                if (shadow.Writer <= now)
                {
                    shadow.Writer = me;
                    shadow.Bytes &= ~0xFu;
                }
                else if (shadow.Writer != me)
                {
                    shadow.Writer = now + Several + 1;
                }

                shadow.Bytes |= bytes;
            }

            shadow.Bytes |= bytes << 8;
            at += inWord;
            left -= inWord;
        }

        return null;
    }

    /// <summary>Notes that a bulk copy has written 16 bytes.</summary>
    public void WriteByCopy(uint offset, SharedBarrier barrier)
    {
        if (!isChecked)
        {
            return;
        }

        Asynchronous?.EndCopy(offset, barrier);
        for (uint word = offset / 4; word < offset / 4 + 4; word++)
        {
            // All bytes written, by nobody with whom others could race.
            shadows[word] = new Shadow { Bytes = 0xF << 8 };
        }
    }

    /// <summary>Notes that a product of a warpgroup reads 16 bytes; returns what is wrong with it, or null.</summary>
    public string? ReadByProduct(uint offset, int warp)
    {
        if (!isChecked)
        {
            return null;
        }

        if (Asynchronous?.ReadByProduct(offset, warp) is string wrong)
        {
            return wrong;
        }

        for (uint word = offset / 4; word < offset / 4 + 4; word++)
        {
            if ((shadows[word].Bytes >> 8 & 0xF) != 0xF)
            {
                return $"reads shared memory at offset {word * 4} that was never written in this block";
            }
        }

        return null;
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(data);
        NativeMemory.Free(shadows);
        data = null;
        shadows = null;
        capacity = 0;
    }

    private static string Other(uint mark)
    {
        uint warp = (mark - 1) % WarpBits;
        return warp == Several ? "other warps" : $"warp {warp} of the block";
    }
}
