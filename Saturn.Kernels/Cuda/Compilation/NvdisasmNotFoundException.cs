namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>nvdisasm, the program that prints machine code as assembly, is not on this machine. The message, one sentence, lists every place that was searched.</summary>
public sealed class NvdisasmNotFoundException : Exception
{
    internal NvdisasmNotFoundException(IReadOnlyList<NativeLibraryAttempt> searched)
        : base(
            "nvdisasm, the part of the CUDA toolkit that prints machine code and needs no GPU, was not found: run 'tools/install-nvrtc.sh --disassembler' (87 MB are downloaded), or name the program or its folder in SATURN_NVDISASM; "
            + $"searched were {string.Join("; ", searched)}.") => Searched = searched;

    /// <summary>The places that were searched, in order.</summary>
    public IReadOnlyList<NativeLibraryAttempt> Searched { get; }
}
