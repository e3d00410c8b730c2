using System.Numerics;
using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The reduction kernels of <c>kernels/reduction.cu</c>: sums of splits, then the splits in order.</summary>
internal sealed unsafe class CudaReduction : IReductionKernels
{
    private const int Threads = 256;

    /// <summary>Rows that one thread should visit before it pays to use more blocks.</summary>
    private const int RowsPerThread = 16;

    /// <summary>Blocks that are enough for any device; the number of splits depends on the sizes alone.</summary>
    private const long BlocksWanted = 2048;

    /// <summary>Elements of an output row up to which one thread sums them.</summary>
    private const int ShortRow = 64;

    private readonly CudaContext context;
    private readonly CudaKernel<ReductionArguments> reduceChannels;
    private readonly CudaKernel<ReductionArguments> reduceRows;
    private readonly CudaKernel<ReductionArguments> reduceShortRows;
    private readonly CudaKernel<CombineArguments> combine;
    private readonly CudaKernel<ArgumentMaximumArguments> argumentMaximum;

    public CudaReduction(CudaContext context)
    {
        this.context = context;
        CudaModule module = context.Module(
            KernelSource.BuiltIn("reduction.cu", typeof(ReductionArguments), typeof(CombineArguments), typeof(ArgumentMaximumArguments)));
        reduceChannels = module.Kernel<ReductionArguments>("reduceChannels");
        reduceRows = module.Kernel<ReductionArguments>("reduceRows");
        reduceShortRows = module.Kernel<ReductionArguments>("reduceShortRows");
        combine = module.Kernel<CombineArguments>("combine");
        argumentMaximum = module.Kernel<ArgumentMaximumArguments>("argumentMaximum");
    }

    /// <inheritdoc/>
    public void Reduce(
        ReductionOperation operation, in Shape inputShape, DeviceBuffer input, in Shape outputShape, DeviceBuffer output, GradientMode mode = GradientMode.Overwrite)
    {
        ActivationType.RequireFloat32("reduction.Reduce", input, output);
        bool keepsChannels = outputShape.Channels == inputShape.Channels;
        ReductionArguments arguments = new()
        {
            Input = input.Address,
            OutputRows = outputShape.Rows,
            SummedRows = 1,
            Channels = inputShape.Channels,
            Pitch = inputShape.Pitch,
            Operation = (int)operation,
        };
        SetDimensions(inputShape, outputShape, ref arguments);
        int across = keepsChannels ? inputShape.Pitch / 4 : inputShape.Channels;
        int threadsX = (int)Math.Min(BitOperations.RoundUpToPowerOf2((uint)across), keepsChannels ? 64 : Threads);
        int threadsY = (int)Math.Clamp(BitOperations.RoundUpToPowerOf2((uint)arguments.SummedRows), (uint)Math.Max(32 / threadsX, 1), (uint)(Threads / threadsX));
        int channelBlocks = keepsChannels ? (across + threadsX - 1) / threadsX : 1;
        bool isShort = !keepsChannels && arguments.SummedRows * (long)arguments.Channels <= ShortRow && arguments.OutputRows > 1;
        long useful = isShort ? 1 : Math.Max(1, arguments.SummedRows / (threadsY * RowsPerThread));
        int splits = (int)Math.Clamp(BlocksWanted / ((long)arguments.OutputRows * channelBlocks), 1, useful);
        arguments.RowsOfSplit = (arguments.SummedRows + splits - 1) / splits;
        splits = (arguments.SummedRows + arguments.RowsOfSplit - 1) / arguments.RowsOfSplit;
        int partialPitch = keepsChannels ? inputShape.Pitch : 1;
        DeviceBuffer partials = context.Memory.Allocate((long)splits * arguments.OutputRows * partialPitch * sizeof(double));
        arguments.Partials = partials.Address;
        if (isShort)
        {
            reduceShortRows.Launch(arguments, LaunchGeometry.Cover(arguments.OutputRows, Threads));
        }
        else
        {
            LaunchGeometry geometry = new((uint)arguments.OutputRows, (uint)channelBlocks, (uint)splits, (uint)threadsX, (uint)threadsY);
            (keepsChannels ? reduceChannels : reduceRows).Launch(arguments, geometry);
        }

        CombineArguments combined = new()
        {
            Partials = partials.Address,
            Output = output.Address,
            Count = operation == ReductionOperation.Mean ? (double)inputShape.ElementCount / outputShape.ElementCount : 1,
            Splits = splits,
            OutputRows = arguments.OutputRows,
            Channels = outputShape.Channels,
            Pitch = outputShape.Pitch,
            PartialPitch = partialPitch,
            Operation = (int)operation,
            Accumulate = mode == GradientMode.Accumulate ? 1 : 0,
        };
        combine.Launch(combined, LaunchGeometry.Cover((long)arguments.OutputRows * partialPitch, Threads));
        context.Memory.Free(partials);
    }

    /// <inheritdoc/>
    public void ArgumentMaximum(in Shape inputShape, DeviceBuffer input, DeviceBuffer indices) =>
        argumentMaximum.Launch(
            new ArgumentMaximumArguments
            {
                Input = input.Address,
                Indices = indices.Address,
                Rows = inputShape.Rows,
                Channels = inputShape.Channels,
                Pitch = inputShape.Pitch,
            },
            LaunchGeometry.Cover(inputShape.Rows * 32L, Threads));

    // Which of the outer dimensions stay and which are summed, innermost first; strides in rows of the input.
    private static void SetDimensions(in Shape inputShape, in Shape outputShape, ref ReductionArguments arguments)
    {
        int kept = 0;
        int summed = 0;
        long stride = 1;
        for (int d = 2; d <= inputShape.Rank; d++)
        {
            int extent = inputShape[-d];
            if (d <= outputShape.Rank && outputShape[-d] != 1)
            {
                arguments.KeptExtents[kept] = extent;
                arguments.KeptStrides[kept++] = stride;
            }
            else if (extent > 1)
            {
                arguments.SummedExtents[summed] = extent;
                arguments.SummedStrides[summed++] = stride;
                arguments.SummedRows *= extent;
            }

            stride *= extent;
        }

        arguments.KeptRank = kept;
        arguments.SummedRank = summed;
    }
}

[KernelArguments("reduction.cu")]
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ReductionArguments
{
    public nint Input;
    public nint Partials;
    public fixed long KeptStrides[5];
    public fixed long SummedStrides[5];
    public fixed int KeptExtents[5];
    public fixed int SummedExtents[5];
    public int KeptRank;
    public int SummedRank;
    public int OutputRows;
    public int SummedRows;
    public int RowsOfSplit;
    public int Channels;
    public int Pitch;
    public int Operation;
}

[KernelArguments("reduction.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct CombineArguments
{
    public nint Partials;
    public nint Output;
    public double Count;
    public int Splits;
    public int OutputRows;
    public int Channels;
    public int Pitch;
    public int PartialPitch;
    public int Operation;
    public int Accumulate;
}

[KernelArguments("reduction.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct ArgumentMaximumArguments
{
    public nint Input;
    public nint Indices;
    public int Rows;
    public int Channels;
    public int Pitch;
}
