using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Cuda.Driver;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// The real driver, <c>libcuda.so.1</c> or <c>nvcuda.dll</c>, called through function pointers. A call that succeeds costs nothing on the managed heap. The library stays with the process.
/// </summary>
public sealed unsafe class LibCudaDriver : ICudaDriver
{
    // CU_LAUNCH_PARAM_BUFFER_POINTER and CU_LAUNCH_PARAM_BUFFER_SIZE; CU_LAUNCH_PARAM_END is null.
    private const nint ParameterBuffer = 1;
    private const nint ParameterBufferSize = 2;
    private const uint NonBlockingStream = 1;
    private const uint EventWithoutTiming = 2;
    private const int CaptureThreadLocal = 1;

    // CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE.
    private const int NoInterleave = 0;
    private const int Promotion256Bytes = 3;
    private const int ZeroFill = 0;
    private const int ErrorLogBuffer = 5;
    private const int ErrorLogBufferSize = 6;

    private readonly DriverFunctions cuda;
    private readonly string version;
    private readonly int[] devices;
    private readonly string[] architectures;
    private readonly Dictionary<nint, string> functionNames = [];

    internal LibCudaDriver(DriverFunctions functions)
    {
        cuda = functions;
        int number = 0;
        _ = cuda.DriverGetVersion(&number);
        DriverVersion = number;
        version = $"CUDA driver {number / 1000}.{number % 1000 / 10} at {cuda.Path}";
        Check(cuda.Initialize(0), "cuInit");
        int count;
        Check(cuda.DeviceGetCount(&count), "cuDeviceGetCount");
        devices = new int[count];
        architectures = new string[count];
        for (int i = 0; i < count; i++)
        {
            int device;
            Check(cuda.DeviceGet(&device, i), "cuDeviceGet");
            devices[i] = device;
            int major = DeviceAttribute(i, CudaDeviceAttribute.ComputeCapabilityMajor);
            int minor = DeviceAttribute(i, CudaDeviceAttribute.ComputeCapabilityMinor);

            // Hopper's matrix instructions exist in its own architecture only.
            architectures[i] = (major, minor) is (9, 0) ? "sm_90a" : $"sm_{major}{minor}";
        }
    }

    /// <summary>Finds and initialises the driver.</summary>
    /// <exception cref="CudaException">There is no driver, no device, or the driver does not start; the message says what was searched and what to do.</exception>
    public static LibCudaDriver Open() => Open(DriverSearch.OfThisMachine());

    internal static LibCudaDriver Open(DriverSearch search) => search.Find() is { } functions ? new LibCudaDriver(functions) : throw new CudaException(NotFound(search.Attempts));

    /// <inheritdoc/>
    public string Description => version;

    /// <inheritdoc/>
    public bool IsEmulated => false;

    /// <inheritdoc/>
    public bool ChecksMemory => false;

    /// <inheritdoc/>
    public bool IsLost { get; private set; }

    /// <inheritdoc/>
    public int DriverVersion { get; }

    /// <inheritdoc/>
    public int DeviceCount => devices.Length;

    /// <inheritdoc/>
    public string DeviceName(int ordinal)
    {
        byte* name = stackalloc byte[256];
        Check(cuda.DeviceGetName(name, 256, devices[ordinal]), "cuDeviceGetName");
        return Marshal.PtrToStringUTF8((nint)name)!;
    }

    /// <inheritdoc/>
    public int DeviceAttribute(int ordinal, CudaDeviceAttribute attribute)
    {
        int value;
        int result = cuda.DeviceGetAttribute(&value, (int)attribute, devices[ordinal]);
        return result == 0 ? value : throw Error(result, "cuDeviceGetAttribute", $"attribute {attribute}");
    }

    /// <inheritdoc/>
    public string TargetArchitecture(int ordinal) => architectures[ordinal];

    /// <inheritdoc/>
    public nint RetainPrimaryContext(int ordinal)
    {
        nint context;
        Check(cuda.PrimaryContextRetain(&context, devices[ordinal]), "cuDevicePrimaryCtxRetain");
        return context;
    }

