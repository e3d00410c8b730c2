using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Saturn.Kernels.Families;

/// <summary>
/// What changes from one update to the next, as bytes: so that a recorded update, which always has the arguments of its recording, finds the numbers of each step in device memory
/// (<see cref="OptimizerStep.Scalars"/>). First what all tensors share, then the rates of every tensor in their order.
/// </summary>
public static class OptimizerScalars
{
    /// <summary>Bytes for so many tensors.</summary>
    public static int ByteLength(int tensors) => Unsafe.SizeOf<UpdateScalars>() + tensors * Unsafe.SizeOf<UpdateRates>();

    /// <summary>Writes the numbers of a step.</summary>
    /// <param name="step">The step.</param>
    /// <param name="tensors">Its tensors, in the order of the update.</param>
    /// <param name="target">At least <see cref="ByteLength"/> bytes.</param>
    public static void Write(in OptimizerStep step, ReadOnlySpan<OptimizerTensor> tensors, Span<byte> target)
    {
        MemoryMarshal.Write(target, UpdateScalars.Of(step));
        Span<UpdateRates> rates = MemoryMarshal.Cast<byte, UpdateRates>(target[Unsafe.SizeOf<UpdateScalars>()..]);
        for (int i = 0; i < tensors.Length; i++)
        {
            rates[i] = UpdateRates.Of(tensors[i], step.DecoupledWeightDecay);
        }
    }
}

/// <summary>What all tensors of an update share and changes from step to step: see <c>kernels/optimizer.cu</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UpdateScalars
{
    public float FirstCorrection;
    public float SecondCorrection;
    public uint Key0;
    public uint Key1;

    public static UpdateScalars Of(in OptimizerStep step)
    {
        (uint key0, uint key1) = Philox.DeriveKey(step.NoiseSeed, step.NoiseStep);
        return new UpdateScalars
        {
            FirstCorrection = (float)(1 / (1 - Math.Pow(step.Beta1, step.Step))),
            SecondCorrection = (float)(1 / (1 - Math.Pow(step.Beta2, step.Step))),
            Key0 = key0,
            Key1 = key1,
        };
    }
}

/// <summary>The settings of one tensor that change from step to step.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UpdateRates
{
    public float LearningRate;
    public float Decay;
    public float Kept;
    public float L1;
    public float Noise;
    public float NoiseThreshold;
    public float Threshold;
    public float LastThreshold;

    public static UpdateRates Of(in OptimizerTensor tensor, bool decoupled) => new()
    {
        LearningRate = tensor.LearningRate,
        Decay = (decoupled ? 0 : tensor.WeightDecay) + 2 * tensor.L2,
        Kept = decoupled ? 1 - tensor.LearningRate * tensor.WeightDecay : 1,
        L1 = tensor.L1,
        Noise = tensor.NoiseStandardDeviation,
        NoiseThreshold = tensor.NoiseGradientThreshold,
        Threshold = tensor.Threshold,
        LastThreshold = tensor.LastThreshold,
    };
}
