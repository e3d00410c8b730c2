using Saturn.Kernels.Families;

namespace Saturn.Kernels;

/// <summary>What kind of hardware stands behind a device.</summary>
public enum DeviceKind
{
    /// <summary>The host processor.</summary>
    Cpu,

    /// <summary>An NVIDIA GPU, through the CUDA driver.</summary>
    Cuda,

    /// <summary>The GPU in software that interprets the CUDA kernels.</summary>
    Emulated,
}

/// <summary>
/// A device: its memory, its copies, and one implementation of every kernel family. Calls are issued in order on the device's own
/// stream; only <see cref="Download"/> and <see cref="Synchronize"/> wait. A device is used from one thread at a time.
/// </summary>
public abstract class Device : IDisposable
{
    /// <summary>The name the device was asked for by, such as <c>cpu</c> or <c>cuda:0</c>.</summary>
    public abstract string Name { get; }

    /// <summary>The kind of hardware.</summary>
    public abstract DeviceKind Kind { get; }

    /// <summary>One line about the hardware, such as the processor's vector width and worker count.</summary>
    public abstract string Description { get; }

    /// <summary>In which arithmetic products run.</summary>
    public virtual Precision Precision => Precision.Fp32;

    /// <summary>The device's memory.</summary>
    public abstract IDeviceMemory Memory { get; }

    /// <summary>Unary and binary arithmetic with broadcasting.</summary>
    public abstract IElementwiseKernels Elementwise { get; }

    /// <summary>Sums, means and extrema over any set of dimensions.</summary>
    public abstract IReductionKernels Reduction { get; }

    /// <summary>Dense matrix products.</summary>
    public abstract IMatrixKernels Matrix { get; }

    /// <summary>Convolutions and their gradients.</summary>
    public abstract IConvolutionKernels Convolution { get; }

    /// <summary>Batch and layer normalization, with residual sum and activation fused in.</summary>
    public abstract INormalizationKernels Normalization { get; }

    /// <summary>Self-attention.</summary>
    public abstract IAttentionKernels Attention { get; }

    /// <summary>Activation functions.</summary>
    public abstract IActivationKernels Activation { get; }

    /// <summary>Maximum, average and global average pooling.</summary>
    public abstract IPoolingKernels Pooling { get; }

    /// <summary>Softmax cross entropy.</summary>
    public abstract ILossKernels Loss { get; }

    /// <summary>Counter-based random numbers and dropout.</summary>
    public abstract IRandomKernels Random { get; }

    /// <summary>Per-channel activity statistics.</summary>
    public abstract ICensusKernels Census { get; }

    /// <summary>Channel gathers that physically shrink buffers.</summary>
    public abstract ICompactionKernels Compaction { get; }

    /// <summary>Fused parameter updates.</summary>
    public abstract IOptimizerKernels Optimizer { get; }

    /// <summary>Batches out of images in device memory.</summary>
    public abstract IImageKernels Images { get; }

    /// <summary>Bytes of device memory that nobody uses now; null where the device does not say.</summary>
    public virtual long? FreeMemory => null;

    /// <summary>Copies host bytes to the device. The source may be reused when the call returns.</summary>
    public abstract void Upload(ReadOnlySpan<byte> source, DeviceBuffer destination);

    /// <summary>Copies device bytes to the host, waiting for all earlier work.</summary>
    public abstract void Download(DeviceBuffer source, Span<byte> destination);

    /// <summary>Copies between buffers of this device, which must not overlap; the shorter length counts.</summary>
    public abstract void Copy(DeviceBuffer source, DeviceBuffer destination);

    /// <summary>Sets every byte to zero.</summary>
    public abstract void Clear(DeviceBuffer buffer);

    /// <summary>Waits until all issued work has finished.</summary>
    public abstract void Synchronize();

    /// <summary>Does now what would otherwise wait for its first use in the middle of the work: a GPU's kernels are compiled, in parallel. Nothing needs it.</summary>
    public virtual void Prepare()
    {
    }

    /// <summary>Something that records work of this device and issues it again as a whole; null where the device cannot.</summary>
    public virtual IRecordedWork? CreateRecording() => null;

    /// <summary>Frees the device's resources.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the device's resources; called once.</summary>
    protected abstract void Dispose(bool disposing);

    /// <inheritdoc/>
    public override string ToString() => Name;
}
