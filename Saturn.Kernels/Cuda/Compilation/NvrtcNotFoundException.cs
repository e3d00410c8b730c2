using System.Text;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>NVRTC, the library that compiles CUDA C++ at run time, is not on this machine. The message lists every place that was searched, and why it did not do.</summary>
public sealed class NvrtcNotFoundException : Exception
{
    internal NvrtcNotFoundException(IReadOnlyList<NativeLibraryAttempt> searched)
        : base(Describe(searched)) => Searched = searched;

    /// <summary>The places that were searched, in order.</summary>
    public IReadOnlyList<NativeLibraryAttempt> Searched { get; }

    private static string Describe(IReadOnlyList<NativeLibraryAttempt> searched)
    {
        StringBuilder text = new("NVRTC 11.8, 12 or 13, which compiles CUDA kernels and needs no GPU, was not found. Run tools/install-nvrtc.sh, or name the library or its folder in SATURN_NVRTC. Searched:");
        foreach (NativeLibraryAttempt attempt in searched)
        {
            text.AppendLine().Append("  ").Append(attempt);
        }

        return text.ToString();
    }
}
