using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Operations;

/// <summary>The tensors and constants of a batch normalization.</summary>
/// <param name="Gamma">γ [channels], or none for 1.</param>
/// <param name="Beta">β [channels], or none for 0.</param>
/// <param name="RunningMean">[channels]; updated in training, read in evaluation.</param>
/// <param name="RunningVariance">[channels]; updated in training, read in evaluation.</param>
/// <param name="Training">Whether this batch's statistics are used.</param>
/// <param name="Epsilon">Added to the variance.</param>
/// <param name="Momentum">Share of the new batch in the running statistics.</param>
public readonly record struct BatchNormArguments(
    Tensor Gamma, Tensor Beta, Tensor RunningMean, Tensor RunningVariance, bool Training, float Epsilon = 1e-5f, float Momentum = 0.1f);

/// <summary>What follows a normalization in the same kernel.</summary>
/// <param name="Activation">The activation after the norm and the sum.</param>
/// <param name="Residual">The shortcut that is added before the activation, or none.</param>
/// <param name="Shortcut">How the sum reads the residual; null is the identity.</param>
/// <param name="Activity">Where the activity of the output's channels is reported; null if nobody asks.</param>
public readonly record struct NormalizationTail(Activation Activation, Tensor Residual = default, Shortcut? Shortcut = null, ChannelActivity? Activity = null);

public static partial class Operation
{
    /// <summary>
    /// Batch normalization over all dimensions but the last, then residual sum, then activation, in one pass:
    /// y = f(γ·(x − mean)/√(variance + ε) + β + residual).
    /// </summary>
    public static Tensor BatchNorm(Tensor input, in BatchNormArguments arguments, NormalizationTail tail)
    {
        Tensor moments = default;
        if (arguments.Training)
        {
            moments = AllocateMoments(input.Device, input.Shape.Channels);
            input.Device.Normalization.BatchMoments(input.Shape.Rows, input.Shape.Channels, input.Buffer, moments.Buffer);
        }

        Tensor output = Normalize(input, BatchStatistics.Moments, moments, arguments, tail);
        moments.Dispose();
        return output;
    }

    private static Tensor AllocateMoments(Device device, int channels) =>
        Tensor.AllocateUnscoped(device, new Shape(2, Shape.PitchOf(channels)), ElementType.Float64);

