using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// The batch normalization kernels of <c>kernels/normalization.cu</c>: passes over slabs of rows, and kernels that merge the slabs' sums in order. Layer normalization stands in
/// <see cref="CudaLayerNormalization"/>.
/// </summary>
internal sealed class CudaNormalization : INormalizationKernels
{
    private const int RowsPerThread = 4;

    private readonly CudaContext context;
    private readonly CudaLayerNormalization layer;
    private readonly CudaBatchStatistics batchStatistics;
    private readonly TypedKernel<MomentsArguments> moments;
    private readonly CudaKernel<MergeMomentsArguments> mergeMoments;
    private readonly CudaKernel<PrepareArguments> prepare;
    private readonly TypedKernel<ApplyArguments> apply;
    private readonly TypedKernel<BackwardArguments> backwardSums;
    private readonly CudaKernel<FactorsArguments> backwardFactors;
    private readonly TypedKernel<BackwardArguments> backwardApply;
    private readonly TypedKernel<ResidualGradientArguments> residualGradient;

    public CudaNormalization(CudaContext context)
    {
        this.context = context;
        layer = new CudaLayerNormalization(context);
        batchStatistics = new CudaBatchStatistics(context);
        CudaModule module = context.Module(KernelSource.BuiltIn(
            "normalization.cu", typeof(MomentsArguments), typeof(MergeMomentsArguments), typeof(PrepareArguments), typeof(ApplyArguments), typeof(BackwardArguments),
            typeof(FactorsArguments), typeof(ResidualGradientArguments)));
        moments = new TypedKernel<MomentsArguments>(module, "moments");
        mergeMoments = module.Kernel<MergeMomentsArguments>("mergeMoments");
        prepare = module.Kernel<PrepareArguments>("prepare");
        apply = new TypedKernel<ApplyArguments>(module, "apply");
        backwardSums = new TypedKernel<BackwardArguments>(module, "backwardSums");
        backwardFactors = module.Kernel<FactorsArguments>("backwardFactors");
        backwardApply = new TypedKernel<BackwardArguments>(module, "backwardApply");
        residualGradient = new TypedKernel<ResidualGradientArguments>(module, "residualGradient");
    }

    /// <inheritdoc/>
    public void BatchMoments(int rows, int channels, DeviceBuffer input, DeviceBuffer moments)
    {
        ActivationType type = ActivationType.Of("normalization.BatchMoments", input);
        int pitch = Shape.PitchOf(channels);
        RowGrid grid = RowGrid.OfSums(rows, pitch, type.OwnedChannels);
        int slabs = (rows + grid.RowsOfSlab - 1) / grid.RowsOfSlab;
        DeviceBuffer partials = context.Memory.Allocate((long)slabs * 2 * pitch * sizeof(double));
        MomentsArguments arguments = new() { Input = input.Address, Partials = partials.Address, Rows = rows, RowsOfSlab = grid.RowsOfSlab, Pitch = pitch };
        this.moments.Launch(type, arguments, grid.Geometry with { GridY = (uint)slabs });
        MergeMomentsArguments merge = new()
        {
            Partials = partials.Address,
            Moments = moments.Address,
            Rows = rows,
            RowsOfSlab = grid.RowsOfSlab,
            Slabs = slabs,
            Channels = channels,
            Pitch = pitch,
        };
        mergeMoments.Launch(merge, MergeGrid(pitch));
        context.Memory.Free(partials);
    }

    /// <inheritdoc/>
    public bool PrepareTraining(
        in BatchNormShape shape, BatchStatistics form, DeviceBuffer statistics, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer runningMean, DeviceBuffer runningVariance, DeviceBuffer saved,
        Activation activation, in ActivityReport activity)
    {
        if (form.AreMoments)
        {
            Prepare(shape, statistics, gamma, beta, runningMean, runningVariance, saved);
            return false;
        }

        return batchStatistics.Prepare(shape, form, statistics, gamma, beta, runningMean, runningVariance, saved, activation, activity);
    }

    /// <inheritdoc/>
    public void PrepareInference(
        in BatchNormShape shape, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer runningMean, DeviceBuffer runningVariance, DeviceBuffer saved) =>
        Prepare(shape, DeviceBuffer.None, gamma, beta, runningMean, runningVariance, saved);

    /// <inheritdoc/>
    public void Apply(
        in BatchNormShape shape, in NormalizationEpilogue epilogue, DeviceBuffer input, DeviceBuffer saved, DeviceBuffer output, in ActivityReport activity)
    {
        ActivationType type = ActivationType.Of("normalization.Apply", input, epilogue.Residual, output);
        int pitch = Shape.PitchOf(shape.Channels);
        ApplyArguments arguments = new()
        {
            Input = input.Address,
            Saved = saved.Address,
            Residual = epilogue.Residual.Address,
            Map = epilogue.Map.Address,
            Output = output.Address,
            Activity = Activity.Begin(context, activity, shape.Channels),
            Rows = shape.Rows,
            Channels = shape.Channels,
            Pitch = pitch,
            ResidualPitch = ResidualPitch(epilogue),
            Rectifies = Rectifies(epilogue.Activation),
            Slope = Slope(epilogue.Activation),
        };
        apply.Launch(type, arguments, new RowGrid(shape.Rows, pitch, RowsPerThread, type.OwnedChannels).Geometry);
    }

