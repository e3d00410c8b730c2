using Saturn.Emulator.Execution;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator;

/// <summary>A kernel as the driver hands it out: its code, and the shared memory that launches may ask for.</summary>
internal sealed class EmulatedFunction(EmulatedDevice device, EmulatedKernel kernel, nint module)
{
    /// <summary>The code.</summary>
    public EmulatedKernel Kernel => kernel;

    /// <summary>The module's handle.</summary>
    public nint Module => module;

    /// <summary>Whether the module was unloaded; a recorded graph may still hold the kernel.</summary>
    public bool IsUnloaded { get; set; }

    /// <summary>Bytes of dynamic shared memory that a launch may ask for.</summary>
    public int MaximumDynamicSharedBytes { get; private set; } = Math.Max(0, EmulatedDevice.SharedBytesPerBlock - kernel.StaticSharedBytes);

    /// <summary>Share of the first-level cache that is shared memory, in per cent; −1 leaves it to the device. Kept, without effect.</summary>
    public int SharedMemoryCarveout { get; private set; } = -1;

    /// <summary>One attribute.</summary>
    public int Attribute(CudaFunctionAttribute attribute) => attribute switch
    {
        CudaFunctionAttribute.MaximumThreadsPerBlock => kernel.MaximumThreads,
        CudaFunctionAttribute.SharedSizeBytes => kernel.StaticSharedBytes,
        CudaFunctionAttribute.ConstantSizeBytes => 0,
        CudaFunctionAttribute.LocalSizeBytes => kernel.LocalBytes,
        CudaFunctionAttribute.RegisterCount => kernel.RegisterCount,
        CudaFunctionAttribute.MaximumDynamicSharedSizeBytes => MaximumDynamicSharedBytes,
        CudaFunctionAttribute.PreferredSharedMemoryCarveout => SharedMemoryCarveout,
        _ => throw new CudaException($"cuFuncGetAttribute: the emulator does not know attribute {attribute}.", EmulatedDevice.InvalidValue),
    };

    /// <summary>Sets one attribute.</summary>
    public void SetAttribute(CudaFunctionAttribute attribute, int value)
    {
        switch (attribute)
        {
            case CudaFunctionAttribute.MaximumDynamicSharedSizeBytes when value >= 0 && value <= device.SharedBytesPerBlockOptIn - kernel.StaticSharedBytes:
                MaximumDynamicSharedBytes = value;
                break;
            case CudaFunctionAttribute.PreferredSharedMemoryCarveout when value is >= -1 and <= 100:
                SharedMemoryCarveout = value;
                break;
            default:
                throw new CudaException(
                    $"cuFuncSetAttribute failed with CUDA_ERROR_INVALID_VALUE (1): {attribute} = {value} of kernel {kernel.Name}, which has {kernel.StaticSharedBytes} bytes of static shared memory; a block "
                    + $"of this device may use {device.SharedBytesPerBlockOptIn} in all.", EmulatedDevice.InvalidValue);
        }
    }
}
