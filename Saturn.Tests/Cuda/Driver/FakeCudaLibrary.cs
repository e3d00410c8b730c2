using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Cuda.Driver;

namespace Saturn.Tests.Cuda.Driver;

/// <summary>
/// A <c>libcuda</c> made of managed functions with the signatures of <c>cuda.h</c>, so that what the binding passes can be looked at without a driver. Functions that a test does not care for
/// return success.
/// </summary>
internal static unsafe class FakeCudaLibrary
{
    private static readonly Dictionary<string, nint> Faked = new()
    {
        ["cuDriverGetVersion"] = (nint)(delegate* unmanaged<int*, int>)&GetVersion,
        ["cuGetErrorName"] = (nint)(delegate* unmanaged<int, byte**, int>)&GetErrorName,
        ["cuGetErrorString"] = (nint)(delegate* unmanaged<int, byte**, int>)&GetErrorString,
        ["cuInit"] = (nint)(delegate* unmanaged<uint, int>)&Initialize,
        ["cuDeviceGetCount"] = (nint)(delegate* unmanaged<int*, int>)&GetCount,
        ["cuDeviceGet"] = (nint)(delegate* unmanaged<int*, int, int>)&GetDevice,
        ["cuDeviceGetName"] = (nint)(delegate* unmanaged<byte*, int, int, int>)&GetName,
        ["cuDeviceGetAttribute"] = (nint)(delegate* unmanaged<int*, int, int, int>)&GetAttribute,
        ["cuLaunchKernel"] = (nint)(delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)&LaunchKernel,
        ["cuLaunchKernelEx"] = (nint)(delegate* unmanaged<byte*, nint, void**, void**, int>)&LaunchKernelEx,
        ["cuTensorMapEncodeTiled"] = (nint)(delegate* unmanaged<ulong*, int, uint, nint, ulong*, ulong*, uint*, uint*, int, int, int, int, int>)&EncodeTiled,
        ["cuTensorMapEncodeIm2col"] = (nint)(delegate* unmanaged<ulong*, int, uint, nint, ulong*, ulong*, int*, int*, uint, uint, uint*, int, int, int, int, int>)&EncodeIm2col,
        ["cuModuleLoadDataEx"] = (nint)(delegate* unmanaged<nint*, void*, uint, int*, void**, int>)&LoadModule,
        ["cuModuleGetFunction"] = (nint)(delegate* unmanaged<nint*, nint, byte*, int>)&GetFunction,
        ["cuMemAlloc_v2"] = (nint)(delegate* unmanaged<nint*, nuint, int>)&Allocate,
        ["cuMemFree_v2"] = (nint)(delegate* unmanaged<nint, int>)&Free,
        ["cuMemGetInfo_v2"] = (nint)(delegate* unmanaged<nuint*, nuint*, int>)&GetInformation,
        ["cuStreamCreate"] = (nint)(delegate* unmanaged<nint*, uint, int>)&CreateStream,
        ["cuStreamSynchronize"] = (nint)(delegate* unmanaged<nint, int>)&Synchronize,
        ["cuStreamBeginCapture_v2"] = (nint)(delegate* unmanaged<nint, int, int>)&BeginCapture,
        ["cuEventCreate"] = (nint)(delegate* unmanaged<nint*, uint, int>)&CreateEvent,
        ["cuEventQuery"] = (nint)(delegate* unmanaged<nint, int>)&Query,
        ["cuMemsetD8Async"] = (nint)(delegate* unmanaged<nint, byte, nuint, nint, int>)&FillBytes,
        ["cuMemsetD32Async"] = (nint)(delegate* unmanaged<nint, uint, nuint, nint, int>)&FillWords,
    };

    /// <summary>What the next failing call returns; calls that can fail return it.</summary>
    public static int Result;

    /// <summary>What <c>cuInit</c> returns.</summary>
    public static int InitializeResult;

    /// <summary>The compute capability, 90 for 9.0.</summary>
    public static int Capability = 90;

    /// <summary>The compiler's log of <c>cuModuleLoadDataEx</c>.</summary>
    public static string ModuleLog = "";