    /// <inheritdoc/>
    public void ReleasePrimaryContext(int ordinal) => Release(cuda.PrimaryContextRelease(devices[ordinal]), "cuDevicePrimaryCtxRelease");

    /// <inheritdoc/>
    public void SetCurrentContext(nint context) => Check(cuda.ContextSetCurrent(context), "cuCtxSetCurrent");

    /// <inheritdoc/>
    public (long Free, long Total) MemoryInformation()
    {
        nuint free, total;
        Check(cuda.MemoryGetInformation(&free, &total), "cuMemGetInfo");
        return ((long)free, (long)total);
    }

    /// <inheritdoc/>
    public nint LoadModule(ReadOnlySpan<byte> image, string name)
    {
        // The log is where the driver says which line of PTX it refuses, or which architecture it misses. PTX must end with a zero.
        const int LogBytes = 16 * 1024;
        byte[] log = new byte[LogBytes];
        byte[] ended = new byte[image.Length + 1];
        image.CopyTo(ended);
        fixed (byte* first = ended, logFirst = log)
        {
            int* options = stackalloc int[2] { ErrorLogBuffer, ErrorLogBufferSize };
            void** values = stackalloc void*[2] { logFirst, (void*)(nint)LogBytes };
            nint module;
            int result = cuda.ModuleLoadDataEx(&module, first, 2, options, values);
            return result == 0 ? module : throw Error(result, "cuModuleLoadDataEx", DescribeModule(name, image.Length, log));
        }
    }

    /// <inheritdoc/>
    public void UnloadModule(nint module) => Release(cuda.ModuleUnload(module), "cuModuleUnload");

    /// <inheritdoc/>
    public nint GetFunction(nint module, string name)
    {
        nint function;
        fixed (byte* text = Encoding.UTF8.GetBytes(name + '\0'))
        {
            int result = cuda.ModuleGetFunction(&function, module, text);
            if (result != 0)
            {
                throw Error(result, "cuModuleGetFunction", $"kernel '{name}', which must be declared extern \"C\" __global__");
            }
        }

        functionNames[function] = name;
        return function;
    }

    /// <inheritdoc/>
    public int FunctionAttribute(nint function, CudaFunctionAttribute attribute)
    {
        int value;
        int result = cuda.FunctionGetAttribute(&value, (int)attribute, function);
        return result == 0 ? value : throw Error(result, "cuFuncGetAttribute", $"{attribute} of kernel {NameOf(function)}");
    }

    /// <inheritdoc/>
    public void SetFunctionAttribute(nint function, CudaFunctionAttribute attribute, int value)
    {
        int result = cuda.FunctionSetAttribute(function, (int)attribute, value);
        if (result != 0)
        {
            throw Error(result, "cuFuncSetAttribute", $"{attribute} = {value} of kernel {NameOf(function)}");
        }
    }

    /// <inheritdoc/>
    public void Launch(nint function, in LaunchGeometry geometry, void* arguments, nuint argumentBytes, nint stream)
    {
        void** extra = stackalloc void*[5] { (void*)ParameterBuffer, arguments, (void*)ParameterBufferSize, &argumentBytes, null };
        int result = cuda.LaunchKernel(
            function, geometry.GridX, geometry.GridY, geometry.GridZ, geometry.BlockX, geometry.BlockY, geometry.BlockZ, geometry.SharedBytes, stream, null, extra);
        if (result != 0)
        {
            throw LaunchError(result, "cuLaunchKernel", function, geometry, argumentBytes);
        }
    }

