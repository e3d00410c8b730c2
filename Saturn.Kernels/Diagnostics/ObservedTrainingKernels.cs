using Saturn.Kernels.Families;

namespace Saturn.Kernels.Diagnostics;

/// <content>Normalization, loss, random numbers, census, compaction and optimizer.</content>
internal sealed partial class ObservedKernels
{
    public void BatchMoments(int rows, int channels, DeviceBuffer input, DeviceBuffer moments) => Observe(
        "normalization.BatchMoments", $"[{rows}, {channels}]", [input], [new(moments, ElementKind.Double)],
        (device, at) => device.Normalization.BatchMoments(rows, channels, at(input), at(moments)));

    public bool PrepareTraining(
        in BatchNormShape shape, BatchStatistics form, DeviceBuffer statistics, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer runningMean, DeviceBuffer runningVariance, DeviceBuffer saved,
        Activation activation, in ActivityReport activity)
    {
        BatchNormShape s = shape;
        ActivityReport report = form.Answers(activation, activity) ? activity : ActivityReport.None;
        Observe(
            "normalization.PrepareTraining", $"[{s.Rows}, {s.Channels}]", [statistics, gamma, beta, runningMean, runningVariance, Old(report)],
            [runningMean, runningVariance, saved, Whole(report.Flags)],
            (device, at) => device.Normalization.PrepareTraining(
                s, form, at(statistics), at(gamma), at(beta), at(runningMean), at(runningVariance), at(saved), activation, At(report, at)));
        return !report.Flags.IsNone;
    }

    public void PrepareInference(in BatchNormShape shape, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer runningMean, DeviceBuffer runningVariance, DeviceBuffer saved)
    {
        BatchNormShape s = shape;
        Observe(
            "normalization.PrepareInference", $"[{s.Rows}, {s.Channels}]", [gamma, beta, runningMean, runningVariance], [saved],
            (device, at) => device.Normalization.PrepareInference(s, at(gamma), at(beta), at(runningMean), at(runningVariance), at(saved)));
    }

    public void Apply(in BatchNormShape shape, in NormalizationEpilogue epilogue, DeviceBuffer input, DeviceBuffer saved, DeviceBuffer output, in ActivityReport activity)
    {
        var (s, tail, report) = (shape, epilogue, activity);
        Observe(
            "normalization.Apply", Describe(s, tail), [input, saved, tail.Residual, tail.Map, Old(report)], [output, Whole(report.Flags)],
            (device, at) => device.Normalization.Apply(s, At(tail, at), at(input), at(saved), at(output), At(report, at)));
    }

    public void BatchBackward(
        in BatchNormShape shape, in NormalizationEpilogue epilogue, bool batchStatistics, DeviceBuffer input, DeviceBuffer saved, DeviceBuffer output, DeviceBuffer outputGradient,
        DeviceBuffer gammaGradient, DeviceBuffer betaGradient, GradientMode parameterMode, DeviceBuffer inputGradient, DeviceBuffer residualGradient, GradientMode residualMode)
    {
        var (s, tail) = (shape, epilogue);
        Observe(
            "normalization.BatchBackward", $"{Describe(s, tail)}, parameters {parameterMode}, residual {residualMode}",
            [
                input, saved, output, outputGradient, tail.Residual, tail.Map, tail.InverseMap, Old(gammaGradient, parameterMode), Old(betaGradient, parameterMode),
                Old(residualGradient, residualMode),
            ],
            [gammaGradient, betaGradient, inputGradient, residualGradient],
            (device, at) => device.Normalization.BatchBackward(
                s, At(tail, at), batchStatistics, at(input), at(saved), at(output), at(outputGradient), at(gammaGradient), at(betaGradient), parameterMode, at(inputGradient),
                at(residualGradient), residualMode));
    }

    public void LayerForward(int rows, int channels, float epsilon, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer output, DeviceBuffer saved) => Observe(
        "normalization.LayerForward", $"[{rows}, {channels}]", [input, gamma, beta], [output, saved],
        (device, at) => device.Normalization.LayerForward(rows, channels, epsilon, at(input), at(gamma), at(beta), at(output), at(saved)));

    public void LayerBackward(
        int rows, int channels, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer saved, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode inputMode,
        DeviceBuffer gammaGradient, DeviceBuffer betaGradient, GradientMode parameterMode) => Observe(
        "normalization.LayerBackward", $"[{rows}, {channels}], input {inputMode}, parameters {parameterMode}",
        [input, gamma, saved, outputGradient, Old(inputGradient, inputMode), Old(gammaGradient, parameterMode), Old(betaGradient, parameterMode)],
        [inputGradient, gammaGradient, betaGradient],
        (device, at) => device.Normalization.LayerBackward(
            rows, channels, at(input), at(gamma), at(saved), at(outputGradient), at(inputGradient), inputMode, at(gammaGradient), at(betaGradient), parameterMode));