    /// <summary>The normalization once the batch's statistics are known (in training) or from running statistics.</summary>
    internal static Tensor Normalize(Tensor input, BatchStatistics form, Tensor statistics, in BatchNormArguments given, in NormalizationTail tail)
    {
        BatchNormArguments arguments = given with { Gamma = Float32(given.Gamma), Beta = Float32(given.Beta) };
        int rows = input.Shape.Rows;
        int channels = input.Shape.Channels;
        RequireChannels(arguments, channels);
        if (arguments.Training && rows < 2)
        {
            throw new InvalidOperationException(
                $"Batch normalization in training needs at least two values a channel, but shape {input.Shape} has one; use a larger batch or evaluation mode.");
        }

        if (tail.Activation.Kind is not (ActivationKind.Identity or ActivationKind.Relu or ActivationKind.LeakyRelu))
        {
            // Activations whose derivative needs the pre-activation run as an operation of their own.
            Tensor sum = Normalize(input, form, statistics, arguments, tail with { Activation = Activation.Identity, Activity = null });
            return Activate(sum, tail.Activation, tail.Activity);
        }

        RequireResidual(input.Shape, tail);
        Tensor residual = ResidualOf(tail, input.Type);
        Device device = input.Device;
        BatchNormShape shape = new(rows, channels, arguments.Epsilon, arguments.Momentum);
        Tensor saved = Tensor.AllocateUnscoped(device, new Shape(4, Shape.PitchOf(channels)));
        ActivityReport activity = tail.Activity?.Report() ?? ActivityReport.None;
        if (arguments.Training)
        {
            bool reported = device.Normalization.PrepareTraining(
                shape, form, statistics.Buffer, BufferOf(arguments.Gamma), BufferOf(arguments.Beta), BufferOf(arguments.RunningMean), BufferOf(arguments.RunningVariance), saved.Buffer,
                tail.Activation, residual.IsNone ? activity : ActivityReport.None);
            if (reported)
            {
                activity = ActivityReport.None;
            }
        }
        else
        {
            device.Normalization.PrepareInference(
                shape, BufferOf(arguments.Gamma), BufferOf(arguments.Beta), BufferOf(arguments.RunningMean), BufferOf(arguments.RunningVariance), saved.Buffer);
        }

        Tensor output = Tensor.Allocate(device, input.Shape, input.Type);
        device.Normalization.Apply(shape, EpilogueOf(device, tail with { Residual = residual }), input.Buffer, saved.Buffer, output.Buffer, activity);
        tail.Activity?.Observe(output);

        ChannelGates? gates = BatchNormNode.KnowsGates(tail, arguments) ? tail.Activity!.Gates : null;
        if (Tape.Records(input, arguments.Gamma, arguments.Beta, residual) || (gates is not null && Tape.Records(gates.Values)))
        {
            BatchNormNode node = Tape.Rent<BatchNormNode>();
            bool needsOutput = !residual.IsNone && tail.Activation.Kind != ActivationKind.Identity;
            node.Initialize(shape, arguments.Training, tail, node.Save(input), node.Save(saved), needsOutput ? node.Save(output) : default, arguments, gates is not null);
            RecordNormalization(node, output, input, arguments, residual, gates);
        }

        saved.Dispose();
        return tail.Activity is null || gates is not null ? output : tail.Activity.Gated(output);
    }

    private static void RecordNormalization(BatchNormNode node, Tensor output, Tensor input, in BatchNormArguments arguments, Tensor residual, ChannelGates? gates)
    {
        bool affine = !arguments.Gamma.IsNone;
        if (gates is not null)
        {
            Tape.Record(node, output, input, arguments.Gamma, arguments.Beta, gates.Values);
        }
        else if (affine && !residual.IsNone)
        {
            Tape.Record(node, output, input, arguments.Gamma, arguments.Beta, residual);
        }
        else if (affine)
        {
            Tape.Record(node, output, input, arguments.Gamma, arguments.Beta);
        }
        else if (!residual.IsNone)
        {
            Tape.Record(node, output, input, residual);
        }
        else
        {
            Tape.Record(node, output, input);
        }
    }

    /// <summary>The residual in the type that the sum has; absent if there is none.</summary>
    private static Tensor ResidualOf(in NormalizationTail tail, ElementType type) => tail.Residual.IsNone ? default : Convert(tail.Residual, type);

    private static NormalizationEpilogue EpilogueOf(Device device, in NormalizationTail tail) => new(
        tail.Activation, BufferOf(tail.Residual), tail.Residual.IsNone ? 0 : tail.Residual.Shape.Channels,
        tail.Shortcut?.Map?.SourcesOn(device) ?? DeviceBuffer.None, tail.Shortcut?.Map?.OutputsOn(device) ?? DeviceBuffer.None);

    private static DeviceBuffer BufferOf(Tensor tensor) => tensor.IsNone ? DeviceBuffer.None : tensor.Buffer;

    private static void RequireChannels(in BatchNormArguments arguments, int channels)
    {
        RequireChannels(arguments.Gamma, channels, "γ");
        RequireChannels(arguments.Beta, channels, "β");
        RequireChannels(arguments.RunningMean, channels, "running mean");
        RequireChannels(arguments.RunningVariance, channels, "running variance");
    }

    private static void RequireChannels(Tensor vector, int channels, string what)
    {
        if (!vector.IsNone && (vector.Shape != new Shape(channels) || vector.Type != ElementType.Float32))
        {
            throw new ArgumentException($"The {what} of a normalization over {channels} channels must have shape [{channels}] and be float32, but has {vector.Type} {vector.Shape}.");
        }
    }