    /// <inheritdoc/>
    public void LaunchWithAttributes(
        nint function, in LaunchGeometry geometry, ReadOnlySpan<CudaLaunchAttribute> attributes, void* arguments, nuint argumentBytes, nint stream)
    {
        if (cuda.LaunchKernelEx == null)
        {
            throw new CudaException($"Kernel {NameOf(function)} needs launch attributes (cuLaunchKernelEx), which this driver lacks: install one of CUDA 11.8 or newer. [{version}]");
        }

        LaunchAttribute* list = stackalloc LaunchAttribute[attributes.Length];
        for (int i = 0; i < attributes.Length; i++)
        {
            list[i] = new LaunchAttribute { Id = attributes[i].Id, X = attributes[i].X, Y = attributes[i].Y, Z = attributes[i].Z };
        }

        LaunchConfiguration configuration = new()
        {
            GridX = geometry.GridX,
            GridY = geometry.GridY,
            GridZ = geometry.GridZ,
            BlockX = geometry.BlockX,
            BlockY = geometry.BlockY,
            BlockZ = geometry.BlockZ,
            SharedBytes = geometry.SharedBytes,
            Stream = stream,
            Attributes = list,
            AttributeCount = (uint)attributes.Length,
        };
        void** extra = stackalloc void*[5] { (void*)ParameterBuffer, arguments, (void*)ParameterBufferSize, &argumentBytes, null };
        int result = cuda.LaunchKernelEx(&configuration, function, null, extra);
        if (result != 0)
        {
            throw LaunchError(result, "cuLaunchKernelEx", function, geometry, argumentBytes);
        }
    }

    /// <inheritdoc/>
    public TensorMap EncodeTensorMap(in TensorMapSource source, ReadOnlySpan<uint> box)
    {
        RequireTensorMaps(cuda.TensorMapEncodeTiled);
        byte* storage = stackalloc byte[2 * sizeof(TensorMap)];
        TensorMap* map = Aligned(storage);

        // Of one dimension there are no strides, but the driver may want an address.
        ReadOnlySpan<ulong> distances = source.Strides.Length > 0 ? source.Strides : [0];
        fixed (ulong* sizes = source.Sizes, strides = distances)
        fixed (uint* boxes = box, steps = source.Steps)
        {
            int result = cuda.TensorMapEncodeTiled(
                map, (int)source.Element, (uint)source.Sizes.Length, source.Address, sizes, strides, boxes, steps, NoInterleave, (int)source.Swizzle, Promotion256Bytes, ZeroFill);
            return result == 0 ? *map : throw Error(result, "cuTensorMapEncodeTiled", $"{source.ToString()}, box {string.Join(" × ", box.ToArray())}");
        }
    }

    /// <inheritdoc/>
    public TensorMap EncodeTensorMap(in TensorMapSource source, in PixelBox pixels)
    {
        RequireTensorMaps(cuda.TensorMapEncodeIm2col);
        byte* storage = stackalloc byte[2 * sizeof(TensorMap)];
        TensorMap* map = Aligned(storage);
        int* lower = stackalloc int[2] { pixels.FirstColumn, pixels.FirstRow };
        int* upper = stackalloc int[2] { pixels.LastColumn, pixels.LastRow };
        fixed (ulong* sizes = source.Sizes, strides = source.Strides)
        fixed (uint* steps = source.Steps)
        {
            int result = cuda.TensorMapEncodeIm2col(
                map, (int)source.Element, (uint)source.Sizes.Length, source.Address, sizes, strides, lower, upper, (uint)pixels.Channels, (uint)pixels.Pixels, steps, NoInterleave,
                (int)source.Swizzle, Promotion256Bytes, ZeroFill);
            return result == 0 ? *map : throw Error(result, "cuTensorMapEncodeIm2col", $"{source.ToString()}, {pixels}");
        }
    }

    /// <inheritdoc/>
    public nint Allocate(long byteLength)
    {
        nint address;
        int result = cuda.MemoryAllocate(&address, (nuint)byteLength);
        return result == 0 ? address : throw Error(result, "cuMemAlloc", $"{byteLength} bytes were asked for");
    }

    /// <inheritdoc/>
    public void Free(nint address) => Release(cuda.MemoryFree(address), "cuMemFree");

    /// <inheritdoc/>
    public nint AllocateAsync(long byteLength, nint stream)
    {
        nint address;
        int result = cuda.MemoryAllocateAsync(&address, (nuint)byteLength, stream);
        return result == 0 ? address : throw Error(result, "cuMemAllocAsync", $"{byteLength} bytes were asked for");
    }

    /// <inheritdoc/>
    public void FreeAsync(nint address, nint stream) => Release(cuda.MemoryFreeAsync(address, stream), "cuMemFreeAsync");

