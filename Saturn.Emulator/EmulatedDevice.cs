using Saturn.Kernels.Cuda;

namespace Saturn.Emulator;

/// <summary>A device that the emulator stands for, with four multiprocessors: its limits and what it says of itself.</summary>
internal sealed class EmulatedDevice
{
    public const int SharedBytesPerBlock = 48 * 1024;

    /// <summary>Compute capability 8.0.</summary>
    public static readonly EmulatedDevice Ampere = new("Saturn emulator", "compute_80", 8, 163 * 1024);

    /// <summary>Compute capability 9.0, with the instructions that exist there alone.</summary>
    public static readonly EmulatedDevice Hopper = new("Saturn emulator of compute capability 9.0", "compute_90a", 9, 227 * 1024);

    private EmulatedDevice(string name, string target, int major, int sharedBytesOptIn)
    {
        Name = name;
        Target = target;
        Major = major;
        SharedBytesPerBlockOptIn = sharedBytesOptIn;
    }

    public string Name { get; }

    /// <summary>What its kernels are compiled to.</summary>
    public string Target { get; }

    /// <summary>First part of the compute capability; the second is 0.</summary>
    public int Major { get; }

    public int SharedBytesPerBlockOptIn { get; }

    /// <summary>The device of an architecture.</summary>
    public static EmulatedDevice Of(EmulatedArchitecture architecture) => architecture == EmulatedArchitecture.Hopper ? Hopper : Ampere;

    // Result codes of the driver (CUresult).
    public const int InvalidValue = 1;
    public const int InvalidDevice = 101;
    public const int InvalidContext = 201;
    public const int InvalidHandle = 400;
    public const int IllegalState = 401;
    public const int NotReady = 600;
    public const int LaunchOutOfResources = 701;
    public const int LaunchFailed = 719;
    public const int NotSupported = 801;
    public const int CaptureUnsupported = 900;
    public const int CaptureInvalidated = 901;
    public const int CaptureUnmatched = 903;
    public const int CaptureIsolation = 905;
    public const int CapturedEvent = 907;
    public const int CaptureWrongThread = 908;

    private const int MaximumThreads = 1024;
    private const int MaximumBlockZ = 64;
    private const uint MaximumGridX = int.MaxValue;
    private const uint MaximumGridYz = 65_535;

    /// <summary>One attribute of the device.</summary>
    public int Attribute(CudaDeviceAttribute attribute) => attribute switch
    {
        CudaDeviceAttribute.MaximumThreadsPerBlock => MaximumThreads,
        CudaDeviceAttribute.MaximumSharedMemoryPerBlock => SharedBytesPerBlock,
        CudaDeviceAttribute.WarpSize => 32,
        CudaDeviceAttribute.MaximumRegistersPerBlock => 65_536,
        CudaDeviceAttribute.ClockRate => 1_410_000,
        CudaDeviceAttribute.MultiprocessorCount => 4,
        CudaDeviceAttribute.MemoryClockRate => 1_215_000,
        CudaDeviceAttribute.MemoryBusWidth => 5_120,
        CudaDeviceAttribute.SecondLevelCacheSize => 4 << 20,
        CudaDeviceAttribute.MaximumThreadsPerMultiprocessor => 2_048,
        CudaDeviceAttribute.ComputeCapabilityMajor => Major,
        CudaDeviceAttribute.ComputeCapabilityMinor => 0,
        CudaDeviceAttribute.MaximumSharedMemoryPerMultiprocessor => SharedBytesPerBlockOptIn + 1024,
        CudaDeviceAttribute.MaximumSharedMemoryPerBlockOptIn => SharedBytesPerBlockOptIn,
        CudaDeviceAttribute.MemoryPoolsSupported => 1,
        _ => throw new CudaException($"cuDeviceGetAttribute: the emulator does not know attribute {attribute}.", InvalidValue),
    };

    /// <summary>Throws as hardware refuses a launch. Registers do not count: PTX has virtual ones, of which the hardware's compiler needs fewer, at most what the kernel's launch bounds allow.</summary>
    /// <exception cref="CudaException">The launch is beyond a limit.</exception>
    public void CheckLaunch(EmulatedFunction function, in LaunchGeometry geometry, nuint argumentBytes)
    {
        if (geometry.GridX is 0 or > MaximumGridX || geometry.GridY is 0 or > MaximumGridYz || geometry.GridZ is 0 or > MaximumGridYz)
        {
            throw Refused(function, geometry, "CUDA_ERROR_INVALID_VALUE", InvalidValue, $"a grid has 1 to {MaximumGridX} × {MaximumGridYz} × {MaximumGridYz} blocks");
        }

        ulong threads = (ulong)geometry.BlockX * geometry.BlockY * geometry.BlockZ;
        if (threads is 0 or > MaximumThreads || geometry.BlockX > MaximumThreads || geometry.BlockY > MaximumThreads || geometry.BlockZ > MaximumBlockZ)
        {
            throw Refused(function, geometry, "CUDA_ERROR_INVALID_VALUE", InvalidValue, $"a block has 1 to {MaximumThreads} threads, at most {MaximumBlockZ} of them in z");
        }

        if (threads > (ulong)function.Kernel.MaximumThreads)
        {
            throw Refused(function, geometry, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", LaunchOutOfResources, $"the kernel is bound to {function.Kernel.MaximumThreads} threads a block (__launch_bounds__)");
        }

        if (geometry.SharedBytes > function.MaximumDynamicSharedBytes)
        {
            throw Refused(
                function, geometry, "CUDA_ERROR_INVALID_VALUE", InvalidValue,
                $"the kernel has {function.Kernel.StaticSharedBytes} bytes of static shared memory and may have {function.MaximumDynamicSharedBytes} of dynamic; more must be asked for, up to "
                + $"{SharedBytesPerBlockOptIn} in all, with the attribute MaximumDynamicSharedSizeBytes");
        }

        if (argumentBytes != (nuint)function.Kernel.ArgumentBytes)
        {
            throw Refused(function, geometry, "CUDA_ERROR_INVALID_VALUE", InvalidValue, $"the kernel takes {function.Kernel.ArgumentBytes} bytes of arguments, and {argumentBytes} were given");
        }
    }

    private static CudaException Refused(EmulatedFunction function, in LaunchGeometry geometry, string name, int code, string why) =>
        new($"cuLaunchKernel failed with {name} ({code}): kernel {function.Kernel.Name}, {geometry}; {why}.", code);
}
