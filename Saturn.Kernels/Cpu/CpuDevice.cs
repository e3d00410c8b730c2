using System.Runtime.Intrinsics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>
/// The host processor as a device. Kernels run synchronously on a persistent team of workers, with 512-bit or 256-bit vectors as the processor
/// offers. Results do not depend on the number of workers.
/// </summary>
public sealed class CpuDevice : Device
{
    private readonly CpuMemory memory = new();
    private readonly WorkerTeam team;
    private readonly CpuConvolution convolution;
    private readonly CpuElementwise elementwise;
    private readonly CpuReduction reduction;
    private readonly CpuMatrix matrix;
    private readonly CpuNormalization normalization;
    private readonly CpuActivation activation;
    private readonly CpuPooling pooling;
    private readonly CpuLoss loss;
    private readonly CpuRandom random;
    private readonly CpuAttention attention;
    private readonly CpuCensus census;
    private readonly CpuCompaction compaction;
    private readonly CpuOptimizer optimizer;
    private readonly CpuImages images;
    private bool disposed;

    /// <summary>Opens the host processor.</summary>
    /// <param name="workers">Threads to use; by default one per processor that this process may run on.</param>
    public CpuDevice(int? workers = null)
        : this(workers, Vector512.IsHardwareAccelerated)
    {
    }

    /// <summary>Opens the host processor with tiles of one width, which need not be the one that it is best at.</summary>
    /// <param name="workers">Threads to use.</param>
    /// <param name="wide">Whether convolutions and matrix products take the 512-bit tiles or the 256-bit ones.</param>
    internal CpuDevice(int? workers, bool wide)
    {
        team = new WorkerTeam(workers ?? Environment.ProcessorCount);
        convolution = new CpuConvolution(team, memory, wide);
        elementwise = new CpuElementwise(team);
        reduction = new CpuReduction(team);
        matrix = new CpuMatrix(team, memory, wide);
        normalization = new CpuNormalization(team, memory);
        activation = new CpuActivation(team, memory);
        pooling = new CpuPooling(team);
        loss = new CpuLoss(team);
        random = new CpuRandom(team);
        attention = new CpuAttention(team);
        census = new CpuCensus(team, memory);
        compaction = new CpuCompaction(team);
        optimizer = new CpuOptimizer(team, memory);
        images = new CpuImages(team);
    }

    /// <inheritdoc/>
    public override string Name => "cpu";

    /// <inheritdoc/>
    public override DeviceKind Kind => DeviceKind.Cpu;

    /// <summary>Threads that take part in a kernel.</summary>
    public int Workers => team.Count;

    /// <inheritdoc/>
    public override string Description
    {
        get
        {
            int bits = Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128;
            return $"{team.Count} worker{(team.Count == 1 ? "" : "s")}, {bits}-bit vectors";
        }
    }

    /// <inheritdoc/>
    public override IDeviceMemory Memory => memory;

    /// <inheritdoc/>
    public override IElementwiseKernels Elementwise => elementwise;

    /// <inheritdoc/>
    public override IReductionKernels Reduction => reduction;

    /// <inheritdoc/>
    public override IMatrixKernels Matrix => matrix;

    /// <inheritdoc/>
    public override IConvolutionKernels Convolution => convolution;

    /// <inheritdoc/>
    public override INormalizationKernels Normalization => normalization;

    /// <inheritdoc/>
    public override IActivationKernels Activation => activation;

    /// <inheritdoc/>
    public override IPoolingKernels Pooling => pooling;

    /// <inheritdoc/>
    public override ILossKernels Loss => loss;

    /// <inheritdoc/>
    public override IRandomKernels Random => random;

    /// <inheritdoc/>
    public override IAttentionKernels Attention => attention;

    /// <inheritdoc/>
    public override ICensusKernels Census => census;

    /// <inheritdoc/>
    public override ICompactionKernels Compaction => compaction;

    /// <inheritdoc/>
    public override IOptimizerKernels Optimizer => optimizer;

    /// <inheritdoc/>
    public override IImageKernels Images => images;

    /// <inheritdoc/>
    public override unsafe void Upload(ReadOnlySpan<byte> source, DeviceBuffer destination)
    {
        if (source.Length > destination.ByteLength)
        {
            throw new ArgumentException($"{source.Length} bytes do not fit a buffer of {destination.ByteLength}.", nameof(source));
        }

        source.CopyTo(new Span<byte>((void*)destination.Address, source.Length));
    }

    /// <inheritdoc/>
    public override unsafe void Download(DeviceBuffer source, Span<byte> destination)
    {
        if (destination.Length > source.ByteLength)
        {
            throw new ArgumentException($"{destination.Length} bytes were asked of a buffer of {source.ByteLength}.", nameof(destination));
        }

        new ReadOnlySpan<byte>((void*)source.Address, destination.Length).CopyTo(destination);
    }

    /// <inheritdoc/>
    public override unsafe void Copy(DeviceBuffer source, DeviceBuffer destination) =>
        Buffer.MemoryCopy((void*)source.Address, (void*)destination.Address, destination.ByteLength, Math.Min(source.ByteLength, destination.ByteLength));

    /// <inheritdoc/>
    public override unsafe void Clear(DeviceBuffer buffer) =>
        System.Runtime.InteropServices.NativeMemory.Clear((void*)buffer.Address, (nuint)buffer.ByteLength);

    /// <inheritdoc/>
    public override void Synchronize()
    {
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (!disposed)
        {
            disposed = true;
            team.Dispose();
            memory.Dispose();
        }
    }
}
