namespace Saturn.Kernels.Cuda;

/// <summary>
/// The calls of the CUDA driver that Saturn makes: the seam between <see cref="CudaDevice"/> and what executes kernels, which is either the
/// real driver (<see cref="LibCudaDriver"/>) or the GPU in software of <c>Saturn.Emulator</c>. Handles and device addresses are plain
/// <see cref="nint"/>. Every call that fails throws a <see cref="CudaException"/> naming call, code and the driver's text. Calls act on the
/// context made current on the calling thread by <see cref="SetCurrentContext"/>.
/// </summary>
public unsafe interface ICudaDriver : IDisposable
{
    /// <summary>One line for people: what this is, its version and where it was found.</summary>
    string Description { get; }

    /// <summary>Whether a GPU in software stands behind this contract.</summary>
    bool IsEmulated { get; }

    /// <summary>
    /// Whether every access is checked against the allocations of this driver. Saturn then asks for each buffer on its own instead of cutting
    /// buffers out of large blocks, so that a step outside a buffer is a step outside an allocation.
    /// </summary>
    bool ChecksMemory { get; }

    /// <summary>
    /// Whether a call has failed in a way that loses the context, as after a kernel's illegal access. Every further call fails then, except those that release something: they do nothing,
    /// so that owners can be disposed.
    /// </summary>
    bool IsLost { get; }

    /// <summary>The newest CUDA version that the driver understands, as 1000·major + 10·minor (<c>cuDriverGetVersion</c>).</summary>
    int DriverVersion { get; }

    /// <summary>Number of devices (<c>cuDeviceGetCount</c>).</summary>
    int DeviceCount { get; }

    /// <summary>The device's name (<c>cuDeviceGetName</c>).</summary>
    string DeviceName(int ordinal);

    /// <summary>One attribute of a device (<c>cuDeviceGetAttribute</c>).</summary>
    int DeviceAttribute(int ordinal, CudaDeviceAttribute attribute);

    /// <summary>
    /// What kernels must be compiled to for this device: machine code such as <c>sm_90a</c> for hardware, PTX such as <c>compute_80</c> for the
    /// emulator.
    /// </summary>
    string TargetArchitecture(int ordinal);

    /// <summary>Retains the device's primary context (<c>cuDevicePrimaryCtxRetain</c>).</summary>
    nint RetainPrimaryContext(int ordinal);

    /// <summary>Releases the device's primary context (<c>cuDevicePrimaryCtxRelease</c>).</summary>
    void ReleasePrimaryContext(int ordinal);

    /// <summary>Makes a context current on the calling thread (<c>cuCtxSetCurrent</c>).</summary>
    void SetCurrentContext(nint context);

    /// <summary>Free and total bytes of device memory (<c>cuMemGetInfo_v2</c>).</summary>
    (long Free, long Total) MemoryInformation();

    /// <summary>Loads machine code or PTX (<c>cuModuleLoadDataEx</c>); the name appears in errors.</summary>
    nint LoadModule(ReadOnlySpan<byte> image, string name);

    /// <summary>Unloads a module (<c>cuModuleUnload</c>).</summary>
    void UnloadModule(nint module);

    /// <summary>A kernel of a module by its unmangled name (<c>cuModuleGetFunction</c>).</summary>
    nint GetFunction(nint module, string name);

    /// <summary>One attribute of a kernel (<c>cuFuncGetAttribute</c>).</summary>
    int FunctionAttribute(nint function, CudaFunctionAttribute attribute);

    /// <summary>Sets one attribute of a kernel (<c>cuFuncSetAttribute</c>).</summary>
    void SetFunctionAttribute(nint function, CudaFunctionAttribute attribute, int value);

    /// <summary>
    /// Launches a kernel that takes one struct by value (<c>cuLaunchKernel</c> with a parameter buffer). The arguments are copied before the call returns.
    /// </summary>
    void Launch(nint function, in LaunchGeometry geometry, void* arguments, nuint argumentBytes, nint stream);

    /// <summary>The same with launch attributes such as a thread block cluster (<c>cuLaunchKernelEx</c>).</summary>
    void LaunchWithAttributes(
        nint function, in LaunchGeometry geometry, ReadOnlySpan<CudaLaunchAttribute> attributes, void* arguments, nuint argumentBytes, nint stream);

