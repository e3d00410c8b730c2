using System.Runtime.InteropServices;

namespace Saturn.Kernels.Cuda.Driver;

/// <summary>
/// The functions of a loaded <c>libcuda.so.1</c> or <c>nvcuda.dll</c>, by the names that it exports: <c>cuda.h</c> hides versions behind macros, so its <c>cuMemAlloc</c> is
/// the export <c>cuMemAlloc_v2</c>. Each returns a <c>CUresult</c>.
/// </summary>
internal sealed unsafe class DriverFunctions
{
    /// <summary>Binds a loaded library.</summary>
    /// <exception cref="EntryPointNotFoundException">It lacks a function, so it is older than CUDA 11.4 or something else.</exception>
    public DriverFunctions(nint library, string path)
        : this(name => NativeLibrary.GetExport(library, name), name => NativeLibrary.TryGetExport(library, name, out nint address) ? address : 0, path)
    {
    }

    /// <summary>Binds functions by name: those that must be there, and those that may be missing, for which 0 stands.</summary>
    public DriverFunctions(Func<string, nint> export, Func<string, nint> optionalExport, string path)
    {
        Path = path;
        Initialize = (delegate* unmanaged<uint, int>)export("cuInit");
        DriverGetVersion = (delegate* unmanaged<int*, int>)export("cuDriverGetVersion");
        GetErrorName = (delegate* unmanaged<int, byte**, int>)export("cuGetErrorName");
        GetErrorString = (delegate* unmanaged<int, byte**, int>)export("cuGetErrorString");

        DeviceGetCount = (delegate* unmanaged<int*, int>)export("cuDeviceGetCount");
        DeviceGet = (delegate* unmanaged<int*, int, int>)export("cuDeviceGet");
        DeviceGetName = (delegate* unmanaged<byte*, int, int, int>)export("cuDeviceGetName");
        DeviceGetAttribute = (delegate* unmanaged<int*, int, int, int>)export("cuDeviceGetAttribute");
        PrimaryContextRetain = (delegate* unmanaged<nint*, int, int>)export("cuDevicePrimaryCtxRetain");
        PrimaryContextRelease = (delegate* unmanaged<int, int>)export("cuDevicePrimaryCtxRelease_v2");
        ContextSetCurrent = (delegate* unmanaged<nint, int>)export("cuCtxSetCurrent");

        ModuleLoadDataEx = (delegate* unmanaged<nint*, void*, uint, int*, void**, int>)export("cuModuleLoadDataEx");
        ModuleUnload = (delegate* unmanaged<nint, int>)export("cuModuleUnload");
        ModuleGetFunction = (delegate* unmanaged<nint*, nint, byte*, int>)export("cuModuleGetFunction");
        FunctionGetAttribute = (delegate* unmanaged<int*, int, nint, int>)export("cuFuncGetAttribute");
        FunctionSetAttribute = (delegate* unmanaged<nint, int, int, int>)export("cuFuncSetAttribute");
        LaunchKernel = (delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)export("cuLaunchKernel");

        // Since CUDA 11.8; only kernels with launch attributes need it.
        LaunchKernelEx = (delegate* unmanaged<LaunchConfiguration*, nint, void**, void**, int>)optionalExport("cuLaunchKernelEx");

        // Since CUDA 12.0; only kernels with bulk copies need them.
        TensorMapEncodeTiled = (delegate* unmanaged<void*, int, uint, nint, ulong*, ulong*, uint*, uint*, int, int, int, int, int>)optionalExport("cuTensorMapEncodeTiled");
        TensorMapEncodeIm2col = (delegate* unmanaged<void*, int, uint, nint, ulong*, ulong*, int*, int*, uint, uint, uint*, int, int, int, int, int>)optionalExport("cuTensorMapEncodeIm2col");

        MemoryGetInformation = (delegate* unmanaged<nuint*, nuint*, int>)export("cuMemGetInfo_v2");
        MemoryAllocate = (delegate* unmanaged<nint*, nuint, int>)export("cuMemAlloc_v2");
        MemoryFree = (delegate* unmanaged<nint, int>)export("cuMemFree_v2");
        MemoryAllocateAsync = (delegate* unmanaged<nint*, nuint, nint, int>)export("cuMemAllocAsync");
        MemoryFreeAsync = (delegate* unmanaged<nint, nint, int>)export("cuMemFreeAsync");
        HostAllocate = (delegate* unmanaged<nint*, nuint, uint, int>)export("cuMemHostAlloc");
        HostFree = (delegate* unmanaged<nint, int>)export("cuMemFreeHost");
        CopyToDeviceAsync = (delegate* unmanaged<nint, void*, nuint, nint, int>)export("cuMemcpyHtoDAsync_v2");
        CopyToHostAsync = (delegate* unmanaged<void*, nint, nuint, nint, int>)export("cuMemcpyDtoHAsync_v2");
        CopyAsync = (delegate* unmanaged<nint, nint, nuint, nint, int>)export("cuMemcpyDtoDAsync_v2");
        FillBytesAsync = (delegate* unmanaged<nint, byte, nuint, nint, int>)export("cuMemsetD8Async");
        FillWordsAsync = (delegate* unmanaged<nint, uint, nuint, nint, int>)export("cuMemsetD32Async");

        StreamCreate = (delegate* unmanaged<nint*, uint, int>)export("cuStreamCreate");
        StreamDestroy = (delegate* unmanaged<nint, int>)export("cuStreamDestroy_v2");
        StreamSynchronize = (delegate* unmanaged<nint, int>)export("cuStreamSynchronize");
        StreamWaitEvent = (delegate* unmanaged<nint, nint, uint, int>)export("cuStreamWaitEvent");
        StreamBeginCapture = (delegate* unmanaged<nint, int, int>)export("cuStreamBeginCapture_v2");
        StreamEndCapture = (delegate* unmanaged<nint, nint*, int>)export("cuStreamEndCapture");
        EventCreate = (delegate* unmanaged<nint*, uint, int>)export("cuEventCreate");
        EventDestroy = (delegate* unmanaged<nint, int>)export("cuEventDestroy_v2");
        EventRecord = (delegate* unmanaged<nint, nint, int>)export("cuEventRecord");
        EventQuery = (delegate* unmanaged<nint, int>)export("cuEventQuery");
        EventSynchronize = (delegate* unmanaged<nint, int>)export("cuEventSynchronize");
        EventElapsedTime = (delegate* unmanaged<float*, nint, nint, int>)export("cuEventElapsedTime");
        GraphInstantiate = (delegate* unmanaged<nint*, nint, ulong, int>)export("cuGraphInstantiateWithFlags");
        GraphLaunch = (delegate* unmanaged<nint, nint, int>)export("cuGraphLaunch");
        GraphDestroy = (delegate* unmanaged<nint, int>)export("cuGraphDestroy");
        GraphExecutableDestroy = (delegate* unmanaged<nint, int>)export("cuGraphExecDestroy");
    }

