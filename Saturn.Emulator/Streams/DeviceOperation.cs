using Saturn.Emulator.Memory;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator.Streams;

/// <summary>What an operation does.</summary>
internal enum OperationKind
{
    Launch,
    CopyToDevice,
    CopyToHost,
    Copy,
    Fill,
    FillWords,
    Free,
    Revive,
    RecordEvent,
    Graph,
}

/// <summary>One issued call that has not run yet, or one node of a recorded graph. Records are pooled, with their argument arrays.</summary>
internal sealed class DeviceOperation
{
    public OperationKind Kind { get; set; }

    /// <summary>Target of a copy or fill; the memory to free.</summary>
    public nint Destination { get; set; }

    public nint Source { get; set; }

    /// <summary>Bytes of a copy or fill; words of a fill with words.</summary>
    public long Length { get; set; }

    /// <summary>Byte or word of a fill.</summary>
    public uint Value { get; set; }

    /// <summary>Whether the source is a private copy of pageable host memory, to be freed with this record.</summary>
    public bool OwnsSource { get; set; }

    public EmulatedFunction? Function { get; set; }

    public LaunchGeometry Geometry { get; set; }

    /// <summary>The argument struct's bytes; the array may be longer.</summary>
    public byte[] Arguments { get; set; } = [];

    public int ArgumentBytes { get; set; }

    public EmulatedEvent? Event { get; set; }

    /// <summary>The number of an event's record.</summary>
    public long Sequence { get; set; }

    public DeviceAllocation? Allocation { get; set; }

    public Recording? Recording { get; set; }
}
