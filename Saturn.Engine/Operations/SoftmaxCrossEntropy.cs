using Saturn.Engine.Autograd;
using Saturn.Kernels;

namespace Saturn.Engine.Operations;

public static partial class Operation
{
    /// <summary>
    /// Mean softmax cross entropy of logits [batch, classes] with integer labels [batch], a scalar.
    /// </summary>
    /// <param name="logits">Unnormalised scores.</param>
    /// <param name="labels">Classes, 0 … classes − 1.</param>
    /// <param name="labelSmoothing">Share of the target that is spread evenly over all classes, 0 … 1.</param>
    /// <param name="correct">If given, one int32 on the device that receives the number of rows whose largest logit is the label's.</param>
    public static Tensor SoftmaxCrossEntropy(Tensor logits, Tensor labels, float labelSmoothing = 0, DeviceBuffer correct = default)
    {
        if (logits.Shape.Rank != 2 || labels.Type != ElementType.Int32 || labels.Shape != new Shape(logits.Shape[0]))
        {
            throw new ArgumentException($"Cross entropy needs logits [batch, classes] and integer labels [batch], but got {logits.Shape} and {labels.Type} {labels.Shape}.");
        }

        if (!(labelSmoothing is >= 0 and <= 1))
        {
            throw new ArgumentOutOfRangeException(nameof(labelSmoothing), $"Label smoothing must lie in [0, 1], but is {labelSmoothing}.");
        }

        logits = Float32(logits);
        Tensor loss = Tensor.Allocate(logits.Device, default);
        logits.Device.Clear(loss.Buffer);
        Tensor probabilities = Tensor.AllocateUnscoped(logits.Device, logits.Shape);
        logits.Device.Loss.SoftmaxCrossEntropyForward(
            logits.Shape[0], logits.Shape[1], labelSmoothing, logits.Buffer, labels.Buffer, loss.Buffer, probabilities.Buffer, correct);
        if (Tape.Records(logits))
        {
            SoftmaxCrossEntropyNode node = Tape.Rent<SoftmaxCrossEntropyNode>();
            node.Initialize(labelSmoothing, node.Save(probabilities), node.Save(labels));
            Tape.Record(node, loss, logits);
        }

        probabilities.Dispose();
        return loss;
    }
}

/// <summary>A softmax cross entropy on the tape.</summary>
public sealed class SoftmaxCrossEntropyNode : Node
{
    private float labelSmoothing;
    private SavedTensor probabilities;
    private SavedTensor labels;

    internal void Initialize(float labelSmoothing, SavedTensor probabilities, SavedTensor labels)
    {
        this.labelSmoothing = labelSmoothing;
        this.probabilities = probabilities;
        this.labels = labels;
    }

    /// <inheritdoc/>
    protected internal override void Backward(in BackwardContext context)
    {
        GradientTarget target = context.Target(0);
        context.Device.Loss.SoftmaxCrossEntropyBackward(
            probabilities.Shape[0], probabilities.Shape[1], labelSmoothing, probabilities.Buffer, labels.Buffer, context.OutputGradient, target.Buffer, target.Mode);
    }
}
