using System.Globalization;
using System.Runtime.InteropServices;
using Saturn.Emulator.Execution;
using Saturn.Emulator.Memory;
using Saturn.Emulator.Streams;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator;

/// <summary>
/// A CUDA driver with one device in software, of compute capability 8.0 or 9.0. Calls are issued at once and run when somebody waits; memory, streams, events and graphs fail where hardware would.
/// Device addresses are addresses of host memory. Calls may come from any thread that has the context current; they run one at a time.
/// </summary>
public sealed unsafe class EmulatedDriver : ICudaDriver
{
    [ThreadStatic]
    private static nint currentContext;

    private static long lastContext = 0x100;

    private readonly Lock gate = new();
    private readonly EmulatorOptions options;
    private readonly EmulatedDevice device;
    private readonly nint context = (nint)Interlocked.Increment(ref lastContext);
    private readonly DeviceAllocations allocations;
    private readonly PinnedMemory pinned;
    private readonly Timeline timeline;
    private readonly EmulatedStream defaultStream = new();
    private readonly HandleTable<EmulatedStream> streams = new("stream");
    private readonly HandleTable<EmulatedEvent> events = new("event");
    private readonly HandleTable<LoadedModule> modules = new("module");
    private readonly HandleTable<EmulatedFunction> functions = new("kernel");
    private readonly HandleTable<Recording> graphs = new("graph");
    private readonly HandleTable<Recording> executables = new("executable graph");
    private int retained;
    private bool disposed;

    /// <summary>Creates the driver and its device.</summary>
    public EmulatedDriver(EmulatorOptions? options = null)
    {
        this.options = options ?? new EmulatorOptions();
        device = EmulatedDevice.Of(this.options.Architecture);
        allocations = new DeviceAllocations(this.options.Checked, this.options.MemoryBytes);
        pinned = new PinnedMemory(this.options.Checked);
        timeline = new Timeline(allocations, this.options);
    }

    /// <summary>
    /// Calls so far that wait for the device: synchronising a stream or an event, <see cref="Allocate"/>, <see cref="Free"/>, freeing page-locked memory, unloading a module, and copies to
    /// pageable host memory. A training step makes none.
    /// </summary>
    public long SynchronizingCalls { get; private set; }

    /// <summary>What had not been given back when the driver was disposed, one line each; empty before.</summary>
    public IReadOnlyList<string> Leaks { get; private set; } = [];

    /// <inheritdoc/>
    public string Description => $"emulated driver, {(options.Checked ? "memory checked" : "memory unchecked")}, {options.Workers ?? Environment.ProcessorCount} workers";

    /// <inheritdoc/>
    public bool IsEmulated => true;

    /// <inheritdoc/>
    public bool ChecksMemory => options.Checked;

    /// <inheritdoc/>
    public bool IsLost => timeline.LostBecause is not null;

    /// <inheritdoc/>
    public int DriverVersion => 12_040;

    /// <inheritdoc/>
    public int DeviceCount => 1;

    /// <inheritdoc/>
    public string DeviceName(int ordinal)
    {
        CheckOrdinal(ordinal);
        return device.Name;
    }

    /// <inheritdoc/>
    public int DeviceAttribute(int ordinal, CudaDeviceAttribute attribute)
    {
        CheckOrdinal(ordinal);
        return device.Attribute(attribute);
    }

    /// <inheritdoc/>
    public string TargetArchitecture(int ordinal)
    {
        CheckOrdinal(ordinal);
        return device.Target;
    }

