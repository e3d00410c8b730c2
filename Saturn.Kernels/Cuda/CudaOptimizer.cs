using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// The optimizer kernels of <c>kernels/optimizer.cu</c>: a table of tensors travels in the arguments, so that one launch updates them all; more tensors than the table holds take
/// several launches.
/// </summary>
internal sealed class CudaOptimizer : IOptimizerKernels
{
    private const int Threads = 256;
    private const int ChunkFloats = 4096;

    private readonly CudaContext context;
    private readonly CudaKernel<UpdateArguments> update;
    private readonly CudaKernel<LargeUpdateArguments> updateLarge;
    private readonly CudaKernel<SquareArguments> squareGradients;
    private readonly CudaKernel<ClipArguments> clipScale;

    // Too large to be set up on the stack at every step.
    private UpdateArguments small;
    private LargeUpdateArguments large;
    private SquareArguments squares;

    public CudaOptimizer(CudaContext context)
    {
        this.context = context;
        CudaModule module = context.Module(KernelSource.BuiltIn(
            "optimizer.cu", typeof(UpdateArguments), typeof(LargeUpdateArguments), typeof(SquareArguments), typeof(ClipArguments)));
        update = module.Kernel<UpdateArguments>("update");
        updateLarge = module.Kernel<LargeUpdateArguments>("updateLarge");
        squareGradients = module.Kernel<SquareArguments>("squareGradients");
        clipScale = module.Kernel<ClipArguments>("clipScale");
    }

    /// <inheritdoc/>
    public void Update(in OptimizerStep step, ReadOnlySpan<OptimizerTensor> tensors)
    {
        if (!step.Scalars.IsNone && step.Scalars.ByteLength < OptimizerScalars.ByteLength(tensors.Length))
        {
            throw new ArgumentException(
                $"The numbers of a step with {tensors.Length} tensors take {OptimizerScalars.ByteLength(tensors.Length)} bytes, but the buffer has {step.Scalars.ByteLength}.", nameof(step));
        }

        int scalarBytes = OptimizerScalars.ByteLength(0);
        UpdateRule rule = new()
        {
            GradientScale = step.GradientScale.Address,
            DeviceScalars = step.Scalars.Address,
            DeviceRates = step.Scalars.IsNone ? 0 : step.Scalars.Address + scalarBytes,
            Rule = (int)step.Rule,
            Nesterov = step.Nesterov ? 1 : 0,
            Momentum = step.Momentum,
            Beta1 = step.Beta1,
            Beta2 = step.Beta2,
            Epsilon = step.Epsilon,
            Scalars = UpdateScalars.Of(step),
        };
        if (!step.Scalars.IsNone)
        {
            // A launch that is to be repeated has the same arguments in every step.
            rule.Scalars = default;
        }

        while (!tensors.IsEmpty)
        {
            int count;
            if (tensors.Length > UpdateJobs.Count && context.AllowsLargeArguments)
            {
                count = Math.Min(tensors.Length, LargeUpdateJobs.Count);
                large.Rule = rule;
                large.JobCount = count;
                updateLarge.Launch(large, LaunchGeometry.Linear(Fill(large.Jobs, tensors[..count], step), Threads));
            }
            else
            {
                count = Math.Min(tensors.Length, UpdateJobs.Count);
                small.Rule = rule;
                small.JobCount = count;
                update.Launch(small, LaunchGeometry.Linear(Fill(small.Jobs, tensors[..count], step), Threads));
            }

            tensors = tensors[count..];
            if (!step.Scalars.IsNone)
            {
                rule.DeviceRates += OptimizerScalars.ByteLength(count) - scalarBytes;
            }
        }
    }