    public void Forward(in AttentionShape shape, DeviceBuffer packed, DeviceBuffer output, DeviceBuffer statistics)
    {
        AttentionShape s = shape;
        Observe(
            "attention.Forward", Describe(s), [packed], [output, statistics],
            (device, at) => device.Attention.Forward(s, at(packed), at(output), at(statistics)));
    }

    public void Backward(
        in AttentionShape shape, DeviceBuffer packed, DeviceBuffer output, DeviceBuffer statistics, DeviceBuffer outputGradient, DeviceBuffer packedGradient, GradientMode mode)
    {
        AttentionShape s = shape;
        Observe(
            "attention.Backward", $"{Describe(s)}, {mode}", [packed, output, statistics, outputGradient, Old(packedGradient, mode)], [packedGradient, statistics],
            (device, at) => device.Attention.Backward(s, at(packed), at(output), at(statistics), at(outputGradient), at(packedGradient), mode));
    }

    public void SoftmaxCrossEntropyForward(
        int rows, int classes, float labelSmoothing, DeviceBuffer logits, DeviceBuffer labels, DeviceBuffer loss, DeviceBuffer probabilities, DeviceBuffer correct) => Observe(
        "loss.SoftmaxCrossEntropy", $"[{rows}, {classes}]", [logits, labels], [loss, probabilities, Whole(correct)],
        (device, at) => device.Loss.SoftmaxCrossEntropyForward(rows, classes, labelSmoothing, at(logits), at(labels), at(loss), at(probabilities), at(correct)));

    public void SoftmaxCrossEntropyBackward(
        int rows, int classes, float labelSmoothing, DeviceBuffer probabilities, DeviceBuffer labels, DeviceBuffer lossGradient, DeviceBuffer logitsGradient, GradientMode mode) => Observe(
        "loss.SoftmaxCrossEntropyBackward", $"[{rows}, {classes}], {mode}", [probabilities, labels, lossGradient, Old(logitsGradient, mode)], [logitsGradient],
        (device, at) => device.Loss.SoftmaxCrossEntropyBackward(rows, classes, labelSmoothing, at(probabilities), at(labels), at(lossGradient), at(logitsGradient), mode));

    public void SoftmaxForward(int rows, int classes, DeviceBuffer input, DeviceBuffer output) => Observe(
        "loss.Softmax", $"[{rows}, {classes}]", [input], [output], (device, at) => device.Loss.SoftmaxForward(rows, classes, at(input), at(output)));

    public void SoftmaxBackward(int rows, int classes, DeviceBuffer output, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode) => Observe(
        "loss.SoftmaxBackward", $"[{rows}, {classes}], {mode}", [output, outputGradient, Old(inputGradient, mode)], [inputGradient],
        (device, at) => device.Loss.SoftmaxBackward(rows, classes, at(output), at(outputGradient), at(inputGradient), mode));

    public void Uniform(in Shape shape, RandomKey key, float low, float high, DeviceBuffer output)
    {
        Shape s = shape;
        Observe("random.Uniform", $"{s}", [], [output], (device, at) => device.Random.Uniform(s, key, low, high, at(output)));
    }

    public void Normal(in Shape shape, RandomKey key, float mean, float standardDeviation, DeviceBuffer output)
    {
        Shape s = shape;
        Observe("random.Normal", $"{s}", [], [output], (device, at) => device.Random.Normal(s, key, mean, standardDeviation, at(output)));
    }

    public void Dropout(in Shape shape, RandomKey key, float probability, DeviceBuffer input, DeviceBuffer output, GradientMode mode)
    {
        Shape s = shape;
        Observe(
            "random.Dropout", $"{s}, {mode}", [input, key.Derived, Old(output, mode)], [output],
            (device, at) => device.Random.Dropout(s, key with { Derived = at(key.Derived) }, probability, at(input), at(output), mode));
    }

    public void Flag(int rows, int channels, DeviceBuffer input, in ActivityReport activity)
    {
        ActivityReport report = activity;
        Observe(
            "census.Flag", $"[{rows}, {channels}]", [input, Old(report)], [Whole(report.Flags)], (device, at) => device.Census.Flag(rows, channels, at(input), At(report, at)));
    }

