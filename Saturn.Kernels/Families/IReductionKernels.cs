namespace Saturn.Kernels.Families;

/// <summary>How elements are combined.</summary>
public enum ReductionOperation
{
    /// <summary>Σ x</summary>
    Sum,

    /// <summary>Σ x / n</summary>
    Mean,

    /// <summary>max x</summary>
    Maximum,

    /// <summary>min x</summary>
    Minimum,
}

/// <summary>Reductions, in a fixed order so that the same input gives the same bits. Sums accumulate in float32 or better.</summary>
public interface IReductionKernels
{
    /// <summary>
    /// Reduces the input to a shape that broadcasts to it: every dimension of the output is that of the input or 1 (leading ones may be left
    /// out). This is the adjoint of broadcasting. The output's padding is written as zero (with <see cref="GradientMode.Overwrite"/>).
    /// </summary>
    void Reduce(
        ReductionOperation operation, in Shape inputShape, DeviceBuffer input, in Shape outputShape, DeviceBuffer output,
        GradientMode mode = GradientMode.Overwrite);

    /// <summary>The index of the largest of the last dimension's elements, the first one at ties; one int32 a row, packed.</summary>
    void ArgumentMaximum(in Shape inputShape, DeviceBuffer input, DeviceBuffer indices);
}
