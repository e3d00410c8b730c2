using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The kernel of <c>kernels/batch_statistics.cu</c>, which merges the statistics of a convolution's tiles and finds from their extrema which channels are active.</summary>
internal sealed class CudaBatchStatistics
{
    private const int BlockChannels = 8;
    private const int TileGroups = 32;

    private readonly CudaContext context;
    private readonly CudaKernel<BatchStatisticsArguments> kernel;

    /// <summary>Prepares the kernel; nothing is compiled before the first launch.</summary>
    public CudaBatchStatistics(CudaContext context)
    {
        this.context = context;
        kernel = context.Module(KernelSource.BuiltIn("batch_statistics.cu", typeof(BatchStatisticsArguments))).Kernel<BatchStatisticsArguments>("batchStatistics");
    }

    /// <inheritdoc cref="INormalizationKernels.PrepareTraining"/>
    public bool Prepare(
        in BatchNormShape shape, BatchStatistics form, DeviceBuffer statistics, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer runningMean, DeviceBuffer runningVariance, DeviceBuffer saved,
        Activation activation, in ActivityReport activity)
    {
        bool answers = form.Answers(activation, activity);
        int pitch = Shape.PitchOf(shape.Channels);
        BatchStatisticsArguments arguments = new()
        {
            Tiles = statistics.Address,
            Gamma = gamma.Address,
            Beta = beta.Address,
            RunningMean = runningMean.Address,
            RunningVariance = runningVariance.Address,
            Saved = saved.Address,
            Activity = Activity.Begin(context, answers ? activity : ActivityReport.None, shape.Channels),
            TileCount = form.Tiles,
            RowsOfTile = form.RowsOfTile,
            Rows = shape.Rows,
            Channels = shape.Channels,
            Pitch = pitch,
            Rectifies = activation.Kind == ActivationKind.Identity ? 0 : 1,
            Slope = activation.Kind == ActivationKind.LeakyRelu ? activation.Parameter : 0,
            Epsilon = shape.Epsilon,
            Momentum = shape.Momentum,
        };
        kernel.Launch(arguments, new LaunchGeometry((uint)(pitch / BlockChannels), 1, 1, BlockChannels, TileGroups));
        return answers;
    }
}

/// <summary>Arguments of the merge: see <c>kernels/batch_statistics.cu</c>.</summary>
[KernelArguments("batch_statistics.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct BatchStatisticsArguments
{
    public nint Tiles;
    public nint Gamma;
    public nint Beta;
    public nint RunningMean;
    public nint RunningVariance;
    public nint Saved;
    public Activity Activity;
    public int TileCount;
    public int RowsOfTile;
    public int Rows;
    public int Channels;
    public int Pitch;
    public int Rectifies;
    public float Slope;
    public float Epsilon;
    public float Momentum;
}