    /// <summary>Whether launches are noted in <see cref="LastCall"/>, which allocates.</summary>
    public static bool Records = true;

    /// <summary>What was called last, with its arguments in words.</summary>
    public static string LastCall = "";

    /// <summary>Names of the functions that the binding asked for.</summary>
    public static readonly List<string> Asked = [];

    /// <summary>A driver on this library.</summary>
    public static LibCudaDriver Open()
    {
        (Result, InitializeResult, Capability, ModuleLog, LastCall, Records) = (0, 0, 90, "", "", true);
        return OpenAsIs();
    }

    /// <summary>A driver of CUDA 11, which knows no tensor maps.</summary>
    public static LibCudaDriver OpenOlder()
    {
        Open();
        return new LibCudaDriver(new DriverFunctions(Export, name => name.StartsWith("cuTensorMap", StringComparison.Ordinal) ? 0 : Export(name), "/fake/libcuda.so.1"));
    }

    /// <summary>A driver on this library with its settings as they are.</summary>
    public static LibCudaDriver OpenAsIs()
    {
        Asked.Clear();
        return new LibCudaDriver(new DriverFunctions(Export, Export, "/fake/libcuda.so.1"));
    }

    private static nint Export(string name)
    {
        Asked.Add(name);
        return Faked.TryGetValue(name, out nint function) ? function : (nint)(delegate* unmanaged<int>)&Succeed;
    }

    [UnmanagedCallersOnly]
    private static int Succeed() => Result;

    [UnmanagedCallersOnly]
    private static int Initialize(uint flags) => flags == 0 ? InitializeResult : 1;

