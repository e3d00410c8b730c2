using Saturn.Kernels.Cuda;

namespace Saturn.Emulator;

/// <summary>A kernel did something that it must not do, or something that the emulator does not cover. The message names kernel, block, thread, PTX line and source line.</summary>
public sealed class EmulatorException(string message, int code = EmulatorException.LaunchFailed) : CudaException(message, code)
{
    /// <summary>The code of a failed launch on hardware (<c>CUDA_ERROR_LAUNCH_FAILED</c>), which loses the context.</summary>
    public const int LaunchFailed = 719;

    /// <summary>The code for PTX that cannot be used (<c>CUDA_ERROR_INVALID_PTX</c>).</summary>
    public const int InvalidPtx = 218;
}
