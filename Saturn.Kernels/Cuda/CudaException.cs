namespace Saturn.Kernels.Cuda;

/// <summary>A call of the CUDA driver failed, or a kernel did. The message names the call, the code, the driver's text and what to do.</summary>
public class CudaException : Exception
{
    /// <summary>The driver's result code (<c>CUresult</c>); 0 where no driver was involved.</summary>
    public int Code { get; }

    /// <summary>
    /// Whether the context is lost: after an illegal address, a failed assertion or a hardware error every further call on it fails, and only a new process helps.
    /// </summary>
    public bool IsSticky => Code is 700 or 702 or 710 or 713 or 714 or 715 or 716 or 717 or 718 or 719 or 214 or 46;

    /// <summary>Creates the exception.</summary>
    public CudaException(string message, int code = 0)
        : base(message) => Code = code;
}
