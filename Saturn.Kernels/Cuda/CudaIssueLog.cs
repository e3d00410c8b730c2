using System.Buffers;
using System.Runtime.InteropServices;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// What a step issues: names, shapes of launches and all arguments. Two steps with equal logs do the same with the same memory, so that one may be repeated in the other's place; a number that the
/// host changes from step to step shows as a difference.
/// </summary>
/// <param name="comparesArguments">Whether arguments are compared; not where each buffer is an allocation of its own, with another address in every step.</param>
internal sealed class CudaIssueLog(bool comparesArguments)
{
    private Issued current = new();
    private Issued before = new();

    /// <summary>Whether the step is being recorded, so that nothing may be asked of the host.</summary>
    public bool IsRecording { get; set; }

    /// <summary>Kernels, copies and fills of the step.</summary>
    public int Count => current.Calls.Count;

    /// <summary>Starts the next step; the last one is kept for comparison.</summary>
    public void Begin()
    {
        (current, before) = (before, current);
        current.Calls.Clear();
        current.Arguments.ResetWrittenCount();
    }

    /// <summary>A kernel was launched.</summary>
    public void Add(string name, in LaunchGeometry geometry, ReadOnlySpan<byte> arguments)
    {
        current.Calls.Add((name, geometry, comparesArguments ? arguments.Length : 0));
        if (comparesArguments)
        {
            current.Arguments.Write(arguments);
        }
    }

    /// <summary>Memory was copied or filled.</summary>
    public void Add(string name, DeviceBuffer source, DeviceBuffer destination) =>
        Add(name, default, MemoryMarshal.AsBytes<nint>([source.Address, (nint)source.ByteLength, destination.Address, (nint)destination.ByteLength]));

    /// <summary>Something that a recording cannot hold was asked for.</summary>
    public void Forbid(string what)
    {
        if (IsRecording)
        {
            throw new NotRepeatableException($"{what} is part of it");
        }
    }

    /// <summary>In what the step differs from the one before; null if in nothing.</summary>
    public string? Difference()
    {
        int offset = 0;
        for (int i = 0; i < Math.Min(current.Calls.Count, before.Calls.Count); i++)
        {
            var (name, geometry, length) = current.Calls[i];
            if (before.Calls[i].Name != name)
            {
                return $"operation {i + 1} is {name} in one step and {before.Calls[i].Name} in another";
            }

            if (before.Calls[i] != (name, geometry, length)
                || !current.Arguments.WrittenSpan.Slice(offset, length).SequenceEqual(before.Arguments.WrittenSpan.Slice(offset, length)))
            {
                return $"{name} (operation {i + 1}) gets other arguments from step to step";
            }

            offset += length;
        }

        return current.Calls.Count == before.Calls.Count ? null : $"it is {before.Calls.Count} operations in one step and {current.Calls.Count} in another";
    }

    private sealed class Issued
    {
        public List<(string Name, LaunchGeometry Geometry, int Length)> Calls { get; } = [];

        public ArrayBufferWriter<byte> Arguments { get; } = new();
    }
}
