using Saturn.Emulator.Execution;
using Saturn.Emulator.Memory;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator.Streams;

/// <summary>
/// What was issued and has not run: calls are kept in their order and run when somebody waits, so that code which does not wait sees what it would see on hardware. The first failure loses
/// the context. While a stream is recorded, its calls become the operations of a graph.
/// </summary>
internal sealed class Timeline(DeviceAllocations allocations, EmulatorOptions options)
{
    private const int MostWaiting = 1024;

    private EmulatedStream? recordedStream;

    /// <summary>The operations that wait, and the pool of their records.</summary>
    public OperationQueue Queue { get; } = new();

    /// <summary>Why the context is lost, or null.</summary>
    public string? LostBecause { get; private set; }

    /// <summary>Appends an operation to its stream.</summary>
    public void Issue(EmulatedStream stream, DeviceOperation operation)
    {
        if (stream.Recording is { } recording)
        {
            recording.Operations.Add(operation);
            return;
        }

        Queue.Append(operation);
        if (Queue.Count > MostWaiting)
        {
            RunAll();
        }
    }

    /// <summary>Runs all that waits.</summary>
    public void RunAll()
    {
        while (Queue.Count > 0)
        {
            RunOne();
        }
    }

    /// <summary>Runs up to the last record of an event.</summary>
    public void RunUntil(EmulatedEvent @event)
    {
        while (!@event.IsComplete && Queue.Count > 0)
        {
            RunOne();
        }
    }

    /// <summary>Runs the next operation.</summary>
    public void RunOne()
    {
        DeviceOperation operation = Queue.Take();
        try
        {
            Run(operation);
        }
        catch (Exception exception)
        {
            LostBecause = exception.Message;
            Queue.Clear();
            throw;
        }
        finally
        {
            Queue.Return(operation);
        }
    }

    /// <summary>Begins to record a stream.</summary>
    public void BeginCapture(EmulatedStream stream)
    {
        if (recordedStream is not null)
        {
            throw new CudaException("cuStreamBeginCapture failed with CUDA_ERROR_ILLEGAL_STATE (401): a stream is being recorded already.", EmulatedDevice.IllegalState);
        }

        stream.Recording = new Recording(Environment.CurrentManagedThreadId);
        recordedStream = stream;
    }

    /// <summary>Ends a recording.</summary>
    public Recording EndCapture(EmulatedStream stream)
    {
        Recording recording = stream.Recording
            ?? throw new CudaException("cuStreamEndCapture failed with CUDA_ERROR_STREAM_CAPTURE_UNMATCHED (903): this stream is not being recorded.", EmulatedDevice.CaptureUnmatched);
        if (recording.Thread != Environment.CurrentManagedThreadId)
        {
            throw new CudaException("cuStreamEndCapture failed with CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD (908): another thread began the recording.", EmulatedDevice.CaptureWrongThread);
        }

        AbandonCapture();
        if (recording.SpoiltBy is not { } call)
        {
            return recording;
        }

        recording.Release(Queue, allocations);
        throw new CudaException($"cuStreamEndCapture failed with CUDA_ERROR_STREAM_CAPTURE_INVALIDATED (901): {call} was called during the recording.", EmulatedDevice.CaptureInvalidated);
    }

    /// <summary>Forgets about the recording under way.</summary>
    public void AbandonCapture()
    {
        if (recordedStream is not null)
        {
            recordedStream.Recording = null;
            recordedStream = null;
        }
    }

    /// <summary>Throws if this thread is recording a stream: calls that wait, allocate or load spoil the recording, as on hardware.</summary>
    public void ForbidWhileRecording(string call)
    {
        if (recordedStream?.Recording is { } recording && recording.Thread == Environment.CurrentManagedThreadId)
        {
            throw Spoil(recording, call, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", EmulatedDevice.CaptureUnsupported, "it waits, allocates or loads. Do it once before the recording");
        }
    }

    /// <summary>The exception for a call that spoils a recording.</summary>
    public static CudaException Spoil(Recording recording, string call, string name, int code, string why)
    {
        recording.SpoiltBy ??= call;
        return new CudaException($"{call} failed with {name} ({code}): it is not permitted while a stream is recorded, because {why}.", code);
    }

    private void Run(DeviceOperation operation)
    {
        switch (operation.Kind)
        {
            case OperationKind.Launch:
                if (operation.Function!.IsUnloaded)
                {
                    throw new EmulatorException($"Kernel {operation.Function.Kernel.Name} was launched by a graph after its module was unloaded.");
                }

                KernelExecution.Run(operation.Function.Kernel, operation.Geometry, operation.Arguments.AsSpan(0, operation.ArgumentBytes), allocations, options);
                break;
            case OperationKind.CopyToDevice:
                DeviceTransfers.CopyToDevice(allocations, operation.Destination, operation.Source, operation.Length);
                break;
            case OperationKind.CopyToHost:
                DeviceTransfers.CopyToHost(allocations, operation.Destination, operation.Source, operation.Length);
                break;
            case OperationKind.Copy:
                DeviceTransfers.Copy(allocations, operation.Destination, operation.Source, operation.Length);
                break;
            case OperationKind.Fill:
                DeviceTransfers.Fill(allocations, operation.Destination, (byte)operation.Value, operation.Length);
                break;
            case OperationKind.FillWords:
                DeviceTransfers.FillWords(allocations, operation.Destination, operation.Value, operation.Length);
                break;
            case OperationKind.Free:
                allocations.Free(operation.Destination);
                break;
            case OperationKind.Revive:
                allocations.Revive(operation.Allocation!);
                break;
            case OperationKind.RecordEvent:
                operation.Event!.Execute(operation.Sequence);
                break;
            case OperationKind.Graph:
                foreach (DeviceOperation recorded in operation.Recording!.Operations)
                {
                    Run(recorded);
                }

                break;
            default:
                throw new InvalidOperationException($"unknown operation {operation.Kind}");
        }
    }
}