    public void Accumulate(int rows, int channels, DeviceBuffer input, DeviceBuffer maximum, DeviceBuffer minimum, DeviceBuffer sum) => Observe(
        "census.Accumulate", $"[{rows}, {channels}]", [input, maximum, minimum, sum], [maximum, minimum, new(sum, ElementKind.Double)],
        (device, at) => device.Census.Accumulate(rows, channels, at(input), at(maximum), at(minimum), at(sum)));

    public void Union(int words, DeviceBuffer first, DeviceBuffer second, DeviceBuffer target) => Observe(
        "census.Union", $"{words} words", [first, second], [Whole(target)], (device, at) => device.Census.Union(words, at(first), at(second), at(target)));

    public void Gather(ReadOnlySpan<GatherJob> jobs)
    {
        // Bits are moved, whatever they mean.
        GatherJob[] all = jobs.ToArray();
        Observe(
            "compaction.Gather", $"{all.Length} arrays", [.. all.SelectMany(job => (DeviceBuffer[])[job.Source, job.RowIndex, job.ColumnIndex])],
            [.. all.Select(job => Whole(job.Destination))],
            (device, at) => device.Compaction.Gather(
                [
                    .. all.Select(job => job with { Source = at(job.Source), Destination = at(job.Destination), RowIndex = at(job.RowIndex), ColumnIndex = at(job.ColumnIndex) }),
                ]));
    }

    public void Update(in OptimizerStep step, ReadOnlySpan<OptimizerTensor> tensors)
    {
        OptimizerStep s = step;
        OptimizerTensor[] all = tensors.ToArray();
        Observe(
            $"optimizer.{s.Rule}", $"{all.Length} tensors", [s.GradientScale, .. all.SelectMany(Buffers)],
            [.. all.SelectMany(tensor => (WrittenBuffer[])[tensor.Weight, tensor.FirstMoment, tensor.SecondMoment])],
            (device, at) => device.Optimizer.Update(s with { GradientScale = at(s.GradientScale) }, [.. all.Select(tensor => At(tensor, at))]));
    }

    public void ClipScale(ReadOnlySpan<OptimizerTensor> tensors, float scale, float maximumNorm, DeviceBuffer result)
    {
        OptimizerTensor[] all = tensors.ToArray();
        Observe(
            "optimizer.ClipScale", $"{all.Length} tensors", [.. all.SelectMany(Buffers)], [result],
            (device, at) => device.Optimizer.ClipScale([.. all.Select(tensor => At(tensor, at))], scale, maximumNorm, at(result)));
    }

    public void Assemble(in ImageSet set, in ImageSelection selection, DeviceBuffer images, DeviceBuffer labels)
    {
        var (s, batch) = (set, selection);
        Observe(
            "images.Assemble", $"{batch.Count} of {s.Height}×{s.Width}×{s.Channels}", [s.Images, s.Labels, s.Scale, s.Offset, batch.Order, batch.Position],
            [images, new(labels, ElementKind.Integer)],
            (device, at) => device.Images.Assemble(
                s with { Images = at(s.Images), Labels = at(s.Labels), Scale = at(s.Scale), Offset = at(s.Offset) },
                batch with { Order = at(batch.Order), Position = at(batch.Position) }, at(images), at(labels)));
    }

    private static NormalizationEpilogue At(in NormalizationEpilogue tail, Func<DeviceBuffer, DeviceBuffer> at) =>
        tail with { Residual = at(tail.Residual), Map = at(tail.Map), InverseMap = at(tail.InverseMap) };

    private static OptimizerTensor At(in OptimizerTensor tensor, Func<DeviceBuffer, DeviceBuffer> at) => tensor with
    {
        Weight = at(tensor.Weight),
        Gradient = at(tensor.Gradient),
        FirstMoment = at(tensor.FirstMoment),
        SecondMoment = at(tensor.SecondMoment),
        ReducedCopy = at(tensor.ReducedCopy),
        LiveFlags = at(tensor.LiveFlags),
        OriginalRows = at(tensor.OriginalRows),
        OriginalColumns = at(tensor.OriginalColumns),
    };

    private static DeviceBuffer[] Buffers(OptimizerTensor tensor) =>
        [tensor.Weight, tensor.Gradient, tensor.FirstMoment, tensor.SecondMoment, tensor.ReducedCopy, tensor.LiveFlags, tensor.OriginalRows, tensor.OriginalColumns];

    private static string Describe(in AttentionShape s) => $"[{s.Batch}, {s.Tokens}, 3·{s.Width}], {s.Heads} heads";

    private static string Describe(in BatchNormShape s, in NormalizationEpilogue tail) =>
        $"[{s.Rows}, {s.Channels}], {tail.Activation.Kind}{(tail.Residual.IsNone ? "" : $", residual of {tail.ResidualChannels} channels")}";
}