    /// <inheritdoc/>
    public nint AllocatePinned(long byteLength)
    {
        nint address;
        int result = cuda.HostAllocate(&address, (nuint)byteLength, 0);
        return result == 0 ? address : throw Error(result, "cuMemHostAlloc", $"{byteLength} bytes of page-locked memory were asked for");
    }

    /// <inheritdoc/>
    public void FreePinned(nint address) => Release(cuda.HostFree(address), "cuMemFreeHost");

    /// <inheritdoc/>
    public void CopyToDeviceAsync(nint destination, void* source, long byteLength, nint stream)
    {
        int result = byteLength == 0 ? 0 : cuda.CopyToDeviceAsync(destination, source, (nuint)byteLength, stream);
        if (result != 0)
        {
            throw Error(result, "cuMemcpyHtoDAsync", $"{byteLength} bytes to 0x{destination:x}");
        }
    }

    /// <inheritdoc/>
    public void CopyToHostAsync(void* destination, nint source, long byteLength, nint stream)
    {
        int result = byteLength == 0 ? 0 : cuda.CopyToHostAsync(destination, source, (nuint)byteLength, stream);
        if (result != 0)
        {
            throw Error(result, "cuMemcpyDtoHAsync", $"{byteLength} bytes from 0x{source:x}");
        }
    }

    /// <inheritdoc/>
    public void CopyAsync(nint destination, nint source, long byteLength, nint stream)
    {
        int result = byteLength == 0 ? 0 : cuda.CopyAsync(destination, source, (nuint)byteLength, stream);
        if (result != 0)
        {
            throw Error(result, "cuMemcpyDtoDAsync", $"{byteLength} bytes from 0x{source:x} to 0x{destination:x}");
        }
    }

    /// <inheritdoc/>
    public void FillAsync(nint destination, byte value, long byteLength, nint stream)
    {
        int result = byteLength == 0 ? 0 : cuda.FillBytesAsync(destination, value, (nuint)byteLength, stream);
        if (result != 0)
        {
            throw Error(result, "cuMemsetD8Async", $"{byteLength} bytes at 0x{destination:x}");
        }
    }

    /// <inheritdoc/>
    public void FillWordsAsync(nint destination, uint value, long wordCount, nint stream)
    {
        int result = wordCount == 0 ? 0 : cuda.FillWordsAsync(destination, value, (nuint)wordCount, stream);
        if (result != 0)
        {
            throw Error(result, "cuMemsetD32Async", $"{wordCount} words at 0x{destination:x}");
        }
    }

    /// <inheritdoc/>
    public nint CreateStream()
    {
        nint stream;
        Check(cuda.StreamCreate(&stream, NonBlockingStream), "cuStreamCreate");
        return stream;
    }

    /// <inheritdoc/>
    public void DestroyStream(nint stream) => Release(cuda.StreamDestroy(stream), "cuStreamDestroy");

    /// <inheritdoc/>
    public void SynchronizeStream(nint stream) => Check(cuda.StreamSynchronize(stream), "cuStreamSynchronize");

    /// <inheritdoc/>
    public void WaitEvent(nint stream, nint @event) => Check(cuda.StreamWaitEvent(stream, @event, 0), "cuStreamWaitEvent");

    /// <inheritdoc/>
    public nint CreateEvent(bool timing)
    {
        nint created;
        Check(cuda.EventCreate(&created, timing ? 0 : EventWithoutTiming), "cuEventCreate");
        return created;
    }

    /// <inheritdoc/>
    public void DestroyEvent(nint @event) => Release(cuda.EventDestroy(@event), "cuEventDestroy");

    /// <inheritdoc/>
    public void RecordEvent(nint @event, nint stream) => Check(cuda.EventRecord(@event, stream), "cuEventRecord");

    /// <inheritdoc/>
    public bool QueryEvent(nint @event)
    {
        int result = cuda.EventQuery(@event);
        return result == 0 || (result == DriverError.NotReady ? false : throw Error(result, "cuEventQuery", ""));
    }

    /// <inheritdoc/>
    public void SynchronizeEvent(nint @event) => Check(cuda.EventSynchronize(@event), "cuEventSynchronize");