    private static void RequireResidual(in Shape shape, in NormalizationTail tail)
    {
        if (tail.Residual.IsNone)
        {
            return;
        }

        Shape residual = tail.Residual.Shape;
        int expected = tail.Shortcut?.Map?.Outputs.Length ?? shape.Channels;
        if (residual.Rank != shape.Rank || residual.Rows != shape.Rows || residual.Channels != expected || (tail.Shortcut?.Map is { } map && map.Sources.Length != shape.Channels))
        {
            throw new ArgumentException(
                $"A residual of shape {residual} cannot be added to {shape}"
                + (tail.Shortcut?.Map is null ? ": without a shortcut map the shapes must be equal." : $" through a map from {tail.Shortcut.Map.Outputs.Length} to {tail.Shortcut.Map.Sources.Length} channels."));
        }
    }
}

/// <summary>
/// A batch normalization with residual sum and activation on the tape; inputs: x, then γ and β if there are, then the residual if there is one, or the gates.
/// </summary>
public sealed class BatchNormNode : Node
{
    private BatchNormShape shape;
    private bool training;
    private bool affine;
    // Behind x, γ and β, where gates are an input; there is no residual then.
    private const int GatesInput = 3;

    private SavedTensor input;
    private SavedTensor saved;
    private SavedTensor output;
    private SavedTensor gamma;
    private SavedTensor beta;
    private bool gated;
    private ShortcutMap? map;

    /// <summary>The activation after norm and sum.</summary>
    public Activation Activation { get; private set; }

    /// <summary>The index of the residual among the inputs, or −1.</summary>
    public int ResidualInput { get; private set; }

    /// <summary>The block's shortcut, which surgery may change; null for a plain sum.</summary>
    public Shortcut? Shortcut { get; private set; }

    /// <summary>Where the activity is reported, or null.</summary>
    public ChannelActivity? Activity { get; private set; }

    /// <summary>γ, β and the running statistics, as parameters of the model; null where they are not.</summary>
    public (Parameter? Gamma, Parameter? Beta, Parameter? RunningMean, Parameter? RunningVariance) Parameters { get; private set; }

    internal void Initialize(
        in BatchNormShape shape, bool training, in NormalizationTail tail, SavedTensor input, SavedTensor saved, SavedTensor output, in BatchNormArguments arguments, bool gated)
    {
        this.gated = gated;
        gamma = gated ? Save(arguments.Gamma) : default;
        beta = gated ? Save(arguments.Beta) : default;
        this.shape = shape;
        this.training = training;
        this.input = input;
        this.saved = saved;
        this.output = output;
        affine = !arguments.Gamma.IsNone;
        Activation = tail.Activation;
        Shortcut = tail.Shortcut;
        map = tail.Shortcut?.Map;
        Activity = tail.Activity;
        ResidualInput = tail.Residual.IsNone ? -1 : affine ? 3 : 1;
        Parameters = (ParameterOf(arguments.Gamma), ParameterOf(arguments.Beta), ParameterOf(arguments.RunningMean), ParameterOf(arguments.RunningVariance));
    }

    /// <summary>
    /// Whether the gates' gradient follows from γ's and β's. Behind a rectifier of z = γ·x̂ + β, y·∂L/∂y = z·∂L/∂z, so that Σ y·∂L/∂y = γ·dγ + β·dβ: open gates then cost no pass of their own.
    /// </summary>
    internal static bool KnowsGates(in NormalizationTail tail, in BatchNormArguments arguments) =>
        tail is { Activity.Gates.AreOpen: true, Residual.IsNone: true, Activation.Kind: ActivationKind.Relu or ActivationKind.LeakyRelu } && !arguments.Gamma.IsNone && !arguments.Beta.IsNone;

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        if (gated)
        {
            using Tensor gammaGradient = Tensor.AllocateUnscoped(context.Device, this.gamma.Shape);
            using Tensor betaGradient = Tensor.AllocateUnscoped(context.Device, this.beta.Shape);
            Backward(context, new GradientTarget(gammaGradient.Buffer, GradientMode.Overwrite), new GradientTarget(betaGradient.Buffer, GradientMode.Overwrite), default, null);
            AddGateGradient(context, gammaGradient, betaGradient);
            return;
        }

