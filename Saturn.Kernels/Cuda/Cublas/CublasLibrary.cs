using System.Runtime.InteropServices;

namespace Saturn.Kernels.Cuda.Cublas;

/// <summary>The functions of a loaded cuBLAS that Saturn calls. Each returns a <c>cublasStatus_t</c>, 0 for success.</summary>
internal sealed unsafe class CublasLibrary
{
    /// <summary>Binds a loaded library.</summary>
    /// <exception cref="EntryPointNotFoundException">It lacks a function, so it is older than 11 or something else.</exception>
    public CublasLibrary(nint handle, string path)
    {
        Path = path;
        Create = (delegate* unmanaged<nint*, int>)NativeLibrary.GetExport(handle, "cublasCreate_v2");
        Destroy = (delegate* unmanaged<nint, int>)NativeLibrary.GetExport(handle, "cublasDestroy_v2");
        SetStream = (delegate* unmanaged<nint, nint, int>)NativeLibrary.GetExport(handle, "cublasSetStream_v2");
        SetWorkspace = (delegate* unmanaged<nint, nint, nuint, int>)NativeLibrary.GetExport(handle, "cublasSetWorkspace_v2");
        SetAtomicsMode = (delegate* unmanaged<nint, int, int>)NativeLibrary.GetExport(handle, "cublasSetAtomicsMode");
        Gemm = (delegate* unmanaged<nint, int, int, int, int, int, float*, nint, int, int, nint, int, int, float*, nint, int, int, int, int, int>)NativeLibrary.GetExport(
            handle, "cublasGemmEx");
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    public readonly delegate* unmanaged<nint*, int> Create;
    public readonly delegate* unmanaged<nint, int> Destroy;
    public readonly delegate* unmanaged<nint, nint, int> SetStream;
    public readonly delegate* unmanaged<nint, nint, nuint, int> SetWorkspace;
    public readonly delegate* unmanaged<nint, int, int> SetAtomicsMode;

    /// <summary>
    /// Handle, operations on both operands, m, n, k, α, A with type and pitch, B with type and pitch, β, C with type and pitch, arithmetic, algorithm.
    /// </summary>
    public readonly delegate* unmanaged<nint, int, int, int, int, int, float*, nint, int, int, nint, int, int, float*, nint, int, int, int, int, int> Gemm;
}