    /// <inheritdoc/>
    public float ElapsedMilliseconds(nint start, nint end)
    {
        float milliseconds;
        Check(cuda.EventElapsedTime(&milliseconds, start, end), "cuEventElapsedTime");
        return milliseconds;
    }

    /// <inheritdoc/>
    public void BeginCapture(nint stream) => Check(cuda.StreamBeginCapture(stream, CaptureThreadLocal), "cuStreamBeginCapture");

    /// <inheritdoc/>
    public nint EndCapture(nint stream)
    {
        nint graph;
        Check(cuda.StreamEndCapture(stream, &graph), "cuStreamEndCapture");
        return graph;
    }

    /// <inheritdoc/>
    public nint InstantiateGraph(nint graph)
    {
        nint executable;
        Check(cuda.GraphInstantiate(&executable, graph, 0), "cuGraphInstantiateWithFlags");
        return executable;
    }

    /// <inheritdoc/>
    public void LaunchGraph(nint executable, nint stream) => Check(cuda.GraphLaunch(executable, stream), "cuGraphLaunch");

    /// <inheritdoc/>
    public void DestroyGraph(nint graph) => Release(cuda.GraphDestroy(graph), "cuGraphDestroy");

    /// <inheritdoc/>
    public void DestroyExecutableGraph(nint executable) => Release(cuda.GraphExecutableDestroy(executable), "cuGraphExecDestroy");

    /// <summary>Nothing to do: contexts, memory and modules are released by who made them, and the library stays with the process.</summary>
    public void Dispose()
    {
    }

    internal static string NotFound(IReadOnlyList<NativeLibraryAttempt> attempts)
    {
        StringBuilder text = new($"The CUDA driver ({DriverSearch.FileName}) was not found: install the NVIDIA driver, or name its library in {DriverSearch.Variable}, ");
        text.Append("or use --device cpu or --device emulated. Searched:");
        foreach (NativeLibraryAttempt attempt in attempts)
        {
            text.AppendLine().Append("  ").Append(attempt);
        }

        return text.ToString();
    }

    // The driver wants the map at a multiple of 64 bytes.
    private static TensorMap* Aligned(byte* storage) => (TensorMap*)(((nint)storage + 63) & ~63);

    private void RequireTensorMaps(void* function)
    {
        if (function == null)
        {
            throw new CudaException($"Bulk copies need tensor maps (cuTensorMapEncodeTiled), which this driver lacks: install one of CUDA 12.0 or newer. [{version}]");
        }
    }

    private string DescribeModule(string name, int length, byte[] log)
    {
        int end = Array.IndexOf(log, (byte)0);
        string words = Encoding.UTF8.GetString(log, 0, end < 0 ? log.Length : end).Trim();
        string targets = architectures.Length > 0 ? string.Join(", ", architectures.Distinct()) : "no device";
        return $"module {name} of {length} bytes for {targets}; the driver's log: {(words.Length > 0 ? words : "empty")}";
    }

    private string NameOf(nint function) => functionNames.TryGetValue(function, out string? name) ? name : $"0x{function:x}";

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Check(int result, string call)
    {
        if (result != 0)
        {
            throw Error(result, call, "");
        }
    }

    // What is released together with a lost context, or after the driver has shut down at the end of the process, is gone anyway; the loss is reported by the call that met it or by
    // the next one that is no release.
    private void Release(int result, string call)
    {
        if (result == 0 || result == DriverError.Deinitialized)
        {
            return;
        }

        Exception error = Error(result, call, "");
        if (!IsLost)
        {
            throw error;
        }
    }

    private Exception LaunchError(int result, string call, nint function, in LaunchGeometry geometry, nuint argumentBytes) =>
        Error(result, call, $"kernel {NameOf(function)}, {geometry}, {argumentBytes} bytes of arguments");

    [MethodImpl(MethodImplOptions.NoInlining)]
    private Exception Error(int result, string call, string what)
    {
        IsLost |= CudaException.LosesContext(result);
        return DriverError.Of(call, result, cuda, version, what);
    }
}