    /// <summary>The library's file.</summary>
    public string Path { get; }

    public readonly delegate* unmanaged<uint, int> Initialize;
    public readonly delegate* unmanaged<int*, int> DriverGetVersion;
    public readonly delegate* unmanaged<int, byte**, int> GetErrorName;
    public readonly delegate* unmanaged<int, byte**, int> GetErrorString;

    public readonly delegate* unmanaged<int*, int> DeviceGetCount;
    public readonly delegate* unmanaged<int*, int, int> DeviceGet;
    public readonly delegate* unmanaged<byte*, int, int, int> DeviceGetName;
    public readonly delegate* unmanaged<int*, int, int, int> DeviceGetAttribute;
    public readonly delegate* unmanaged<nint*, int, int> PrimaryContextRetain;
    public readonly delegate* unmanaged<int, int> PrimaryContextRelease;
    public readonly delegate* unmanaged<nint, int> ContextSetCurrent;

    public readonly delegate* unmanaged<nint*, void*, uint, int*, void**, int> ModuleLoadDataEx;
    public readonly delegate* unmanaged<nint, int> ModuleUnload;
    public readonly delegate* unmanaged<nint*, nint, byte*, int> ModuleGetFunction;
    public readonly delegate* unmanaged<int*, int, nint, int> FunctionGetAttribute;
    public readonly delegate* unmanaged<nint, int, int, int> FunctionSetAttribute;
    public readonly delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int> LaunchKernel;
    public readonly delegate* unmanaged<LaunchConfiguration*, nint, void**, void**, int> LaunchKernelEx;

