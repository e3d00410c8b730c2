namespace Saturn.Kernels.Families;

/// <summary>
/// The key of a counter-based random sequence: which run, which use, which step. The numbers are those of Philox4x32-10
/// (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), so any element can be computed on its own.
/// </summary>
/// <param name="Seed">The run's seed.</param>
/// <param name="Stream">What the numbers are for; equal streams of one seed and step repeat.</param>
/// <param name="Step">The training step, epoch or draw.</param>
/// <param name="Derived">
/// Device memory with what <see cref="Philox.DeriveKey"/> makes of seed and step, two words, which are then read when the kernel runs and stand for both: so that a recorded step, which always has the
/// arguments of its recording, draws other numbers each time. None: the key goes along with the call.
/// </param>
public readonly record struct RandomKey(ulong Seed, uint Stream, ulong Step, DeviceBuffer Derived = default);

/// <summary>Random numbers. Integers and uniforms are equal bit for bit on every device; normals too, from one written-out polynomial.</summary>
public interface IRandomKernels
{
    /// <summary>
    /// Uniforms in [low, high); padding zero. Element (row, c) is lane c mod 4 of counter (c div 4, row, 0, stream). A uniform u of [0, 1) becomes the fused
    /// u·(high − low) + low, or the largest float32 below high where that rounds to high.
    /// </summary>
    void Uniform(in Shape shape, RandomKey key, float low, float high, DeviceBuffer output);

    /// <summary>mean + standardDeviation·N(0, 1); padding zero; counters as for <see cref="Uniform"/>.</summary>
    void Normal(in Shape shape, RandomKey key, float mean, float standardDeviation, DeviceBuffer output);

    /// <summary>
    /// Inverted dropout: output = input/(1 − probability) where the element's uniform is ≥ probability, else 0. The mask is recomputed from
    /// the key, so the backward pass is the same call on gradients. In <see cref="GradientMode.Accumulate"/> the result is added. Only this one reads <see cref="RandomKey.Derived"/>.
    /// </summary>
    void Dropout(in Shape shape, RandomKey key, float probability, DeviceBuffer input, DeviceBuffer output, GradientMode mode);
}
