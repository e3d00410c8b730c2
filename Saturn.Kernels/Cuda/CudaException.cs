namespace Saturn.Kernels.Cuda;

/// <summary>A call of the CUDA driver failed, or a kernel did. The message names the call, the code, the driver's text and what to do.</summary>
public class CudaException : Exception
{
    /// <summary>The driver's result code (<c>CUresult</c>); 0 where no driver was involved.</summary>
    public int Code { get; }

    /// <summary>
    /// Whether the context is lost: after an illegal address, a failed assertion or a hardware error every further call on it fails, and only a new process helps.
    /// </summary>
    public bool IsSticky => LosesContext(Code);

    /// <summary>Creates the exception.</summary>
    public CudaException(string message, int code = 0)
        : base(message) => Code = code;

    /// <summary>Whether a result code means that the context is lost.</summary>
    // Device unavailable, uncorrectable ECC and NVLink errors, a contained exception; illegal address, time-out, assertion, stack, instruction, alignment,
    // address space, program counter, launch failure.
    internal static bool LosesContext(int code) => code is 46 or 214 or 220 or 226 or 700 or 702 or 710 or 714 or 715 or 716 or 717 or 718 or 719;
}
