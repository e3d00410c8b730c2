namespace Saturn.Kernels.Families;

/// <summary>Per-channel activity statistics over [rows, channels], float32 or bfloat16, combined over as many batches as are given.</summary>
public interface ICensusKernels
{
    /// <summary>Sets or combines the activity bits of the input's channels.</summary>
    void Flag(int rows, int channels, DeviceBuffer input, in ActivityReport activity);

    /// <summary>
    /// Combines per-channel extrema and sums with those already there: <paramref name="maximum"/> and <paramref name="minimum"/> float32
    /// [Pitch] (start with −∞ and +∞), <paramref name="sum"/> float64 [Pitch] (start with 0).
    /// </summary>
    void Accumulate(int rows, int channels, DeviceBuffer input, DeviceBuffer maximum, DeviceBuffer minimum, DeviceBuffer sum);

    /// <summary>The union of two sets of activity bits: target = first | second, in words of 32 bits. The target may be either of them.</summary>
    void Union(int words, DeviceBuffer first, DeviceBuffer second, DeviceBuffer target);
}
