using Saturn.Kernels.Diagnostics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// A CUDA device: every kernel family through the kernels of <c>kernels/*.cu</c>, on whatever <see cref="ICudaDriver"/> it is given. Calls are issued in
/// order on one stream; only <see cref="Download"/> and <see cref="Synchronize"/> wait.
/// </summary>
public sealed unsafe class CudaDevice : Device
{
    private readonly ICudaDriver driver;
    private readonly CudaContext context;
    private bool disposed;

    /// <summary>Opens a device.</summary>
    /// <param name="name">The name that the device was asked for by, such as <c>cuda:0</c> or <c>emulated</c>.</param>
    /// <param name="driver">The driver, which the device then owns.</param>
    /// <param name="ordinal">The device's number.</param>
    /// <param name="precision">In which arithmetic products run.</param>
    /// <param name="replacement">Another text for one of Saturn's kernel files, to try a change out; null for none.</param>
    /// <param name="warpgroups">Whether convolutions of bfloat16 run by products of warpgroups where the device has them; null: as <see cref="EnvironmentVariable.Wgmma"/> says.</param>
    public CudaDevice(string name, ICudaDriver driver, int ordinal = 0, Precision precision = Precision.Fp32, KernelReplacement? replacement = null, bool? warpgroups = null)
    {
        Name = name;
        Precision = precision;
        this.driver = driver;
        context = new CudaContext(driver, ordinal, replacement);
        Elementwise = new CudaElementwise(context);
        Reduction = new CudaReduction(context);
        Matrix = new CudaMatrix(context, precision);
        Normalization = new CudaNormalization(context);
        CudaLinear? linear = context.Cublas is null ? null : new CudaLinear(Matrix, Elementwise);
        Convolution = new CudaConvolution(context, Normalization, precision, warpgroups ?? EnvironmentVariable.Wgmma.IsOn, linear);
        Activation = new CudaActivation(context);
        Pooling = new CudaPooling(context);
        Loss = new CudaLoss(context);
        Random = new CudaRandom(context);
        Attention = new CudaAttention(context);
        Census = new CudaCensus(context);
        Compaction = new CudaCompaction(context);
        Optimizer = new CudaOptimizer(context);
        Images = new CudaImages(context);
    }

    /// <inheritdoc/>
    public override string Name { get; }

    /// <inheritdoc/>
    public override DeviceKind Kind => driver.IsEmulated ? DeviceKind.Emulated : DeviceKind.Cuda;

    /// <inheritdoc/>
    public override string Description =>
        $"{driver.DeviceName(context.Ordinal)}, {context.MultiprocessorCount} multiprocessors, {driver.TargetArchitecture(context.Ordinal)}, {driver.Description}{(context.Cublas is { } cublas ? $", cuBLAS at {cublas.Path}" : "")}";

    /// <inheritdoc/>
    public override Precision Precision { get; }

    /// <summary>Driver, stream and modules, for operations with kernels of their own.</summary>
    public CudaContext Context => context;

    /// <inheritdoc/>
    public override IDeviceMemory Memory => context.Memory;

    /// <inheritdoc/>
    public override IElementwiseKernels Elementwise { get; }

    /// <inheritdoc/>
    public override IReductionKernels Reduction { get; }

    /// <inheritdoc/>
    public override IMatrixKernels Matrix { get; }

    /// <inheritdoc/>
    public override IConvolutionKernels Convolution { get; }

    /// <inheritdoc/>
    public override INormalizationKernels Normalization { get; }

    /// <inheritdoc/>
    public override IActivationKernels Activation { get; }

    /// <inheritdoc/>
    public override IPoolingKernels Pooling { get; }

    /// <inheritdoc/>
    public override ILossKernels Loss { get; }

    /// <inheritdoc/>
    public override IRandomKernels Random { get; }

    /// <inheritdoc/>
    public override IAttentionKernels Attention { get; }

    /// <inheritdoc/>
    public override ICensusKernels Census { get; }

    /// <inheritdoc/>
    public override ICompactionKernels Compaction { get; }

    /// <inheritdoc/>
    public override IOptimizerKernels Optimizer { get; }

    /// <inheritdoc/>
    public override IImageKernels Images { get; }

    /// <inheritdoc/>
    public override long? FreeMemory
    {
        get
        {
            context.MakeCurrent();
            return driver.MemoryInformation().Free;
        }
    }

    /// <inheritdoc/>
    public override void Upload(ReadOnlySpan<byte> source, DeviceBuffer destination)
    {
        if (source.Length > destination.ByteLength)
        {
            throw new ArgumentException($"{source.Length} bytes do not fit a buffer of {destination.ByteLength}.", nameof(source));
        }

        if (!source.IsEmpty)
        {
            context.IssueLog?.Forbid("a copy from the host, whose bytes a repetition would not know,");
            context.Uploads.Copy(source, destination.Address);
        }
    }

    /// <inheritdoc/>
    public override void Download(DeviceBuffer source, Span<byte> destination)
    {
        if (destination.Length > source.ByteLength)
        {
            throw new ArgumentException($"{destination.Length} bytes were asked of a buffer of {source.ByteLength}.", nameof(destination));
        }

        context.IssueLog?.Forbid("a copy to the host, which waits for the device,");
        context.MakeCurrent();
        fixed (byte* pointer = destination)
        {
            if (pointer != null)
            {
                driver.CopyToHostAsync(pointer, source.Address, destination.Length, context.Stream);
            }

            driver.SynchronizeStream(context.Stream);
        }
    }

    /// <inheritdoc/>
    public override void Copy(DeviceBuffer source, DeviceBuffer destination)
    {
        context.MakeCurrent();
        context.IssueLog?.Add("a copy", source, destination);
        driver.CopyAsync(destination.Address, source.Address, Math.Min(source.ByteLength, destination.ByteLength), context.Stream);
    }

    /// <inheritdoc/>
    public override void Clear(DeviceBuffer buffer)
    {
        context.MakeCurrent();
        context.IssueLog?.Add("a fill with zeros", buffer, buffer);
        driver.FillAsync(buffer.Address, 0, buffer.ByteLength, context.Stream);
    }

    /// <inheritdoc/>
    public override void Synchronize()
    {
        context.IssueLog?.Forbid("waiting for the device");
        context.MakeCurrent();
        driver.SynchronizeStream(context.Stream);
    }

    /// <inheritdoc/>
    public override void Prepare()
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        context.CompileModules();
    }

    /// <inheritdoc/>
    public override IRecordedWork CreateRecording() => new CudaGraph(context);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (!disposed)
        {
            disposed = true;
            try
            {
                context.Dispose();
            }
            finally
            {
                driver.Dispose();
            }
        }
    }
}