    /// <summary>Describes boxes of a tensor for bulk copies (<c>cuTensorMapEncodeTiled</c>; compute capability 9.0, CUDA 12).</summary>
    /// <param name="source">The tensor.</param>
    /// <param name="box">Elements that a copy moves along each dimension: 1 to 256, innermost a multiple of 16 bytes.</param>
    /// <returns>The map, for a kernel's arguments.</returns>
    TensorMap EncodeTensorMap(in TensorMapSource source, ReadOnlySpan<uint> box);

    /// <summary>Describes pixels of a batch of images for bulk copies (<c>cuTensorMapEncodeIm2col</c> with four dimensions; compute capability 9.0, CUDA 12).</summary>
    /// <param name="source">The images: sizes and steps of channels, columns, rows, images.</param>
    /// <param name="pixels">The pixels.</param>
    /// <returns>The map, for a kernel's arguments.</returns>
    TensorMap EncodeTensorMap(in TensorMapSource source, in PixelBox pixels);

    /// <summary>Allocates device memory at once (<c>cuMemAlloc_v2</c>), aligned to at least 256 bytes. Synchronises.</summary>
    /// <exception cref="DeviceOutOfMemoryException">There is no room.</exception>
    nint Allocate(long byteLength);

    /// <summary>Frees memory of <see cref="Allocate"/> (<c>cuMemFree_v2</c>). Synchronises.</summary>
    void Free(nint address);

    /// <summary>Allocates device memory in stream order (<c>cuMemAllocAsync</c>).</summary>
    /// <exception cref="DeviceOutOfMemoryException">There is no room.</exception>
    nint AllocateAsync(long byteLength, nint stream);

    /// <summary>Frees memory of <see cref="AllocateAsync"/> in stream order (<c>cuMemFreeAsync</c>).</summary>
    void FreeAsync(nint address, nint stream);

    /// <summary>Allocates page-locked host memory (<c>cuMemHostAlloc</c>).</summary>
    nint AllocatePinned(long byteLength);

    /// <summary>Frees page-locked host memory (<c>cuMemFreeHost</c>).</summary>
    void FreePinned(nint address);

    /// <summary>Copies from host to device in stream order (<c>cuMemcpyHtoDAsync_v2</c>). Page-locked sources must stay unchanged until the copy has run.</summary>
    void CopyToDeviceAsync(nint destination, void* source, long byteLength, nint stream);

    /// <summary>Copies from device to host in stream order (<c>cuMemcpyDtoHAsync_v2</c>). The bytes are there after the stream was waited for.</summary>
    void CopyToHostAsync(void* destination, nint source, long byteLength, nint stream);

    /// <summary>Copies inside the device in stream order (<c>cuMemcpyDtoDAsync_v2</c>).</summary>
    void CopyAsync(nint destination, nint source, long byteLength, nint stream);

    /// <summary>Sets bytes in stream order (<c>cuMemsetD8Async</c>).</summary>
    void FillAsync(nint destination, byte value, long byteLength, nint stream);

    /// <summary>Sets 32-bit words in stream order (<c>cuMemsetD32Async</c>).</summary>
    void FillWordsAsync(nint destination, uint value, long wordCount, nint stream);

    /// <summary>Creates a stream that does not synchronise with the legacy default stream (<c>cuStreamCreate</c>, non-blocking).</summary>
    nint CreateStream();

    /// <summary>Destroys a stream (<c>cuStreamDestroy_v2</c>).</summary>
    void DestroyStream(nint stream);

    /// <summary>Waits for a stream's work (<c>cuStreamSynchronize</c>). Synchronises.</summary>
    void SynchronizeStream(nint stream);

    /// <summary>Makes later work of a stream wait for an event (<c>cuStreamWaitEvent</c>).</summary>
    void WaitEvent(nint stream, nint @event);

    /// <summary>Creates an event (<c>cuEventCreate</c>), with or without timing.</summary>
    nint CreateEvent(bool timing);

    /// <summary>Destroys an event (<c>cuEventDestroy_v2</c>).</summary>
    void DestroyEvent(nint @event);

    /// <summary>Records an event behind a stream's work so far (<c>cuEventRecord</c>).</summary>
    void RecordEvent(nint @event, nint stream);

    /// <summary>Whether the work before an event's record has finished (<c>cuEventQuery</c>). Does not wait.</summary>
    bool QueryEvent(nint @event);

