using System.Runtime.InteropServices;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine;

/// <summary>
/// Which channels of one unit group (the channels after one activation) were active: bits on the device, written by the forward kernels and read by the noise
/// in the optimizer kernel without a copy to the host. During a census it also collects extrema and sums.
/// </summary>
public sealed class ChannelActivity : IDisposable
{
    private Tensor flags;
    private Tensor maximum;
    private Tensor minimum;
    private Tensor sum;
    private Tensor censusFlags;
    private FlagWindow? window;
    private LivenessMemory liveness;
    private int windowLength = 16;
    private bool combine;
    private bool hasNews;
    private bool isStepInWindow;

    /// <summary>Creates the record of one unit group.</summary>
    /// <param name="device">Where the activations are.</param>
    /// <param name="channels">Number of channels.</param>
    /// <param name="activation">The activation function, which decides what counts as active.</param>
    public ChannelActivity(Device device, int channels, Activation activation)
    {
        Device = device;
        Channels = channels;
        Activation = activation;
        Criterion = activation.Kind is ActivationKind.Gelu or ActivationKind.Silu
            ? ActivityCriterion.MagnitudeAtLeastThreshold
            : ActivityCriterion.AboveThreshold;
        Threshold = Criterion == ActivityCriterion.AboveThreshold ? 0 : 0.01f;
    }

    /// <summary>The device.</summary>
    public Device Device { get; }

    /// <summary>Number of channels.</summary>
    public int Channels { get; private set; }

    /// <summary>The activation function.</summary>
    public Activation Activation { get; }

    /// <summary>What counts as active.</summary>
    public ActivityCriterion Criterion { get; set; }

    /// <summary>ε of the criterion.</summary>
    public float Threshold { get; set; }

    /// <summary>
    /// If set, the group may lose all of its channels, and this is called when it does: a residual block then drops its branch. If null, surgery keeps at least one.
    /// </summary>
    public Action? AllRemoved { get; set; }

    /// <summary>The group's name in reports, such as <c>layer1.0.conv1</c>; set when the model is put together.</summary>
    public string Name { get; set; } = "";

    /// <summary>Indices of the channels in the dense model; null while none was removed.</summary>
    public int[]? OriginalChannels { get; set; }

    /// <summary>Whether forward passes leave the record as it is; for passes over images that are none, as when the graph is traced.</summary>
    public bool IsPaused { get; set; }

    /// <summary>Whether forward passes also collect extrema and sums, as a census needs them.</summary>
    public bool CollectsStatistics { get; private set; }

    /// <summary>Rows (images times positions) that the statistics cover.</summary>
    public long StatisticsRows { get; private set; }

    /// <summary>The bits of the last forward passes; None before the first one.</summary>
    public DeviceBuffer Flags => flags.IsNone ? DeviceBuffer.None : flags.Buffer;

    /// <summary>What <see cref="LiveFlags"/> remembers. Another setting starts with nothing known.</summary>
    public LivenessMemory Liveness
    {
        get => liveness;
        set
        {
            if (liveness != value)
            {
                ForgetLiveness();
                liveness = value;
            }
        }
    }

    /// <summary>Steps that <see cref="LivenessMemory.Window"/> covers, at least 1. Another length starts with nothing known.</summary>
    public int WindowLength
    {
        get => windowLength;
        set
        {
            if (value < 1)
            {
                throw new ArgumentOutOfRangeException(nameof(value), $"A window of liveness covers at least one step, but {value} were asked for.");
            }

            if (windowLength != value)
            {
                ForgetLiveness();
                windowLength = value;
            }
        }
    }

