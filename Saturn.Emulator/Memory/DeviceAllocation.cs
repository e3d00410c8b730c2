namespace Saturn.Emulator.Memory;

/// <summary>One allocation of emulated device memory, whose device address is the address of host memory. Records are reused once the memory is gone.</summary>
internal sealed unsafe class DeviceAllocation
{
    /// <summary>The first byte.</summary>
    public nint Base { get; internal set; }

    /// <summary>Bytes that may be accessed, as asked for.</summary>
    public long Length { get; internal set; }

    /// <summary>For each byte, 0 while it was never written; null where memory is not checked.</summary>
    public byte* Written { get; internal set; }

    /// <summary>Whether it was freed; its memory is kept a while, poisoned, so that a use after the end is found.</summary>
    public bool Freed { get; internal set; }

    /// <summary>A number that counts allocations, for messages.</summary>
    public int Number { get; internal set; }

    /// <summary>The call that made it, for messages.</summary>
    public string Origin { get; internal set; } = "";

    /// <summary>Whether a recorded graph owns the memory: then it lives and ends with each execution, at the same address.</summary>
    internal bool IsOwnedByGraph { get; set; }

    /// <inheritdoc/>
    public override string ToString() => $"allocation {Number} ({Length} bytes at 0x{Base:x}, {Origin}{(Freed ? ", freed" : "")})";
}