    [UnmanagedCallersOnly]
    private static int GetVersion(int* version)
    {
        *version = 12_040;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int GetErrorName(int code, byte** name)
    {
        *name = (byte*)Marshal.StringToCoTaskMemUTF8($"CUDA_ERROR_NUMBER_{code}");
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int GetErrorString(int code, byte** text)
    {
        *text = (byte*)Marshal.StringToCoTaskMemUTF8($"text of {code}");
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int GetCount(int* count)
    {
        *count = 2;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int GetDevice(int* device, int ordinal)
    {
        *device = ordinal + 10;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int GetName(byte* name, int length, int device)
    {
        "Fake 1234\0"u8.CopyTo(new Span<byte>(name, length));
        return device == 11 ? 0 : 101;
    }

    [UnmanagedCallersOnly]
    private static int GetAttribute(int* value, int attribute, int device)
    {
        *value = attribute switch { 75 => Capability / 10, 76 => Capability % 10, _ => attribute * 1000 + device };
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int LaunchKernel(
        nint function, uint gridX, uint gridY, uint gridZ, uint blockX, uint blockY, uint blockZ, uint shared, nint stream, void** parameters, void** extra)
    {
        if (Records)
        {
            LastCall = $"{function}: {gridX} {gridY} {gridZ}, {blockX} {blockY} {blockZ}, {shared} on {stream}, {(parameters == null ? "null" : "parameters")}, {Extra(extra)}";
        }

        return Result;
    }

    [UnmanagedCallersOnly]
    private static int LaunchKernelEx(byte* configuration, nint function, void** parameters, void** extra)
    {
        // Offsets of CUlaunchConfig and CUlaunchAttribute in cuda.h.
        uint* words = (uint*)configuration;
        byte* attributes = *(byte**)(configuration + 40);
        uint count = *(uint*)(configuration + 48);
        LastCall = $"{function}: {words[0]} {words[1]} {words[2]}, {words[3]} {words[4]} {words[5]}, {words[6]} on {*(nint*)(configuration + 32)}, {(parameters == null ? "null" : "parameters")}, {Extra(extra)}";
        for (int i = 0; i < count; i++)
        {
            uint* attribute = (uint*)(attributes + 72 * i);
            LastCall += $", attribute {attribute[0]} {attribute[2]} {attribute[3]} {attribute[4]}";
        }

        return Result;
    }

    // CU_LAUNCH_PARAM_BUFFER_POINTER, buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, address of the size, CU_LAUNCH_PARAM_END.
    private static string Extra(void** extra) =>
        $"extra {(nint)extra[0]} {*(long*)extra[1]} {(nint)extra[2]} {*(nuint*)extra[3]} {(nint)extra[4]}";

    [UnmanagedCallersOnly]
    private static int EncodeTiled(
        ulong* map, int type, uint rank, nint address, ulong* sizes, ulong* strides, uint* box, uint* steps, int interleave, int swizzle, int promotion, int fill)
    {
        LastCall = $"type {type}, rank {rank}, {address}, sizes {sizes[0]} {sizes[1]}, stride {strides[0]}, box {box[0]} {box[1]}, steps {steps[0]} {steps[1]}, {interleave} {swizzle} {promotion} {fill}";
        map[15] = (nint)map % 64 == 0 ? 4321ul : 0;
        return Result;
    }

    [UnmanagedCallersOnly]
    private static int EncodeIm2col(
        ulong* map, int type, uint rank, nint address, ulong* sizes, ulong* strides, int* lower, int* upper, uint channels, uint pixels, uint* steps, int interleave, int swizzle, int promotion, int fill)
    {
        LastCall = $"type {type}, rank {rank}, {address}, sizes {sizes[0]} {sizes[1]} {sizes[2]} {sizes[3]}, strides {strides[0]} {strides[1]} {strides[2]}, lower {lower[0]} {lower[1]}, "
            + $"upper {upper[0]} {upper[1]}, {channels} channels, {pixels} pixels, steps {steps[0]} {steps[1]} {steps[2]} {steps[3]}, {interleave} {swizzle} {promotion} {fill}";
        map[15] = (nint)map % 64 == 0 ? 4321ul : 0;
        return Result;
    }

    [UnmanagedCallersOnly]
    private static int LoadModule(nint* module, void* image, uint count, int* options, void** values)
    {
        LastCall = $"{Marshal.PtrToStringUTF8((nint)image)} with options {string.Join(' ', new ReadOnlySpan<int>(options, (int)count).ToArray())}, log of {(nint)values[1]} bytes";
        ReadOnlySpan<byte> log = System.Text.Encoding.UTF8.GetBytes(ModuleLog + '\0');
        log.CopyTo(new Span<byte>(values[0], (int)(nint)values[1]));
        *module = 77;
        return Result;
    }

    [UnmanagedCallersOnly]
    private static int GetFunction(nint* function, nint module, byte* name)
    {
        LastCall = $"{Marshal.PtrToStringUTF8((nint)name)} of {module}";
        *function = 88;
        return Result;
    }

    [UnmanagedCallersOnly]
    private static int Allocate(nint* address, nuint bytes)
    {
        *address = (nint)bytes;
        return Result;
    }

    [UnmanagedCallersOnly]
    private static int Free(nint address) => Result;

    [UnmanagedCallersOnly]
    private static int GetInformation(nuint* free, nuint* total)
    {
        (*free, *total) = (3, 5);
        return Result;
    }

    [UnmanagedCallersOnly]
    private static int CreateStream(nint* stream, uint flags)
    {
        LastCall = $"flags {flags}";
        *stream = 99;
        return Result;
    }

    [UnmanagedCallersOnly]
    private static int Synchronize(nint stream) => Result;

    [UnmanagedCallersOnly]
    private static int BeginCapture(nint stream, int mode)
    {
        LastCall = $"stream {stream}, mode {mode}";
        return Result;
    }

    [UnmanagedCallersOnly]
    private static int CreateEvent(nint* @event, uint flags)
    {
        LastCall = $"flags {flags}";
        *@event = 66;
        return Result;
    }

    [UnmanagedCallersOnly]
    private static int Query(nint @event) => Result;

    [UnmanagedCallersOnly]
    private static int FillBytes(nint address, byte value, nuint count, nint stream)
    {
        LastCall = $"{count} bytes of {value} at {address} on {stream}";
        return Result;
    }

    [UnmanagedCallersOnly]
    private static int FillWords(nint address, uint value, nuint count, nint stream)
    {
        LastCall = $"{count} words of {value} at {address} on {stream}";
        return Result;
    }
}