    /// <summary>
    /// The bits of the channels that count as live by <see cref="Liveness"/>, as the optimizer reads them once all forward passes of a step are done. None, all are live, while nothing is
    /// known: before the first step, before the first census, and after a <see cref="Resize"/> until the next of them. For a census this is exact, since the channels that surgery
    /// left were live in it; only the one that it keeps of a group that died as a whole is not. A window counts the steps in which it is asked for; passes that nobody asks
    /// about before the next <see cref="Reset"/>, such as an evaluation's, do not enter it.
    /// </summary>
    public DeviceBuffer LiveFlags => Liveness switch
    {
        LivenessMemory.Window => WindowFlags(),
        LivenessMemory.Census => censusFlags.IsNone ? DeviceBuffer.None : censusFlags.Buffer,
        _ => Flags,
    };

    /// <summary>
    /// A gate on every channel [channels], which multiplies the activation's output; none unless someone sets it, who also disposes it. Its gradient is what closing a channel would do to the loss, to
    /// first order ("Pruning via Iterative Ranking of Sensitivity Statistics", Verdenius et al. 2020).
    /// </summary>
    public Tensor Gates { get; set; }

    /// <summary>Starts anew: the next forward pass overwrites the bits, later ones are combined by OR until the next reset.</summary>
    public void Reset()
    {
        combine = false;
        hasNews = false;
        isStepInWindow = false;
    }

    /// <summary>Whether a forward pass has reported since the last reset.</summary>
    internal bool HasReported => combine;

    /// <summary>A recorded step that reports was repeated: the record is as after its forward passes.</summary>
    internal void CountRepetition()
    {
        combine = true;
        hasNews = true;
    }

    /// <summary>Starts a census: bits and statistics are combined over all forward passes until <see cref="EndCensus"/>.</summary>
    public void BeginCensus()
    {
        Reset();
        CollectsStatistics = true;
        StatisticsRows = 0;
        Shape shape = new(Channels);
        maximum = Tensor.AllocateUnscoped(Device, shape);
        minimum = Tensor.AllocateUnscoped(Device, shape);
        sum = Tensor.AllocateUnscoped(Device, shape, ElementType.Float64);
        Device.Elementwise.Fill(shape, maximum.Buffer, float.NegativeInfinity);
        Device.Elementwise.Fill(shape, minimum.Buffer, float.PositiveInfinity);
        Device.Clear(sum.Buffer);
    }

    /// <summary>Ends a census and reads its result back.</summary>
    public ChannelStatistics EndCensus()
    {
        double[] sums = new double[Channels];
        Device.Download(sum.Buffer, MemoryMarshal.AsBytes(sums.AsSpan()));
        ChannelStatistics statistics = new(maximum.ToArray(), minimum.ToArray(), sums, StatisticsRows);
        if (Liveness == LivenessMemory.Census && hasNews)
        {
            if (censusFlags.IsNone)
            {
                censusFlags = NewFlags();
            }

            Device.Copy(flags.Buffer, censusFlags.Buffer);
        }

        CollectsStatistics = false;
        FreeStatistics();
        Reset();
        return statistics;
    }

    /// <summary>
    /// What <see cref="LiveFlags"/> remembers of earlier steps, read back for a checkpoint: words of bits, one array a step of a window, oldest first, one at most for a census, and none
    /// for a batch.
    /// </summary>
    public IReadOnlyList<int[]> ReadLiveness() => Liveness switch
    {
        LivenessMemory.Window => window?.Read() ?? [],
        LivenessMemory.Census when !censusFlags.IsNone => [censusFlags.ToIntegers()],
        _ => [],
    };

    /// <summary>Puts back what <see cref="ReadLiveness"/> gave, with the same settings and number of channels, so that a run goes on with the same bits.</summary>
    /// <exception cref="ArgumentException">More steps than are remembered, or another number of words.</exception>
    public void RestoreLiveness(IReadOnlyList<int[]> steps)
    {
        int words = ActivityReport.WordCount(Channels);
        int most = Liveness switch { LivenessMemory.Window => WindowLength, LivenessMemory.Census => 1, _ => 0 };
        if (steps.Count > most || steps.Any(step => step.Length != words))
        {
            throw new ArgumentException(
                $"{Name} remembers at most {most} steps of {words} words each ({Liveness}, {Channels} channels), but got {steps.Count} of [{string.Join(", ", steps.Select(step => step.Length))}] words.",
                nameof(steps));
        }

        ForgetLiveness();
        foreach (int[] step in steps)
        {
            Tensor restored = NewFlags();
            restored.CopyFromStored<int>(step);
            if (Liveness == LivenessMemory.Census)
            {
                censusFlags = restored;
                continue;
            }

            window ??= new FlagWindow(Device, words, WindowLength);
            window.Advance(restored.Buffer);
            restored.Dispose();
        }
    }