        GradientTarget gamma = affine ? context.Target(1) : default;
        GradientTarget beta = affine ? context.Target(2) : default;
        DeviceBuffer atSum = map is null || ResidualInput < 0 ? DeviceBuffer.None : context.TargetThroughMap(ResidualInput, map);
        GradientTarget residual =
            !atSum.IsNone ? new GradientTarget(atSum, GradientMode.Overwrite)
            : ResidualInput >= 0 ? context.Target(ResidualInput)
            : default;
        if (gamma.IsWanted != beta.IsWanted || gamma.Mode != beta.Mode)
        {
            throw new InvalidOperationException("γ and β of one normalization must both hold a gradient or both be cleared before a backward pass.");
        }

        Backward(context, gamma, beta, residual, atSum.IsNone ? map : null);
    }

    /// <summary>The passes; the residual's gradient is gathered through the map, if there is one.</summary>
    private void Backward(in BackwardContext context, GradientTarget gamma, GradientTarget beta, GradientTarget residual, ShortcutMap? gathered)
    {
        Device device = context.Device;
        NormalizationEpilogue epilogue = new(
            Activation, ResidualInput >= 0 ? context.OutputGradient : DeviceBuffer.None, ResidualInput >= 0 ? context.InputShape(ResidualInput).Channels : 0,
            gathered?.SourcesOn(device) ?? DeviceBuffer.None, gathered?.OutputsOn(device) ?? DeviceBuffer.None);
        GradientTarget target = context.TargetInPlace(0);
        if (target.IsWanted && target.Mode == GradientMode.Accumulate)
        {
            // The kernel overwrites: the input feeds something else as well, which happens in hand-made graphs only.
            using Tensor gradient = Tensor.AllocateUnscoped(device, context.InputShape(0), context.InputType(0));
            Run(context, epilogue, gamma, beta, gradient.Buffer, residual);
            device.Elementwise.Accumulate(context.InputShape(0), gradient.Buffer, target.Buffer);
            return;
        }

        Run(context, epilogue, gamma, beta, target.Buffer, residual);
    }

    private void Run(
        in BackwardContext context, in NormalizationEpilogue epilogue, GradientTarget gamma, GradientTarget beta, DeviceBuffer inputGradient, GradientTarget residual) =>
        context.Device.Normalization.BatchBackward(
            shape, epilogue, training, input.Buffer, saved.Buffer, output.Buffer, context.OutputGradient, gamma.Buffer, beta.Buffer, gamma.Mode, inputGradient,
            residual.Buffer, residual.Mode);

    private void AddGateGradient(in BackwardContext context, Tensor gammaGradient, Tensor betaGradient)
    {
        context.Add(1, gammaGradient);
        context.Add(2, betaGradient);
        IElementwiseKernels elementwise = context.Device.Elementwise;
        Shape channels = gamma.Shape;
        elementwise.Binary(BinaryOperation.Multiply, channels, gammaGradient.Buffer, channels, gamma.Buffer, channels, gammaGradient.Buffer);
        elementwise.Binary(BinaryOperation.Multiply, channels, betaGradient.Buffer, channels, beta.Buffer, channels, betaGradient.Buffer);
        elementwise.Accumulate(channels, betaGradient.Buffer, gammaGradient.Buffer);
        context.Add(GatesInput, gammaGradient);
    }

    private static Parameter? ParameterOf(Tensor tensor) => tensor.IsNone ? null : tensor.Parameter;
}