    /// <inheritdoc/>
    public void BatchBackward(
        in BatchNormShape shape, in NormalizationEpilogue epilogue, bool batchStatistics, DeviceBuffer input, DeviceBuffer saved, DeviceBuffer output,
        DeviceBuffer outputGradient, DeviceBuffer gammaGradient, DeviceBuffer betaGradient, GradientMode parameterMode, DeviceBuffer inputGradient,
        DeviceBuffer residualGradient, GradientMode residualMode)
    {
        ActivationType type = ActivationType.Of("normalization.BatchBackward", input, epilogue.Residual, output, outputGradient, inputGradient, residualGradient);
        int pitch = Shape.PitchOf(shape.Channels);
        RowGrid grid = RowGrid.OfSums(shape.Rows, pitch, type.OwnedChannels);
        int slabs = batchStatistics || !gammaGradient.IsNone || !betaGradient.IsNone ? (shape.Rows + grid.RowsOfSlab - 1) / grid.RowsOfSlab : 0;
        DeviceBuffer partials = context.Memory.Allocate(Math.Max(slabs, 1) * 2L * pitch * sizeof(double));
        DeviceBuffer factors = context.Memory.Allocate(2L * pitch * sizeof(float));
        bool mapped = !epilogue.Map.IsNone;
        BackwardArguments arguments = new()
        {
            Input = input.Address,
            Saved = saved.Address,
            Output = epilogue.Residual.IsNone ? 0 : output.Address,
            OutputGradient = outputGradient.Address,
            Partials = partials.Address,
            Factors = factors.Address,
            InputGradient = inputGradient.Address,
            ResidualGradient = mapped ? 0 : residualGradient.Address,
            Rows = shape.Rows,
            RowsOfSlab = grid.RowsOfSlab,
            Pitch = pitch,
            Rectifies = Rectifies(epilogue.Activation),
            Slope = Slope(epilogue.Activation),
            AccumulateResidual = residualMode == GradientMode.Accumulate ? 1 : 0,
        };
        if (slabs > 0)
        {
            backwardSums.Launch(type, arguments, grid.Geometry with { GridY = (uint)slabs });
        }

        FactorsArguments factorsArguments = new()
        {
            Partials = partials.Address,
            Saved = saved.Address,
            Factors = factors.Address,
            GammaGradient = gammaGradient.Address,
            BetaGradient = betaGradient.Address,
            Rows = shape.Rows,
            Slabs = slabs,
            Channels = shape.Channels,
            Pitch = pitch,
            BatchStatistics = batchStatistics ? 1 : 0,
            Accumulate = parameterMode == GradientMode.Accumulate ? 1 : 0,
        };
        backwardFactors.Launch(factorsArguments, MergeGrid(pitch));
        if (mapped && !residualGradient.IsNone)
        {
            LaunchResidualGradient(type, shape, epilogue, arguments, residualGradient);
        }

        if (!inputGradient.IsNone || arguments.ResidualGradient != 0)
        {
            backwardApply.Launch(type, arguments, new RowGrid(shape.Rows, pitch, RowsPerThread, type.OwnedChannels).Geometry);
        }

        context.Memory.Free(factors);
        context.Memory.Free(partials);
    }

    /// <inheritdoc/>
    public void LayerForward(int rows, int channels, float epsilon, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer output, DeviceBuffer saved) =>
        layer.LayerForward(rows, channels, epsilon, input, gamma, beta, output, saved);

    /// <inheritdoc/>
    public void LayerBackward(
        int rows, int channels, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer saved, DeviceBuffer outputGradient, DeviceBuffer inputGradient,
        GradientMode inputMode, DeviceBuffer gammaGradient, DeviceBuffer betaGradient, GradientMode parameterMode) =>
        layer.LayerBackward(rows, channels, input, gamma, saved, outputGradient, inputGradient, inputMode, gammaGradient, betaGradient, parameterMode);

    private void LaunchResidualGradient(
        ActivationType type, in BatchNormShape shape, in NormalizationEpilogue epilogue, in BackwardArguments backward, DeviceBuffer gradient)
    {
        ResidualGradientArguments arguments = new()
        {
            Output = backward.Output,
            OutputGradient = backward.OutputGradient,
            InverseMap = epilogue.InverseMap.Address,
            ResidualGradient = gradient.Address,
            Rows = shape.Rows,
            Pitch = backward.Pitch,
            ResidualChannels = epilogue.ResidualChannels,
            ResidualPitch = ResidualPitch(epilogue),
            Rectifies = backward.Rectifies,
            Slope = backward.Slope,
            Accumulate = backward.AccumulateResidual,
        };
        residualGradient.Launch(type, arguments, new RowGrid(shape.Rows, arguments.ResidualPitch, RowsPerThread, type.OwnedChannels).Geometry);
    }

    private void Prepare(
        in BatchNormShape shape, DeviceBuffer moments, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer runningMean, DeviceBuffer runningVariance, DeviceBuffer saved)
    {
        int pitch = Shape.PitchOf(shape.Channels);
        PrepareArguments arguments = new()
        {
            Moments = moments.Address,
            Gamma = gamma.Address,
            Beta = beta.Address,
            RunningMean = runningMean.Address,
            RunningVariance = runningVariance.Address,
            Saved = saved.Address,
            Rows = shape.Rows,
            Channels = shape.Channels,
            Pitch = pitch,
            Epsilon = shape.Epsilon,
            Momentum = shape.Momentum,
        };
        prepare.Launch(arguments, LaunchGeometry.Linear((pitch + 255) / 256, 256));
    }

    private static LaunchGeometry MergeGrid(int pitch) => new((uint)((pitch + 31) / 32), 1, 1, 32, 8);

    private static int ResidualPitch(in NormalizationEpilogue epilogue) => Shape.PitchOf(Math.Max(epilogue.ResidualChannels, 1));

    private static int Rectifies(Activation activation) => activation.Kind is ActivationKind.Relu or ActivationKind.LeakyRelu ? 1 : 0;

    private static float Slope(Activation activation) => activation.Kind == ActivationKind.LeakyRelu ? activation.Parameter : 0;
}