    /// <summary>The number of active channels in the bits, read back from the device.</summary>
    public int CountActive() => ReadActive().Count(flag => flag);

    /// <summary>The bits, read back from the device: one flag a channel, all set before the first forward pass.</summary>
    public bool[] ReadActive()
    {
        bool[] active = new bool[Channels];
        if (flags.IsNone)
        {
            Array.Fill(active, true);
            return active;
        }

        int[] words = flags.ToIntegers();
        for (int c = 0; c < active.Length; c++)
        {
            active[c] = (words[c / 32] >> (c % 32) & 1) != 0;
        }

        return active;
    }

    /// <summary>After a compaction: another number of channels, nothing known of them.</summary>
    public void Resize(int channels)
    {
        ForgetLiveness();
        Channels = channels;
        flags.Dispose();
        flags = default;
        Reset();
    }

    /// <summary>Frees the device memory.</summary>
    public void Dispose()
    {
        flags.Dispose();
        flags = default;
        ForgetLiveness();
        FreeStatistics();
    }

    /// <summary>Where a forward kernel reports to.</summary>
    internal ActivityReport Report()
    {
        if (IsPaused)
        {
            return ActivityReport.None;
        }

        if (flags.IsNone)
        {
            flags = NewFlags();
            combine = false;
        }

        ActivityReport report = new(flags.Buffer, Criterion, Threshold, combine);
        combine = true;
        hasNews = true;
        return report;
    }

    /// <summary>Adds an activation's output to the census.</summary>
    internal void Observe(Tensor output)
    {
        if (!CollectsStatistics || IsPaused)
        {
            return;
        }

        StatisticsRows += output.Shape.Rows;
        Device.Census.Accumulate(output.Shape.Rows, Channels, output.Buffer, maximum.Buffer, minimum.Buffer, sum.Buffer);
    }

    private DeviceBuffer WindowFlags()
    {
        if (hasNews && !CollectsStatistics)
        {
            window ??= new FlagWindow(Device, ActivityReport.WordCount(Channels), WindowLength);
            if (isStepInWindow)
            {
                window.Add(flags.Buffer);
            }
            else
            {
                window.Advance(flags.Buffer);
            }

            hasNews = false;
            isStepInWindow = true;
        }

        return window?.Union ?? DeviceBuffer.None;
    }

    private Tensor NewFlags() => Tensor.AllocateUnscoped(Device, new Shape(ActivityReport.WordCount(Channels)), ElementType.Int32);

    private void ForgetLiveness()
    {
        window?.Dispose();
        window = null;
        isStepInWindow = false;
        censusFlags.Dispose();
        censusFlags = default;
    }

    /// <summary>The activation's output behind the gates, if there are any.</summary>
    internal Tensor Gated(Tensor output) => Gates.IsNone ? output : Operations.Operation.Multiply(output, Gates);

    private void FreeStatistics()
    {
        maximum.Dispose();
        minimum.Dispose();
        sum.Dispose();
        maximum = minimum = sum = default;
    }
}

/// <summary>What a census saw of one unit group.</summary>
/// <param name="Maximum">The largest output of each channel.</param>
/// <param name="Minimum">The smallest output of each channel.</param>
/// <param name="Sum">The sum of all outputs of each channel.</param>
/// <param name="Rows">Images times positions.</param>
public sealed record ChannelStatistics(float[] Maximum, float[] Minimum, double[] Sum, long Rows)
{
    /// <summary>The mean output of a channel.</summary>
    public double Mean(int channel) => Sum[channel] / Rows;
}
