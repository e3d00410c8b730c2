using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The census kernels of <c>kernels/census.cu</c>.</summary>
internal sealed class CudaCensus : ICensusKernels
{
    private const int RowsPerThread = 16;
    private const int UnionThreads = 128;

    private readonly CudaContext context;
    private readonly TypedKernel<FlagArguments> flag;
    private readonly TypedKernel<StatisticsArguments> statistics;
    private readonly CudaKernel<StatisticsArguments> mergeStatistics;
    private readonly CudaKernel<UnionArguments> unionOfFlags;

    public CudaCensus(CudaContext context)
    {
        this.context = context;
        CudaModule module = context.Module(KernelSource.BuiltIn("census.cu", typeof(FlagArguments), typeof(StatisticsArguments), typeof(UnionArguments)));
        flag = new TypedKernel<FlagArguments>(module, "flag");
        statistics = new TypedKernel<StatisticsArguments>(module, "statistics");
        mergeStatistics = module.Kernel<StatisticsArguments>("mergeStatistics");
        unionOfFlags = module.Kernel<UnionArguments>("unionOfFlags");
    }

    /// <inheritdoc/>
    public void Flag(int rows, int channels, DeviceBuffer input, in ActivityReport activity)
    {
        ActivationType type = ActivationType.Of("census.Flag", input);
        int pitch = Shape.PitchOf(channels);
        FlagArguments arguments = new()
        {
            Input = input.Address,
            Activity = Activity.Begin(context, activity, channels),
            Rows = rows,
            Channels = channels,
            Pitch = pitch,
        };
        flag.Launch(type, arguments, new RowGrid(rows, pitch, RowsPerThread, type.OwnedChannels).Geometry);
    }

    /// <inheritdoc/>
    public void Accumulate(int rows, int channels, DeviceBuffer input, DeviceBuffer maximum, DeviceBuffer minimum, DeviceBuffer sum)
    {
        ActivationType type = ActivationType.Of("census.Accumulate", input);
        int pitch = Shape.PitchOf(channels);
        RowGrid grid = new(rows, pitch, RowsPerThread, type.OwnedChannels);
        int slabs = (rows + grid.RowsOfSlab - 1) / grid.RowsOfSlab;
        DeviceBuffer partials = context.Memory.Allocate(slabs * 3L * pitch * sizeof(double));
        StatisticsArguments arguments = new()
        {
            Input = input.Address,
            Partials = partials.Address,
            Maximum = maximum.Address,
            Minimum = minimum.Address,
            Sum = sum.Address,
            Rows = rows,
            RowsOfSlab = grid.RowsOfSlab,
            Slabs = slabs,
            Channels = channels,
            Pitch = pitch,
        };
        statistics.Launch(type, arguments, grid.Geometry with { GridY = (uint)slabs });
        mergeStatistics.Launch(arguments, new LaunchGeometry((uint)((pitch + 31) / 32), 1, 1, 32, 8));
        context.Memory.Free(partials);
    }

    /// <inheritdoc/>
    public void Union(int words, DeviceBuffer first, DeviceBuffer second, DeviceBuffer target)
    {
        UnionArguments arguments = new() { First = first.Address, Second = second.Address, Target = target.Address, Words = words };
        unionOfFlags.Launch(arguments, LaunchGeometry.Linear((words + UnionThreads - 1) / UnionThreads, UnionThreads));
    }
}

[KernelArguments("census.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct FlagArguments
{
    public nint Input;
    public Activity Activity;
    public int Rows;
    public int Channels;
    public int Pitch;
}

[KernelArguments("census.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct StatisticsArguments
{
    public nint Input;
    public nint Partials;
    public nint Maximum;
    public nint Minimum;
    public nint Sum;
    public int Rows;
    public int RowsOfSlab;
    public int Slabs;
    public int Channels;
    public int Pitch;
}

[KernelArguments("census.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct UnionArguments
{
    public nint First;
    public nint Second;
    public nint Target;
    public int Words;
    public int Unused;
}
