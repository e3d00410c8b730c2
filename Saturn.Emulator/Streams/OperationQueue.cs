using System.Runtime.InteropServices;

namespace Saturn.Emulator.Streams;

/// <summary>The issued operations of all streams in the order of the calls, and the pool of their records.</summary>
internal sealed unsafe class OperationQueue
{
    private readonly Queue<DeviceOperation> waiting = new();
    private readonly Stack<DeviceOperation> spare = new();

    /// <summary>Operations that have not run.</summary>
    public int Count => waiting.Count;

    /// <summary>A record to fill in.</summary>
    public DeviceOperation Rent(OperationKind kind)
    {
        DeviceOperation operation = spare.TryPop(out DeviceOperation? old) ? old : new DeviceOperation();
        operation.Kind = kind;
        return operation;
    }

    /// <summary>Puts a record at the end.</summary>
    public void Append(DeviceOperation operation) => waiting.Enqueue(operation);

    /// <summary>Takes the next one.</summary>
    public DeviceOperation Take() => waiting.Dequeue();

    /// <summary>Gives a record back to the pool.</summary>
    public void Return(DeviceOperation operation)
    {
        if (operation.OwnsSource)
        {
            NativeMemory.Free((void*)operation.Source);
        }

        operation.OwnsSource = false;
        operation.Function = null;
        operation.Event = null;
        operation.Allocation = null;
        operation.Recording = null;
        spare.Push(operation);
    }

    /// <summary>Drops what has not run.</summary>
    public void Clear()
    {
        while (waiting.TryDequeue(out DeviceOperation? operation))
        {
            Return(operation);
        }
    }
}
