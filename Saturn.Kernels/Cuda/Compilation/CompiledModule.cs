using System.Text;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>What one kernel takes of a multiprocessor. Figures are known for machine code only; for PTX they are null, because the driver assigns registers later.</summary>
/// <param name="Name">The kernel's name.</param>
/// <param name="Registers">32-bit registers a thread.</param>
/// <param name="SpillStoreBytes">Bytes a thread writes to local memory because registers ran out.</param>
/// <param name="SpillLoadBytes">Bytes a thread reads back.</param>
/// <param name="StackBytes">Local memory a thread: arrays with run-time indices, and spills.</param>
/// <param name="SharedBytes">Static shared memory of a block, in bytes.</param>
public sealed record KernelResources(string Name, int? Registers = null, int? SpillStoreBytes = null, int? SpillLoadBytes = null, int? StackBytes = null, int? SharedBytes = null);

/// <summary>A compiled <c>.cu</c> file.</summary>
public sealed class CompiledModule
{
    internal CompiledModule(string sourceName, string architecture, byte[] image, IReadOnlyList<KernelResources> kernels, string log)
    {
        SourceName = sourceName;
        Architecture = architecture;
        Image = image;
        Kernels = kernels;
        Log = log;
    }

    /// <summary>The <c>.cu</c> file's name.</summary>
    public string SourceName { get; }

    /// <summary>What the image was made for; PTX of an older architecture where NVRTC does not know the one that was asked for.</summary>
    public string Architecture { get; }

    /// <summary>Machine code, or PTX as UTF-8 that ends with a zero byte, as the driver wants it.</summary>
    public byte[] Image { get; }

    /// <summary>Whether the image is PTX.</summary>
    public bool IsPtx => new KernelTarget(Architecture).IsPtx;

    /// <summary>The file's kernels in the order of their names.</summary>
    public IReadOnlyList<KernelResources> Kernels { get; }

    /// <summary>NVRTC's log.</summary>
    public string Log { get; }

    /// <summary>The PTX as text.</summary>
    /// <exception cref="InvalidOperationException">The image is machine code.</exception>
    public string PtxText() =>
        IsPtx ? Encoding.UTF8.GetString(Image).TrimEnd('\0') : throw new InvalidOperationException($"{SourceName} was compiled to machine code for {Architecture}; ask for a target such as compute_80 to read PTX.");
}