    public readonly delegate* unmanaged<void*, int, uint, nint, ulong*, ulong*, uint*, uint*, int, int, int, int, int> TensorMapEncodeTiled;
    public readonly delegate* unmanaged<void*, int, uint, nint, ulong*, ulong*, int*, int*, uint, uint, uint*, int, int, int, int, int> TensorMapEncodeIm2col;

    public readonly delegate* unmanaged<nuint*, nuint*, int> MemoryGetInformation;
    public readonly delegate* unmanaged<nint*, nuint, int> MemoryAllocate;
    public readonly delegate* unmanaged<nint, int> MemoryFree;
    public readonly delegate* unmanaged<nint*, nuint, nint, int> MemoryAllocateAsync;
    public readonly delegate* unmanaged<nint, nint, int> MemoryFreeAsync;
    public readonly delegate* unmanaged<nint*, nuint, uint, int> HostAllocate;
    public readonly delegate* unmanaged<nint, int> HostFree;
    public readonly delegate* unmanaged<nint, void*, nuint, nint, int> CopyToDeviceAsync;
    public readonly delegate* unmanaged<void*, nint, nuint, nint, int> CopyToHostAsync;
    public readonly delegate* unmanaged<nint, nint, nuint, nint, int> CopyAsync;
    public readonly delegate* unmanaged<nint, byte, nuint, nint, int> FillBytesAsync;
    public readonly delegate* unmanaged<nint, uint, nuint, nint, int> FillWordsAsync;

    public readonly delegate* unmanaged<nint*, uint, int> StreamCreate;
    public readonly delegate* unmanaged<nint, int> StreamDestroy;
    public readonly delegate* unmanaged<nint, int> StreamSynchronize;
    public readonly delegate* unmanaged<nint, nint, uint, int> StreamWaitEvent;
    public readonly delegate* unmanaged<nint, int, int> StreamBeginCapture;
    public readonly delegate* unmanaged<nint, nint*, int> StreamEndCapture;
    public readonly delegate* unmanaged<nint*, uint, int> EventCreate;
    public readonly delegate* unmanaged<nint, int> EventDestroy;
    public readonly delegate* unmanaged<nint, nint, int> EventRecord;
    public readonly delegate* unmanaged<nint, int> EventQuery;
    public readonly delegate* unmanaged<nint, int> EventSynchronize;
    public readonly delegate* unmanaged<float*, nint, nint, int> EventElapsedTime;
    public readonly delegate* unmanaged<nint*, nint, ulong, int> GraphInstantiate;
    public readonly delegate* unmanaged<nint, nint, int> GraphLaunch;
    public readonly delegate* unmanaged<nint, int> GraphDestroy;
    public readonly delegate* unmanaged<nint, int> GraphExecutableDestroy;

    /// <summary>Name and text of a result code, as the driver gives them.</summary>
    public (string Name, string Text) Describe(int code)
    {
        byte* name = null;
        byte* text = null;
        _ = GetErrorName(code, &name);
        _ = GetErrorString(code, &text);
        return (Marshal.PtrToStringUTF8((nint)name) ?? "an unknown code", Marshal.PtrToStringUTF8((nint)text) ?? "the driver has no text for it");
    }
}