    /// <inheritdoc/>
    public nint RetainPrimaryContext(int ordinal)
    {
        CheckOrdinal(ordinal);
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            retained++;
            return context;
        }
    }

    /// <inheritdoc/>
    public void ReleasePrimaryContext(int ordinal)
    {
        CheckOrdinal(ordinal);
        lock (gate)
        {
            retained--;
        }
    }

    /// <inheritdoc/>
    public void SetCurrentContext(nint context) => currentContext = context;

    /// <inheritdoc/>
    public (long Free, long Total) MemoryInformation()
    {
        using Lock.Scope scope = Enter("cuMemGetInfo");
        return (allocations.Limit - allocations.LiveBytes, allocations.Limit);
    }

    /// <inheritdoc/>
    public nint LoadModule(ReadOnlySpan<byte> image, string name)
    {
        using Lock.Scope scope = Enter("cuModuleLoadDataEx");
        timeline.ForbidWhileRecording("cuModuleLoadDataEx");
        return modules.Add(LoadedModule.Load(image, name));
    }

    /// <inheritdoc/>
    public void UnloadModule(nint module)
    {
        using Lock.Scope scope = gate.EnterScope();
        if (!IsLost)
        {
            Wait("cuModuleUnload");
        }

        foreach (nint function in functions.All.Where(function => function.Value.Module == module).Select(function => function.Key).ToArray())
        {
            functions.Remove(function).IsUnloaded = true;
        }

        modules.Remove(module).Dispose();
    }

    /// <inheritdoc/>
    public nint GetFunction(nint module, string name)
    {
        using Lock.Scope scope = Enter("cuModuleGetFunction");
        return functions.Add(new EmulatedFunction(device, modules[module].GetKernel(name), module));
    }

    /// <inheritdoc/>
    public int FunctionAttribute(nint function, CudaFunctionAttribute attribute)
    {
        using Lock.Scope scope = Enter("cuFuncGetAttribute");
        return functions[function].Attribute(attribute);
    }

    /// <inheritdoc/>
    public void SetFunctionAttribute(nint function, CudaFunctionAttribute attribute, int value)
    {
        using Lock.Scope scope = Enter("cuFuncSetAttribute");
        functions[function].SetAttribute(attribute, value);
    }

    /// <inheritdoc/>
    public void Launch(nint function, in LaunchGeometry geometry, void* arguments, nuint argumentBytes, nint stream)
    {
        using Lock.Scope scope = Enter("cuLaunchKernel");
        EmulatedStream on = Stream(stream);
        EmulatedFunction launched = functions[function];
        device.CheckLaunch(launched, geometry, argumentBytes);
        DeviceOperation operation = timeline.Queue.Rent(OperationKind.Launch);
        operation.Function = launched;
        operation.Geometry = geometry;
        operation.ArgumentBytes = (int)argumentBytes;
        if (operation.Arguments.Length < operation.ArgumentBytes)
        {
            operation.Arguments = new byte[Math.Max(operation.ArgumentBytes, 256)];
        }

        new ReadOnlySpan<byte>(arguments, operation.ArgumentBytes).CopyTo(operation.Arguments);
        timeline.Issue(on, operation);
    }

    /// <inheritdoc/>
    public void LaunchWithAttributes(
        nint function, in LaunchGeometry geometry, ReadOnlySpan<CudaLaunchAttribute> attributes, void* arguments, nuint argumentBytes, nint stream)
    {
        const int ClusterDimension = 4;
        foreach (CudaLaunchAttribute attribute in attributes)
        {
            if (attribute.Id == ClusterDimension && (attribute.X, attribute.Y, attribute.Z) is not (1, 1, 1))
            {
                throw new CudaException("cuLaunchKernelEx failed with CUDA_ERROR_NOT_SUPPORTED (801): the emulated device has no thread block clusters.", EmulatedDevice.NotSupported);
            }
        }

        Launch(function, geometry, arguments, argumentBytes, stream);
    }

    /// <inheritdoc/>
    public TensorMap EncodeTensorMap(in TensorMapSource source, ReadOnlySpan<uint> box)
    {
        using Lock.Scope scope = Enter("cuTensorMapEncodeTiled");
        return TensorMapRecord.Encode(device, source, box);
    }

    /// <inheritdoc/>
    public TensorMap EncodeTensorMap(in TensorMapSource source, in PixelBox pixels)
    {
        using Lock.Scope scope = Enter("cuTensorMapEncodeIm2col");
        return TensorMapRecord.Encode(device, source, pixels);
    }

    /// <inheritdoc/>
    public nint Allocate(long byteLength)
    {
        using Lock.Scope scope = Enter("cuMemAlloc");
        Wait("cuMemAlloc");
        return allocations.Add(byteLength, "cuMemAlloc").Base;
    }

    /// <inheritdoc/>
    public void Free(nint address)
    {
        using Lock.Scope scope = gate.EnterScope();
        if (!IsLost)
        {
            CheckContext("cuMemFree");
            Wait("cuMemFree");
            allocations.Free(address);
        }
    }

    /// <inheritdoc/>
    public nint AllocateAsync(long byteLength, nint stream)
    {
        using Lock.Scope scope = Enter("cuMemAllocAsync");
        EmulatedStream on = Stream(stream);
        if (on.Recording is { } recording)
        {
            DeviceAllocation reserved = allocations.Reserve(byteLength, "cuMemAllocAsync in a graph");
            recording.Memory.Add(reserved);
            DeviceOperation operation = timeline.Queue.Rent(OperationKind.Revive);
            operation.Allocation = reserved;
            timeline.Issue(on, operation);
            return reserved.Base;
        }

        try
        {
            return allocations.Add(byteLength, "cuMemAllocAsync").Base;
        }
        catch (DeviceOutOfMemoryException) when (timeline.Queue.Count > 0)
        {
            // Memory whose release waits in the queue is room, too.
            timeline.RunAll();
            return allocations.Add(byteLength, "cuMemAllocAsync").Base;
        }
    }

    /// <inheritdoc/>
    public void FreeAsync(nint address, nint stream)
    {
        using Lock.Scope scope = gate.EnterScope();
        if (!IsLost)
        {
            CheckContext("cuMemFreeAsync");
            Issue(stream, OperationKind.Free, address, 0, 0);
        }
    }

    /// <inheritdoc/>
    public nint AllocatePinned(long byteLength)
    {
        using Lock.Scope scope = Enter("cuMemHostAlloc");
        timeline.ForbidWhileRecording("cuMemHostAlloc");
        return pinned.Allocate(byteLength);
    }

    /// <inheritdoc/>
    public void FreePinned(nint address)
    {
        using Lock.Scope scope = gate.EnterScope();
        if (!IsLost)
        {
            // A copy that waits in the queue may still use the memory.
            Wait("cuMemFreeHost");
        }

        pinned.Free(address);
    }

    /// <inheritdoc/>
    public void CopyToDeviceAsync(nint destination, void* source, long byteLength, nint stream)
    {
        using Lock.Scope scope = Enter("cuMemcpyHtoDAsync");
        if (byteLength == 0)
        {
            return;
        }

        EmulatedStream on = Stream(stream);
        bool isPinned = pinned.Contains((nint)source, byteLength);
        ForbidPageable(on, isPinned, "cuMemcpyHtoDAsync");
        DeviceOperation operation = timeline.Queue.Rent(OperationKind.CopyToDevice);
        (operation.Destination, operation.Length, operation.OwnsSource) = (destination, byteLength, !isPinned);
        operation.Source = (nint)source;
        if (!isPinned)
        {
            // As the hardware's driver does, pageable memory is copied before the call returns.
            operation.Source = (nint)NativeMemory.Alloc((nuint)byteLength);
            Buffer.MemoryCopy(source, (void*)operation.Source, byteLength, byteLength);
        }

        timeline.Issue(on, operation);
    }

    /// <inheritdoc/>
    public void CopyToHostAsync(void* destination, nint source, long byteLength, nint stream)
    {
        using Lock.Scope scope = Enter("cuMemcpyDtoHAsync");
        if (byteLength == 0)
        {
            return;
        }

        bool isPinned = pinned.Contains((nint)destination, byteLength);
        ForbidPageable(Stream(stream), isPinned, "cuMemcpyDtoHAsync");
        Issue(stream, OperationKind.CopyToHost, (nint)destination, source, byteLength);
        if (!isPinned)
        {
            // A copy to pageable memory has been made when the call returns.
            SynchronizingCalls++;
            timeline.RunAll();
        }
    }

    /// <inheritdoc/>
    public void CopyAsync(nint destination, nint source, long byteLength, nint stream)
    {
        using Lock.Scope scope = Enter("cuMemcpyDtoDAsync");
        Issue(stream, OperationKind.Copy, destination, source, byteLength);
    }

    /// <inheritdoc/>
    public void FillAsync(nint destination, byte value, long byteLength, nint stream)
    {
        using Lock.Scope scope = Enter("cuMemsetD8Async");
        Issue(stream, OperationKind.Fill, destination, 0, byteLength, value);
    }

    /// <inheritdoc/>
    public void FillWordsAsync(nint destination, uint value, long wordCount, nint stream)
    {
        using Lock.Scope scope = Enter("cuMemsetD32Async");
        Issue(stream, OperationKind.FillWords, destination, 0, wordCount, value);
    }

    /// <inheritdoc/>
    public nint CreateStream()
    {
        using Lock.Scope scope = Enter("cuStreamCreate");
        return streams.Add(new EmulatedStream());
    }

    /// <inheritdoc/>
    public void DestroyStream(nint stream)
    {
        using Lock.Scope scope = gate.EnterScope();
        if (streams.Remove(stream).Recording is { } recording)
        {
            timeline.AbandonCapture();
            recording.Release(timeline.Queue, allocations);
        }
    }

    /// <inheritdoc/>
    public void SynchronizeStream(nint stream)
    {
        using Lock.Scope scope = Enter("cuStreamSynchronize");
        if (Stream(stream).Recording is { } recording)
        {
            throw Timeline.Spoil(recording, "cuStreamSynchronize", "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", EmulatedDevice.CaptureUnsupported, "nothing of this stream runs before the recording ends");
        }

        SynchronizingCalls++;
        timeline.RunAll();
    }

    /// <inheritdoc/>
    public void WaitEvent(nint stream, nint @event)
    {
        // All streams run in the order of the calls, so there is nothing to do; but a recording must stand on its own.
        using Lock.Scope scope = Enter("cuStreamWaitEvent");
        Recording? recording = Stream(stream).Recording;
        Recording? captured = events[@event].CapturedBy;
        if (recording is not null && captured != recording && events[@event].WasRecorded)
        {
            throw Timeline.Spoil(recording, "cuStreamWaitEvent", "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", EmulatedDevice.CaptureIsolation, "the event was recorded outside of it");
        }

        if (recording is null && captured is not null)
        {
            throw Timeline.Spoil(captured, "cuStreamWaitEvent", "CUDA_ERROR_NOT_SUPPORTED", EmulatedDevice.NotSupported, "the emulator records one stream at a time, and the event belongs to another stream's recording");
        }
    }

    /// <inheritdoc/>
    public nint CreateEvent(bool timing)
    {
        using Lock.Scope scope = Enter("cuEventCreate");
        return events.Add(new EmulatedEvent(timing));
    }

    /// <inheritdoc/>
    public void DestroyEvent(nint @event)
    {
        using Lock.Scope scope = gate.EnterScope();
        events.Remove(@event);
    }

    /// <inheritdoc/>
    public void RecordEvent(nint @event, nint stream)
    {
        using Lock.Scope scope = Enter("cuEventRecord");
        EmulatedEvent recorded = events[@event];
        EmulatedStream on = Stream(stream);
        recorded.CapturedBy = on.Recording;
        if (on.Recording is null)
        {
            DeviceOperation operation = timeline.Queue.Rent(OperationKind.RecordEvent);
            operation.Event = recorded;
            operation.Sequence = recorded.Record();
            timeline.Issue(on, operation);
        }
    }

    /// <inheritdoc/>
    public bool QueryEvent(nint @event)
    {
        using Lock.Scope scope = Enter("cuEventQuery");
        timeline.ForbidWhileRecording("cuEventQuery");
        EmulatedEvent queried = Uncaptured(@event, "cuEventQuery");
        if (!queried.IsComplete)
        {
            timeline.RunOne();
        }

        return queried.IsComplete;
    }

    /// <inheritdoc/>
    public void SynchronizeEvent(nint @event)
    {
        using Lock.Scope scope = Enter("cuEventSynchronize");
        timeline.ForbidWhileRecording("cuEventSynchronize");
        SynchronizingCalls++;
        timeline.RunUntil(Uncaptured(@event, "cuEventSynchronize"));
    }

    /// <inheritdoc/>
    public float ElapsedMilliseconds(nint start, nint end)
    {
        using Lock.Scope scope = Enter("cuEventElapsedTime");
        EmulatedEvent first = Uncaptured(start, "cuEventElapsedTime");
        EmulatedEvent second = Uncaptured(end, "cuEventElapsedTime");
        if (!first.Timing || !second.Timing || !first.WasRecorded || !second.WasRecorded)
        {
            throw new CudaException("cuEventElapsedTime failed with CUDA_ERROR_INVALID_HANDLE (400): both events must have been created with timing and recorded.", EmulatedDevice.InvalidHandle);
        }

        if (!first.IsComplete || !second.IsComplete)
        {
            throw new CudaException("cuEventElapsedTime failed with CUDA_ERROR_NOT_READY (600): wait for the events first.", EmulatedDevice.NotReady);
        }

        return (float)((second.Timestamp - first.Timestamp) * 1000.0 / System.Diagnostics.Stopwatch.Frequency);
    }

    /// <inheritdoc/>
    public void BeginCapture(nint stream)
    {
        using Lock.Scope scope = Enter("cuStreamBeginCapture");
        if (stream == 0)
        {
            throw new CudaException("cuStreamBeginCapture failed with CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED (900): the default stream cannot be recorded.", EmulatedDevice.CaptureUnsupported);
        }

        timeline.BeginCapture(streams[stream]);
    }

    /// <inheritdoc/>
    public nint EndCapture(nint stream)
    {
        using Lock.Scope scope = Enter("cuStreamEndCapture");
        return graphs.Add(timeline.EndCapture(Stream(stream)));
    }

    /// <inheritdoc/>
    public nint InstantiateGraph(nint graph)
    {
        using Lock.Scope scope = Enter("cuGraphInstantiate");
        Recording recording = graphs[graph];
        recording.Retain();
        return executables.Add(recording);
    }

    /// <inheritdoc/>
    public void LaunchGraph(nint executable, nint stream)
    {
        using Lock.Scope scope = Enter("cuGraphLaunch");
        Recording launched = executables[executable];
        EmulatedStream on = Stream(stream);
        if (on.Recording is { } recording)
        {
            throw Timeline.Spoil(recording, "cuGraphLaunch", "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", EmulatedDevice.CaptureUnsupported, "a graph cannot be launched into a recording");
        }

        DeviceOperation operation = timeline.Queue.Rent(OperationKind.Graph);
        operation.Recording = launched;
        timeline.Issue(on, operation);
    }

    /// <inheritdoc/>
    public void DestroyGraph(nint graph)
    {
        using Lock.Scope scope = gate.EnterScope();
        graphs.Remove(graph).Release(timeline.Queue, allocations);
    }

    /// <inheritdoc/>
    public void DestroyExecutableGraph(nint executable)
    {
        using Lock.Scope scope = gate.EnterScope();
        if (!IsLost)
        {
            // Launches that wait finish before the graph goes.
            timeline.RunAll();
        }

        executables.Remove(executable).Release(timeline.Queue, allocations);
    }

    /// <summary>Drops what has not run and frees everything; what had not been given back is listed in <see cref="Leaks"/>.</summary>
    public void Dispose()
    {
        using Lock.Scope scope = gate.EnterScope();
        if (disposed)
        {
            return;
        }

        disposed = true;
        Leaks = IsLost ? [] : [.. ListLeaks()];
        timeline.Queue.Clear();
        timeline.AbandonCapture();
        foreach ((_, LoadedModule module) in modules.All)
        {
            module.Dispose();
        }

        pinned.Dispose();
        allocations.Dispose();
    }

    private IEnumerable<string> ListLeaks()
    {
        // What the queue would have freed is no leak.
        try
        {
            timeline.RunAll();
        }
        catch (CudaException)
        {
            yield break;
        }

        foreach (string leak in allocations.Live.Select(allocation => allocation.ToString())
            .Concat(pinned.Blocks.Select(block => string.Create(CultureInfo.InvariantCulture, $"{block.Length} bytes of page-locked memory at 0x{block.Address:x}")))
            .Concat(streams.All.Select(stream => $"stream 0x{stream.Key:x}"))
            .Concat(events.All.Select(@event => $"event 0x{@event.Key:x}"))
            .Concat(modules.All.Select(module => $"module 0x{module.Key:x}"))
            .Concat(graphs.All.Select(graph => $"graph 0x{graph.Key:x}"))
            .Concat(executables.All.Select(graph => $"executable graph 0x{graph.Key:x}")))
        {
            yield return leak;
        }

        if (retained != 0)
        {
            yield return $"the primary context, retained {retained} times more than released";
        }
    }

    private static void CheckOrdinal(int ordinal)
    {
        if (ordinal != 0)
        {
            throw new CudaException($"CUDA_ERROR_INVALID_DEVICE (101): the emulator has device 0 only, not {ordinal}.", EmulatedDevice.InvalidDevice);
        }
    }

    private Lock.Scope Enter(string call)
    {
        Lock.Scope scope = gate.EnterScope();
        try
        {
            CheckContext(call);
        }
        catch
        {
            scope.Dispose();
            throw;
        }

        return scope;
    }

    private void CheckContext(string call)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        if (timeline.LostBecause is { } reason)
        {
            throw new CudaException($"{call}: the context is lost, because of an earlier failure: {reason}", EmulatedDevice.LaunchFailed);
        }

        if (currentContext != context || retained == 0)
        {
            throw new CudaException(
                $"{call} failed with CUDA_ERROR_INVALID_CONTEXT (201): the device's context is not current on this thread; the device must make it so before the first call of each thread.", EmulatedDevice.InvalidContext);
        }
    }

    private EmulatedStream Stream(nint stream) => stream == 0 ? defaultStream : streams[stream];

    private void Wait(string call)
    {
        timeline.ForbidWhileRecording(call);
        SynchronizingCalls++;
        timeline.RunAll();
    }

    private void Issue(nint stream, OperationKind kind, nint destination, nint source, long length, uint value = 0)
    {
        EmulatedStream on = Stream(stream);
        if (length == 0 && kind != OperationKind.Free)
        {
            return;
        }

        DeviceOperation operation = timeline.Queue.Rent(kind);
        (operation.Destination, operation.Source, operation.Length, operation.Value) = (destination, source, length, value);
        timeline.Issue(on, operation);
    }

    private static void ForbidPageable(EmulatedStream stream, bool isPinned, string call)
    {
        if (stream.Recording is { } recording && !isPinned)
        {
            throw Timeline.Spoil(recording, call, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", EmulatedDevice.CaptureUnsupported, "the host memory is pageable. Use page-locked memory (AllocatePinned)");
        }
    }

    private EmulatedEvent Uncaptured(nint handle, string call)
    {
        EmulatedEvent found = events[handle];
        return found.CapturedBy is null
            ? found
            : throw new CudaException($"{call} failed with CUDA_ERROR_CAPTURED_EVENT (907): the event was last recorded inside a recording, where nothing runs.", EmulatedDevice.CapturedEvent);
    }
}