    /// <inheritdoc/>
    public void ClipScale(ReadOnlySpan<OptimizerTensor> tensors, float scale, float maximumNorm, DeviceBuffer result)
    {
        int chunks = 0;
        foreach (ref readonly OptimizerTensor tensor in tensors)
        {
            chunks += Chunks(tensor);
        }

        DeviceBuffer partials = context.Memory.Allocate(Math.Max(chunks, 1) * (long)sizeof(double));
        int done = 0;
        while (!tensors.IsEmpty)
        {
            int count = Math.Min(tensors.Length, SquareJobs.Count);
            int ofLaunch = 0;
            for (int i = 0; i < count; i++)
            {
                ref readonly OptimizerTensor tensor = ref tensors[i];
                squares.Jobs[i] = new SquareJob
                {
                    Gradient = tensor.Gradient.Address,
                    GradientParts = tensor.GradientSplits,
                    PartFours = PartFours(tensor),
                    FirstChunk = ofLaunch,
                    Fours = checked((uint)(Floats(tensor) / 4)),
                };
                ofLaunch += Chunks(tensor);
            }

            squares.Partials = partials.Address + done * sizeof(double);
            squares.JobCount = count;
            squareGradients.Launch(squares, LaunchGeometry.Linear(ofLaunch, Threads));
            done += ofLaunch;
            tensors = tensors[count..];
        }

        ClipArguments arguments = new() { Partials = partials.Address, Result = result.Address, Chunks = chunks, Scale = scale, MaximumNorm = maximumNorm };
        clipScale.Launch(arguments, LaunchGeometry.Linear(1, Threads));
        context.Memory.Free(partials);
    }

    /// <summary>Writes the table and returns the number of chunks.</summary>
    private static int Fill(Span<UpdateJob> jobs, ReadOnlySpan<OptimizerTensor> tensors, in OptimizerStep step)
    {
        bool averages = step.Rule == OptimizerRule.DualAveraging;
        int chunks = 0;
        for (int i = 0; i < tensors.Length; i++)
        {
            ref readonly OptimizerTensor tensor = ref tensors[i];
            jobs[i] = new UpdateJob
            {
                Weight = tensor.Weight.Address,
                Gradient = tensor.Gradient.Address,
                FirstMoment = averages && tensor.SecondMoment.IsNone ? 0 : tensor.FirstMoment.Address,
                SecondMoment = averages ? tensor.LastMoment.Address : tensor.SecondMoment.Address,
                ReducedCopy = tensor.ReducedCopy.Address,
                LiveFlags = tensor.LiveFlags.Address,
                OriginalRows = tensor.OriginalRows.Address,
                OriginalColumns = tensor.OriginalColumns.Address,
                GradientParts = tensor.GradientSplits,
                PartFours = PartFours(tensor),
                FirstChunk = chunks,
                Segments = tensor.Rows * tensor.Middle,
                Middle = tensor.Middle,
                Columns = tensor.Columns,
                TensorId = tensor.TensorId,
                Vector = tensor.IsVector ? 1 : 0,
                Rates = step.Scalars.IsNone ? UpdateRates.Of(tensor, step.DecoupledWeightDecay) : default,
            };
            chunks += Chunks(tensor);
        }

        return chunks;
    }

    /// <summary>Fours of elements from one part of the gradient to the next; parts are read four elements at a time.</summary>
    private static uint PartFours(in OptimizerTensor tensor)
    {
        if (tensor.GradientSplits == 1)
        {
            return 0;
        }

        long stride = tensor.GradientSplitStride;
        if (tensor.GradientSplits < 1 || stride < Floats(tensor) || stride % 4 != 0 || stride / 4 > uint.MaxValue)
        {
            throw new ArgumentException(
                $"A gradient comes in at least one part, and in several with a stride that is a multiple of 4 and at least their {Floats(tensor)} elements; {tensor.GradientSplits} parts with a stride of {stride} came.");
        }

        return (uint)(stride / 4);
    }

    private static long Floats(in OptimizerTensor tensor) => (long)tensor.Rows * tensor.Middle * Shape.PitchOf(tensor.Columns);

    private static int Chunks(in OptimizerTensor tensor) => checked((int)((Floats(tensor) + ChunkFloats - 1) / ChunkFloats));
}