    /// <summary>Waits for the work before an event's record (<c>cuEventSynchronize</c>). Synchronises.</summary>
    void SynchronizeEvent(nint @event);

    /// <summary>Milliseconds between two finished timing events (<c>cuEventElapsedTime</c>).</summary>
    float ElapsedMilliseconds(nint start, nint end);

    /// <summary>Records the stream's calls into a graph instead of executing them (<c>cuStreamBeginCapture_v2</c>, thread local).</summary>
    void BeginCapture(nint stream);

    /// <summary>Ends the recording and returns the graph (<c>cuStreamEndCapture</c>).</summary>
    nint EndCapture(nint stream);

    /// <summary>Makes a graph executable (<c>cuGraphInstantiateWithFlags</c>).</summary>
    nint InstantiateGraph(nint graph);

    /// <summary>Executes a graph in stream order (<c>cuGraphLaunch</c>).</summary>
    void LaunchGraph(nint executable, nint stream);

    /// <summary>Destroys a recorded graph (<c>cuGraphDestroy</c>).</summary>
    void DestroyGraph(nint graph);

    /// <summary>Destroys an executable graph (<c>cuGraphExecDestroy</c>).</summary>
    void DestroyExecutableGraph(nint executable);
}

/// <summary>Device attributes by the driver's numbers (<c>CUdevice_attribute</c>).</summary>
public enum CudaDeviceAttribute
{
    /// <summary>Threads a block may have.</summary>
    MaximumThreadsPerBlock = 1,

    /// <summary>Bytes of shared memory a block may use without asking for more.</summary>
    MaximumSharedMemoryPerBlock = 8,

    /// <summary>Threads of a warp.</summary>
    WarpSize = 10,

    /// <summary>32-bit registers of a block.</summary>
    MaximumRegistersPerBlock = 12,

    /// <summary>Kilohertz of the core clock.</summary>
    ClockRate = 13,

    /// <summary>Streaming multiprocessors.</summary>
    MultiprocessorCount = 16,

    /// <summary>Kilohertz of the memory clock.</summary>
    MemoryClockRate = 36,

    /// <summary>Bits of the memory bus.</summary>
    MemoryBusWidth = 37,

    /// <summary>Bytes of the second-level cache.</summary>
    SecondLevelCacheSize = 38,

    /// <summary>Threads a multiprocessor can hold.</summary>
    MaximumThreadsPerMultiprocessor = 39,

    /// <summary>First part of the compute capability.</summary>
    ComputeCapabilityMajor = 75,

    /// <summary>Second part of the compute capability.</summary>
    ComputeCapabilityMinor = 76,

    /// <summary>Bytes of shared memory of a multiprocessor.</summary>
    MaximumSharedMemoryPerMultiprocessor = 81,

    /// <summary>Bytes of shared memory a block may use after asking for it.</summary>
    MaximumSharedMemoryPerBlockOptIn = 97,

    /// <summary>Whether stream-ordered allocation works.</summary>
    MemoryPoolsSupported = 115,
}

/// <summary>Kernel attributes by the driver's numbers (<c>CUfunction_attribute</c>).</summary>
public enum CudaFunctionAttribute
{
    /// <summary>Threads a block may have for this kernel.</summary>
    MaximumThreadsPerBlock = 0,

    /// <summary>Bytes of static shared memory.</summary>
    SharedSizeBytes = 1,

    /// <summary>Bytes of constant memory.</summary>
    ConstantSizeBytes = 2,

    /// <summary>Bytes of local memory a thread, spills included.</summary>
    LocalSizeBytes = 3,

    /// <summary>32-bit registers a thread.</summary>
    RegisterCount = 4,

    /// <summary>Bytes of dynamic shared memory that a launch may ask for.</summary>
    MaximumDynamicSharedSizeBytes = 8,

    /// <summary>Share of the first-level cache that is shared memory, in per cent.</summary>
    PreferredSharedMemoryCarveout = 9,
}

/// <summary>One attribute of a launch (<c>CUlaunchAttribute</c>): its number and up to three values, such as the cluster's dimensions.</summary>
/// <param name="Id">The driver's number: 4 for a cluster dimension, 6 for programmatic stream serialization.</param>
/// <param name="X">First value.</param>
/// <param name="Y">Second value.</param>
/// <param name="Z">Third value.</param>
public readonly record struct CudaLaunchAttribute(int Id, uint X, uint Y = 0, uint Z = 0);
