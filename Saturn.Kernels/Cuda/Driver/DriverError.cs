namespace Saturn.Kernels.Cuda.Driver;

/// <summary>What the driver's result codes (<c>CUresult</c>) mean for the person who reads them.</summary>
internal static class DriverError
{
    public const int InvalidValue = 1;
    public const int OutOfMemory = 2;
    public const int Deinitialized = 4;
    public const int StubLibrary = 34;
    public const int NoDevice = 100;
    public const int InvalidImage = 200;
    public const int NoBinaryForDevice = 209;
    public const int InvalidPtx = 218;
    public const int PtxCompilerNotFound = 221;
    public const int UnsupportedPtxVersion = 222;
    public const int NotReady = 600;
    public const int LaunchOutOfResources = 701;
    public const int SystemNotReady = 802;
    public const int SystemDriverMismatch = 803;
    public const int CompatibilityNotSupported = 804;
    public const int CaptureUnsupported = 900;
    public const int CaptureInvalidated = 901;
    public const int Unknown = 999;

    /// <summary>The exception for a code that is not success.</summary>
    /// <param name="call">The function, as <c>cuda.h</c> names it.</param>
    /// <param name="code">Its result.</param>
    /// <param name="functions">The library, for names and texts.</param>
    /// <param name="driver">The driver in a few words: version and file.</param>
    /// <param name="what">What the call was about: kernel and geometry, sizes, a module's name.</param>
    public static Exception Of(string call, int code, DriverFunctions functions, string driver, string what)
    {
        (string name, string text) = functions.Describe(code);
        string message = $"{call} failed with {name} ({code}): {text}.{(what.Length > 0 ? $" {what}." : "")}{(Hint(code) is { Length: > 0 } hint ? $" {hint}" : "")} [{driver}]";
        return code == OutOfMemory ? new DeviceOutOfMemoryException(message) : new CudaException(message, code);
    }

    private static string Hint(int code) => code switch
    {
        OutOfMemory => "The device, or the host for page-locked memory, is full: use a smaller batch or a narrower model, or end other programs on the device (nvidia-smi lists them).",
        NoDevice =>
            $"The driver sees no GPU. Look whether nvidia-smi lists one, whether CUDA_VISIBLE_DEVICES ({Environment.GetEnvironmentVariable("CUDA_VISIBLE_DEVICES") ?? "not set"}) hides it, "
            + "and whether the container was started with access to it; or use --device cpu or --device emulated.",
        StubLibrary => "This library is the toolkit's stub for linking, not a driver: install the NVIDIA driver, or name its library in SATURN_CUDA_DRIVER.",
        UnsupportedPtxVersion =>
            "The module is PTX of a newer CUDA than this driver understands: install a newer NVIDIA driver, or name an NVRTC that is not newer than the driver in SATURN_NVRTC.",
        NoBinaryForDevice or InvalidImage =>
            "The module's machine code is not for this device or too new for this driver: clear Saturn's kernel cache (SATURN_CACHE_DIR), and install a driver that is at least as new as NVRTC.",
        InvalidPtx => "The driver's compiler refused the module's PTX; its log says where.",
        PtxCompilerNotFound => "The driver's PTX compiler (libnvidia-ptxjitcompiler) is not installed: install it beside the driver, or an NVRTC that knows this device's architecture.",
        LaunchOutOfResources => "Threads times registers, or the shared memory, of a block are more than a multiprocessor has: launch fewer threads a block.",
        InvalidValue => "Check sizes, addresses and the launch's geometry.",
        SystemNotReady => "The machine's GPU services are not up: on machines with NVSwitch, start nvidia-fabricmanager.",
        SystemDriverMismatch => "The driver's library and its kernel module differ in version: restart the machine after the driver's update.",
        CompatibilityNotSupported => "The CUDA compatibility package does not support this GPU: take its folder (cuda/compat) off the loader's path.",
        Unknown => "Often the kernel modules are not loaded: look at nvidia-smi and 'lsmod | grep nvidia_uvm'.",
        CaptureUnsupported or CaptureInvalidated => "A call that waits, allocates or loads is not allowed while a stream is recorded: do it once before the recording.",
        _ when CudaException.LosesContext(code) =>
            "The CUDA context is lost, and every further call in this process fails: restart the process. The last checkpoint of a training run is intact, and 'saturn train --resume' goes on "
            + "from it. The fault may lie in any kernel launched before this call; --device emulated finds it and names its line.",
        _ => "",
    };
}
