using System.Diagnostics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Diagnostics;

/// <summary>What is observed on a device.</summary>
/// <param name="Table">Whether a table of the kernels is printed on standard error when the device is closed.</param>
/// <param name="Lines">Whether each call prints a line on standard error.</param>
/// <param name="TraceFile">The file of the timeline; null for none.</param>
/// <param name="Tolerance">Each kernel is run a second time on the CPU, and may differ by so much of the largest entry; null for no second run.</param>
public sealed record Observation(bool Table = false, bool Lines = false, string? TraceFile = null, double? Tolerance = null);

/// <summary>
/// A device around another one that times, records or checks every kernel call on its way. It waits for the inner device after each. Without observation there is no such device, and nothing is paid for it.
/// </summary>
public sealed class ObservedDevice : Device
{
    private readonly ObservedKernels kernels;
    private readonly Observation observation;
    private readonly KernelTable table = new();
    private readonly TraceFile? trace;
    private readonly ShadowRun? shadow;
    private bool disposed;

    /// <summary>Puts an observer around a device, which it then owns.</summary>
    /// <param name="inner">The device that does the work.</param>
    /// <param name="observation">What is observed.</param>
    public ObservedDevice(Device inner, Observation observation)
    {
        Inner = inner;
        this.observation = observation;
        trace = observation.TraceFile is { } path ? new TraceFile(path, inner.ToString()) : null;
        shadow = observation.Tolerance is { } tolerance ? new ShadowRun(inner, tolerance) : null;
        kernels = new ObservedKernels(inner, Observe);
    }

    /// <summary>The device that does the work.</summary>
    public Device Inner { get; }

    /// <inheritdoc/>
    public override string Name => Inner.Name;

    /// <inheritdoc/>
    public override DeviceKind Kind => Inner.Kind;

    /// <inheritdoc/>
    public override string Description => Inner.Description;

    /// <inheritdoc/>
    public override Precision Precision => Inner.Precision;

    /// <inheritdoc/>
    public override IDeviceMemory Memory => Inner.Memory;

    /// <inheritdoc/>
    public override IElementwiseKernels Elementwise => kernels;

    /// <inheritdoc/>
    public override IReductionKernels Reduction => kernels;

    /// <inheritdoc/>
    public override IMatrixKernels Matrix => kernels;

    /// <inheritdoc/>
    public override IConvolutionKernels Convolution => kernels;

    /// <inheritdoc/>
    public override INormalizationKernels Normalization => kernels;

    /// <inheritdoc/>
    public override IActivationKernels Activation => kernels;

    /// <inheritdoc/>
    public override IPoolingKernels Pooling => kernels;

    /// <inheritdoc/>
    public override ILossKernels Loss => kernels;

    /// <inheritdoc/>
    public override IRandomKernels Random => kernels;

    /// <inheritdoc/>
    public override IAttentionKernels Attention => kernels;

    /// <inheritdoc/>
    public override ICensusKernels Census => kernels;

    /// <inheritdoc/>
    public override ICompactionKernels Compaction => kernels;

    /// <inheritdoc/>
    public override IOptimizerKernels Optimizer => kernels;

    /// <inheritdoc/>
    public override IImageKernels Images => kernels;

    /// <inheritdoc/>
    public override long? FreeMemory => Inner.FreeMemory;

    /// <inheritdoc/>
    public override void Upload(ReadOnlySpan<byte> source, DeviceBuffer destination)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.Upload(source, destination);
        Record("copy.Upload", source.Length, start);
    }

    /// <inheritdoc/>
    public override void Download(DeviceBuffer source, Span<byte> destination)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.Download(source, destination);
        Record("copy.Download", destination.Length, start);
    }

    /// <inheritdoc/>
    public override void Copy(DeviceBuffer source, DeviceBuffer destination)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.Copy(source, destination);
        Record("copy.Copy", 2 * Math.Min(source.ByteLength, destination.ByteLength), start);
    }

    /// <inheritdoc/>
    public override void Clear(DeviceBuffer buffer)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.Clear(buffer);
        Record("copy.Clear", buffer.ByteLength, start);
    }

    /// <inheritdoc/>
    public override void Synchronize() => Inner.Synchronize();

    /// <inheritdoc/>
    public override void Prepare() => Inner.Prepare();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposed)
        {
            return;
        }

        disposed = true;
        try
        {
            if (observation.Table)
            {
                Console.Error.Write(table.ToText(Inner));
            }

            trace?.Dispose();
        }
        finally
        {
            shadow?.Dispose();
            Inner.Dispose();
        }
    }

    private void Observe(KernelCall call, KernelBody body)
    {
        shadow?.Prepare(call);
        long start = Stopwatch.GetTimestamp();
        body(Inner, buffer => buffer);
        Record(call.Name, call.Bytes, start, call.Operations, call.Sizes);
        shadow?.Compare(call, body);
    }

    private void Record(string name, long bytes, long start, double operations = 0, string? sizes = null)
    {
        Inner.Synchronize();
        TimeSpan elapsed = Stopwatch.GetElapsedTime(start);
        if (observation.Table)
        {
            table.Add(name, bytes, operations, elapsed);
        }

        if (observation.Lines)
        {
            Console.Error.WriteLine($"{name,-32} {KernelTable.Rates(bytes, operations, elapsed.TotalSeconds)}  {sizes ?? $"{bytes} bytes"}");
        }

        trace?.Add(name, start, elapsed, sizes ?? $"{bytes} bytes");
    }
}
