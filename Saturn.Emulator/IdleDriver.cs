using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator;

/// <summary>A driver that does nothing, so that what a call costs before it reaches a driver can be measured.</summary>
/// <param name="architecture">Which device it stands for.</param>
/// <param name="version">The CUDA version that it tells.</param>
internal sealed unsafe class IdleDriver(EmulatedArchitecture architecture = EmulatedArchitecture.Ampere, int version = 12_000) : ICudaDriver
{
    private const nint Handle = 256;

    private nint nextAddress = Handle;

    /// <summary>Launches so far.</summary>
    public long Launches { get; private set; }

    /// <summary>The names of the kernels that were asked for, which a device does at the first launch.</summary>
    public HashSet<string> FunctionNames { get; } = [];

    public string Description => "idle driver";

    public bool IsEmulated => true;

    public bool ChecksMemory => false;

    public bool IsLost => false;

    public int DriverVersion => version;

    public int DeviceCount => 1;

    public string DeviceName(int ordinal) => "idle device";

    public int DeviceAttribute(int ordinal, CudaDeviceAttribute attribute) => EmulatedDevice.Of(architecture).Attribute(attribute);

    public string TargetArchitecture(int ordinal) => EmulatedDevice.Of(architecture).Target;

    public nint RetainPrimaryContext(int ordinal) => Handle;

    public void ReleasePrimaryContext(int ordinal)
    {
    }

    public void SetCurrentContext(nint context)
    {
    }

    public (long Free, long Total) MemoryInformation() => (0, 0);

    public nint LoadModule(ReadOnlySpan<byte> image, string name) => Handle;

    public void UnloadModule(nint module)
    {
    }

    public nint GetFunction(nint module, string name)
    {
        FunctionNames.Add(name);
        return Handle;
    }

    public int FunctionAttribute(nint function, CudaFunctionAttribute attribute) => 0;

    public void SetFunctionAttribute(nint function, CudaFunctionAttribute attribute, int value)
    {
    }

    public void Launch(nint function, in LaunchGeometry geometry, void* arguments, nuint argumentBytes, nint stream) => Launches++;

    public void LaunchWithAttributes(
        nint function, in LaunchGeometry geometry, ReadOnlySpan<CudaLaunchAttribute> attributes, void* arguments, nuint argumentBytes, nint stream) => Launches++;

    public TensorMap EncodeTensorMap(in TensorMapSource source, ReadOnlySpan<uint> box) => default;

    public TensorMap EncodeTensorMap(in TensorMapSource source, in PixelBox pixels) => default;

    public nint Allocate(long byteLength)
    {
        // Memory is told apart by its address.
        nint address = nextAddress;
        nextAddress += (nint)((byteLength + Handle - 1) & -Handle);
        return address;
    }

    public void Free(nint address)
    {
    }

    public nint AllocateAsync(long byteLength, nint stream) => Allocate(byteLength);

    public void FreeAsync(nint address, nint stream)
    {
    }

    // The host writes to it.
    public nint AllocatePinned(long byteLength) => (nint)NativeMemory.Alloc((nuint)byteLength);

    public void FreePinned(nint address) => NativeMemory.Free((void*)address);

    public void CopyToDeviceAsync(nint destination, void* source, long byteLength, nint stream)
    {
    }

    public void CopyToHostAsync(void* destination, nint source, long byteLength, nint stream)
    {
    }

    public void CopyAsync(nint destination, nint source, long byteLength, nint stream)
    {
    }

    public void FillAsync(nint destination, byte value, long byteLength, nint stream)
    {
    }

    public void FillWordsAsync(nint destination, uint value, long wordCount, nint stream)
    {
    }

    public nint CreateStream() => Handle;

    public void DestroyStream(nint stream)
    {
    }

    public void SynchronizeStream(nint stream)
    {
    }

    public void WaitEvent(nint stream, nint @event)
    {
    }

    public nint CreateEvent(bool timing) => Handle;

    public void DestroyEvent(nint @event)
    {
    }

    public void RecordEvent(nint @event, nint stream)
    {
    }

    public bool QueryEvent(nint @event) => true;

    public void SynchronizeEvent(nint @event)
    {
    }

    public float ElapsedMilliseconds(nint start, nint end) => 0;

    public void BeginCapture(nint stream)
    {
    }

    public nint EndCapture(nint stream) => Handle;

    public nint InstantiateGraph(nint graph) => Handle;

    public void LaunchGraph(nint executable, nint stream)
    {
    }

    public void DestroyGraph(nint graph)
    {
    }

    public void DestroyExecutableGraph(nint executable)
    {
    }

    public void Dispose()
    {
    }
}
