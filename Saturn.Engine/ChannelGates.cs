using Saturn.Kernels;

namespace Saturn.Engine;

/// <summary>
/// A gate g on every channel of an activation, which multiplies its output: y = g·x. The gradient ∂L/∂g = Σ_rows x·∂L/∂y is what closing a channel would do to the loss, to first order ("Pruning via
/// Iterative Ranking of Sensitivity Statistics", Verdenius et al. 2020). While all gates are 1 they cost no forward arithmetic.
/// </summary>
public sealed class ChannelGates : IDisposable
{
    private readonly Tensor values;
    private readonly Tensor scaling;

    /// <summary>Gates that are all 1.</summary>
    /// <param name="device">The device.</param>
    /// <param name="channels">Channels of the activation.</param>
    public ChannelGates(Device device, int channels)
    {
        values = Tensor.AllocateUnscoped(device, new Shape(channels)).RequireGradient();
        scaling = Tensor.AllocateUnscoped(device, new Shape(4, Shape.PitchOf(channels)));
        float[] ones = new float[channels];
        Array.Fill(ones, 1);
        Set(ones);
    }

    /// <summary>Whether all gates are 1.</summary>
    public bool AreOpen { get; private set; }

    /// <summary>Channels.</summary>
    public int Channels => values.Shape.Channels;

    /// <summary>The gates [channels], a leaf that collects the gradient.</summary>
    internal Tensor Values => values;

    /// <summary>The gates as the saved statistics of a normalization, float32 [4, pitch]: mean 0, 1/std 1, scale g, shift 0.</summary>
    internal Tensor Scaling => scaling;

    /// <summary>Sets all gates.</summary>
    /// <param name="gates">One value a channel.</param>
    public void Set(ReadOnlySpan<float> gates)
    {
        values.CopyFrom(gates);
        int pitch = Shape.PitchOf(Channels);
        float[] rows = new float[4 * pitch];
        rows.AsSpan(pitch, Channels).Fill(1);
        gates.CopyTo(rows.AsSpan(2 * pitch));
        scaling.CopyFrom(rows);
        AreOpen = !gates.ContainsAnyExcept(1f);
    }

    /// <summary>∂L/∂g, added up over the backward passes since <see cref="ClearGradient"/>, one value a channel.</summary>
    /// <exception cref="InvalidOperationException">No backward pass has reached the gates.</exception>
    public float[] ReadGradient()
    {
        using TensorScope scope = new();
        return values.CopyGradient().ToArray();
    }

    /// <summary>Forgets the gradient.</summary>
    public void ClearGradient() => values.ClearGradient();

    /// <summary>Frees the device memory.</summary>
    public void Dispose()
    {
        values.Dispose();
        scaling.Dispose();
    }
}
