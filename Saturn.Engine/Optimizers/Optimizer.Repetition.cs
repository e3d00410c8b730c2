using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Optimizers;

/// <summary>
/// Steps that a recorded graph repeats. What the launch of the update gets as arguments stays as it was recorded; what changes from step to step goes to device memory before
/// (<see cref="OptimizerScalars"/>). <see cref="StepGraph"/> drives this.
/// </summary>
public abstract partial class Optimizer
{
    private OptimizerTensor[] recorded = [];
    private Parameter[] recordedParameters = [];
    private OptimizerStep recordedStep;
    private (double Scale, double? Limit) recordedClip;

    /// <summary>Bytes that <see cref="PrepareRepetition"/> writes.</summary>
    internal int ScalarBytes => OptimizerScalars.ByteLength(recorded.Length);

    /// <summary>Remembers what the last step updated, and where: what a repetition has to agree with.</summary>
    internal void RememberStep(double gradientScale)
    {
        recorded = tensors[..count];
        recordedParameters = updated[..count];
        recordedStep = WithoutScalars(Current(gradientScale));
        recordedClip = (gradientScale, MaximumGradientNorm);
    }

    /// <summary>Whether the next step would be a repetition of the remembered one: the same tensors in the same memory under the same rule. Changes nothing.</summary>
    internal bool WouldRepeat(double gradientScale)
    {
        if (recorded.Length == 0 || recordedClip != (gradientScale, MaximumGradientNorm) || WithoutScalars(Current(gradientScale)) != recordedStep)
        {
            return false;
        }

        int found = 0;
        for (int g = 0; g < Groups.Count; g++)
        {
            ParameterGroup group = Groups[g];
            for (int i = 0; i < group.Parameters.Count; i++)
            {
                Parameter parameter = group.Parameters[i];
                if (!parameter.IsRemoved && parameter.HasGradient)
                {
                    // It would be added to.
                    return false;
                }

                if (!parameter.IsRemoved && IsRepeated(parameter, found))
                {
                    Moments? state = moments.GetValueOrDefault(parameter);
                    if (parameter.GradientStorage.IsNone || (state is null && momentsPerParameter > 0)
                        || WithoutScalars(Describe(parameter, group, state, 0, 0)) != WithoutScalars(recorded[found]))
                    {
                        return false;
                    }

                    found++;
                }
            }
        }

        return found == recorded.Length;
    }

    /// <summary>Takes the host's side of a repetition: counts the step and writes its numbers. <see cref="LaunchRepetition"/>, or the graph in which that was recorded, does the rest.</summary>
    internal void PrepareRepetition(double gradientScale, Span<byte> scalars)
    {
        StepCount++;
        BeginStep();
        List(repeated: true);
        for (int i = 0; i < count; i++)
        {
            // A repetition makes no copies anew: they are as recorded, written by the update.
            updated[i].RefreshReducedValue();
        }

        OptimizerScalars.Write(Current(gradientScale), tensors.AsSpan(0, count), scalars);
    }

    /// <summary>Updates what was prepared, once the gradients are complete, and clears them.</summary>
    /// <exception cref="NotRepeatableException">The backward passes have reached other parameters than in the remembered step, or their gradients come in another number of parts.</exception>
    internal void LaunchRepetition(double gradientScale, DeviceBuffer scalars)
    {
        if (Clips(gradientScale))
        {
            FinishGradients();
        }

        int reached = 0;
        for (int g = 0; g < Groups.Count; g++)
        {
            for (int i = 0; i < Groups[g].Parameters.Count; i++)
            {
                Parameter parameter = Groups[g].Parameters[i];
                if (!parameter.IsRemoved && parameter.HasGradient && !IsRepeated(parameter, reached++))
                {
                    throw new NotRepeatableException($"parameter {parameter.Name} has a gradient in one step and none in another");
                }
            }
        }

        if (reached != recorded.Length)
        {
            throw new NotRepeatableException($"{recorded.Length} parameters have gradients in one step and {reached} in another");
        }

        for (int i = 0; i < count; i++)
        {
            if (updated[i].GradientParts != tensors[i].GradientSplits)
            {
                throw new NotRepeatableException(
                    $"the gradient of parameter {updated[i].Name} comes in {tensors[i].GradientSplits} part(s) in one step and in {updated[i].GradientParts} in another");
            }
        }

        Launch(gradientScale, scalars);
        ClearGradients();
    }

    /// <summary>Updates what has a gradient, after a preparation that came to nothing.</summary>
    internal void FinishStep(double gradientScale)
    {
        for (int i = 0; i < count; i++)
        {
            if (moments.TryGetValue(updated[i], out Moments? state))
            {
                state.Threshold = tensors[i].LastThreshold;
            }
        }

        UpdateReached(gradientScale);
    }

    private bool IsRepeated(Parameter parameter, int index) => index < recordedParameters.Length && ReferenceEquals(recordedParameters[index], parameter);

    private static OptimizerStep WithoutScalars(in OptimizerStep step) => step with { Step = 0, NoiseStep = 0, Scalars = default };

    private static OptimizerTensor WithoutScalars(in OptimizerTensor tensor) => tensor with
    {
        LearningRate = 0,
        WeightDecay = 0,
        L1 = 0,
        L2 = 0,
        NoiseStandardDeviation = 0,
        NoiseGradientThreshold = 0,
        Threshold = 0,
        LastThreshold = 0,
    };
}
