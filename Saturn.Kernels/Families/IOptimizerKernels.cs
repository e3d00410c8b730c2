namespace Saturn.Kernels.Families;

/// <summary>The update rules.</summary>
public enum OptimizerRule
{
    /// <summary>m ← momentum·m + g (m = g where momentum is 0); w ← w − η·m, or w − η·(g + momentum·m) with Nesterov.</summary>
    Sgd,

    /// <summary>Adam (Kingma and Ba, 2015) with bias correction: w ← w − η·m̂/(√v̂ + ε).</summary>
    Adam,

    /// <summary>
    /// Generalized regularized dual averaging (Chao, Wang, Xing and Cheng, "Directional Pruning of Deep Neural Networks", NeurIPS 2020): an accumulator a takes the steps of
    /// <see cref="Sgd"/>, a ← a − η·u, and the weight is what a soft threshold leaves of it, w ← sign(a)·max(|a| − g, 0). A weight that is not what the last
    /// threshold left of its accumulator was written in between, or this is its first step: there a ← w + sign(w)·g of the last step, or 0 where w is 0, comes first.
    /// </summary>
    DualAveraging,
}

/// <summary>What one update step has in common for all tensors.</summary>
/// <param name="Rule">The update rule.</param>
/// <param name="Step">The number of this step, from 1; Adam's bias correction uses it.</param>
/// <param name="Momentum">SGD's momentum.</param>
/// <param name="Nesterov">Whether SGD looks ahead.</param>
/// <param name="Beta1">Adam's first decay.</param>
/// <param name="Beta2">Adam's second decay.</param>
/// <param name="Epsilon">Adam's ε.</param>
/// <param name="DecoupledWeightDecay">Whether weight decay is w −= η·wd·w outside the rule (AdamW) instead of g += wd·w.</param>
/// <param name="GradientScale">One device float that multiplies every gradient before anything else (clipping, averaging), or None for 1.</param>
/// <param name="NoiseSeed">Seed of the noise.</param>
/// <param name="NoiseStep">Training step of the noise, from 0.</param>
/// <param name="Scalars">
/// Device memory with what <see cref="OptimizerScalars.Write"/> wrote for this step; an update that reads it can be recorded and repeated, since what changes from step to step (Adam's
/// corrections, the noise's key, the rates of the tensors) is read when it runs. None: all of it goes along with the call. The host processor takes None only.
/// </param>
public readonly record struct OptimizerStep(
    OptimizerRule Rule, long Step, float Momentum, bool Nesterov, float Beta1, float Beta2, float Epsilon, bool DecoupledWeightDecay,
    DeviceBuffer GradientScale, ulong NoiseSeed, ulong NoiseStep, DeviceBuffer Scalars = default);

/// <summary>
/// One parameter of a multi-tensor update, seen as [Rows, Middle, Columns] with pitched columns: a filter is [out, taps, in], a vector such as γ or a
/// bias is [1, 1, channels]. A matrix that pruning has left with one row has the same sizes and is told from a vector by <paramref name="IsVector"/>.
/// </summary>
/// <param name="Weight">w, updated in place.</param>
/// <param name="Gradient">∂L/∂w.</param>
/// <param name="FirstMoment">Momentum buffer or Adam's m; None for plain SGD. Without momentum, the accumulator of dual averaging.</param>
/// <param name="SecondMoment">Adam's v, or beside a momentum buffer the accumulator of dual averaging; None for SGD.</param>
/// <param name="Rows">Output channels; 1 for a vector.</param>
/// <param name="Middle">Filter taps; 1 for matrices and vectors.</param>
/// <param name="Columns">Input channels, or the length of a vector.</param>
/// <param name="LearningRate">η.</param>
/// <param name="WeightDecay">wd.</param>
/// <param name="L1">λ of g += λ·sign(w), sign(0) = 0.</param>
/// <param name="L2">λ of g += 2λ·w.</param>
/// <param name="NoiseStandardDeviation">σ of the noise added after the update, not scaled by η; 0 for none.</param>
/// <param name="TensorId">T of the noise's counter.</param>
/// <param name="LiveFlags">
/// Bits of the channels that receive noise: rows of a filter or matrix, elements of a vector. None: all of them.
/// </param>
/// <param name="OriginalRows">int32, one a row: its index in the dense model. None: unchanged. For a vector, that of its elements stands in <paramref name="OriginalColumns"/>.</param>
/// <param name="OriginalColumns">int32, one a column: its index in the dense model. None: unchanged.</param>
/// <param name="NoiseGradientThreshold">
/// Where above 0, liveness is decided weight by weight instead: noise only where |∂L/∂w| ≥ this, before decay and regulariser.
/// </param>
/// <param name="IsVector">Whether live flags count elements instead of rows.</param>
/// <param name="Threshold">g of dual averaging, 0 or above; the other rules do not look at it.</param>
/// <param name="LastThreshold">g of this tensor's last step; 0 before its first, when the accumulator may hold anything and starts at the weight.</param>
/// <param name="ReducedCopy">A bfloat16 copy of the weight, of the same shape and pitch, that is written along with it; None for none. The host processor has none.</param>
/// <param name="GradientSplits">Parts of the gradient: the elementwise sum of so many arrays, added in ascending order, is ∂L/∂w. The host processor takes one part only.</param>
/// <param name="GradientSplitStride">Elements from one part to the next.</param>
public readonly record struct OptimizerTensor(
    DeviceBuffer Weight, DeviceBuffer Gradient, DeviceBuffer FirstMoment, DeviceBuffer SecondMoment, int Rows, int Middle, int Columns, float LearningRate,
    float WeightDecay, float L1, float L2, float NoiseStandardDeviation, uint TensorId, DeviceBuffer LiveFlags, DeviceBuffer OriginalRows,
    DeviceBuffer OriginalColumns, float NoiseGradientThreshold = 0, bool IsVector = false, float Threshold = 0, float LastThreshold = 0,
    DeviceBuffer ReducedCopy = default, int GradientSplits = 1, long GradientSplitStride = 0)
{
    /// <summary>The accumulator of dual averaging.</summary>
    public DeviceBuffer LastMoment => SecondMoment.IsNone ? FirstMoment : SecondMoment;
}

/// <summary>
/// Multi-tensor parameter updates with regulariser and masked noise fused in. Order of one step: scale the gradient, weight decay, L1/L2, rule,
/// noise. Dual averaging adds the noise to its accumulator, before the threshold: what is below stays exactly zero. The noise of weight (o, tap, i) of tensor T at step t is lane i₀ mod 4 of Philox4x32-10 with counter (i₀ div 4, tap, o₀, T) and a
/// key from (seed, t), where o₀ and i₀ are original channels (o₀ = 0 for vectors). Padding stays zero.
/// </summary>
public interface IOptimizerKernels
{
    /// <summary>Updates all tensors in one launch.</summary>
    void Update(in OptimizerStep step, ReadOnlySpan<OptimizerTensor> tensors);

    /// <summary>
    /// Clipping by global norm: norm = √Σ‖g·scale‖² over all tensors in float64; writes <paramref name="result"/>[0] = scale·min(1, maximumNorm/(norm + 1e-6)), to be
    /// used as <see cref="OptimizerStep.GradientScale"/>, and result[1] = norm (two device floats).
    /// </summary>
    void ClipScale(ReadOnlySpan<OptimizerTensor> tensors, float scale, float maximumNorm, DeviceBuffer result);
}
