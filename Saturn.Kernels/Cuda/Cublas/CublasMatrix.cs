using System.Runtime.InteropServices;
using Saturn.Kernels.Diagnostics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda.Cublas;

/// <summary>
/// Plain large matrix products by cuBLAS, on the device's stream, with memory of Saturn's own and without atomics, so that the same product gives the same bits every time on the same
/// device and library. The library starts with the first product.
/// </summary>
/// <param name="context">The device; a real one.</param>
/// <param name="library">The library.</param>
internal sealed unsafe class CublasMatrix(CudaContext context, CublasLibrary library) : IDisposable
{
    // Names of cublas_api.h and library_types.h.
    private const int AtomicsNotAllowed = 0;
    private const int Float32 = 0;
    private const int ComputeFloat32 = 68;
    private const int ComputeFloat32FastTf32 = 77;
    private const int DefaultAlgorithm = -1;

    // What NVIDIA recommends for compute capability 9.0; with less, fewer algorithms can be chosen from.
    private const long WorkspaceBytes = 32L << 20;

    private nint handle;
    private nint workspace;

    /// <summary>The library's file.</summary>
    public string Path => library.Path;

    /// <summary>C = α·op(A)·op(B) + β·C, of a shape that <see cref="CublasProduct.Takes"/>.</summary>
    /// <param name="shape">The sizes.</param>
    /// <param name="left">A.</param>
    /// <param name="right">B.</param>
    /// <param name="output">C.</param>
    /// <param name="alpha">α.</param>
    /// <param name="beta">β; with 0, C may hold anything.</param>
    /// <param name="tensorCores">Whether operands are rounded to tf32.</param>
    public void Multiply(in MatrixShape shape, DeviceBuffer left, DeviceBuffer right, DeviceBuffer output, float alpha, float beta, bool tensorCores)
    {
        context.MakeCurrent();
        if (handle == 0)
        {
            Start();
        }

        CublasProduct product = CublasProduct.Of(shape);
        context.IssueLog?.Add(
            "cublasGemmEx", default,
            MemoryMarshal.AsBytes<nint>(
            [
                left.Address, right.Address, output.Address, product.Rows, product.Columns, product.Depth, product.FirstPitch, product.SecondPitch, product.OutputPitch,
                BitConverter.SingleToInt32Bits(alpha), BitConverter.SingleToInt32Bits(beta), (product.TransposeFirst ? 1 : 0) + (product.TransposeSecond ? 2 : 0),
            ]));
        Check(
            library.Gemm(
                handle, product.TransposeFirst ? 1 : 0, product.TransposeSecond ? 1 : 0, product.Rows, product.Columns, product.Depth, &alpha, right.Address, Float32, product.FirstPitch,
                left.Address, Float32, product.SecondPitch, &beta, output.Address, Float32, product.OutputPitch, tensorCores ? ComputeFloat32FastTf32 : ComputeFloat32, DefaultAlgorithm),
            "cublasGemmEx");
    }

    /// <summary>Ends the library's use of the device.</summary>
    public void Dispose()
    {
        if (handle != 0)
        {
            _ = library.Destroy(handle);
            handle = 0;
        }

        if (workspace != 0)
        {
            context.Driver.Free(workspace);
            workspace = 0;
        }
    }

    private void Start()
    {
        nint created;
        Check(library.Create(&created), "cublasCreate");
        handle = created;
        workspace = context.Driver.Allocate(WorkspaceBytes);
        Check(library.SetStream(handle, context.Stream), "cublasSetStream");

        // After the stream, which takes the workspace back.
        Check(library.SetWorkspace(handle, workspace, (nuint)WorkspaceBytes), "cublasSetWorkspace");
        Check(library.SetAtomicsMode(handle, AtomicsNotAllowed), "cublasSetAtomicsMode");
    }

    private void Check(int status, string call)
    {
        if (status != 0)
        {
            throw new CudaException($"{call} of {library.Path} failed with status {status}; {EnvironmentVariable.Cublas.Name}=off does without the library.");
        }
    }
}
