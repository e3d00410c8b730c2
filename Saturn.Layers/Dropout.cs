using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Layers;

/// <summary>Inverted dropout in training, the identity in evaluation. Masks follow from seed, step and the layer's full name.</summary>
public sealed class Dropout : Module
{
    private readonly float probability;
    private readonly ulong seed;
    private readonly Tensor derivedKey;

    /// <summary>Creates the layer.</summary>
    /// <param name="device">The device.</param>
    /// <param name="probability">Share of elements that become zero, 0 ≤ p &lt; 1.</param>
    /// <param name="seed">The run's seed.</param>
    /// <exception cref="ArgumentOutOfRangeException">The probability is out of range.</exception>
    public Dropout(Device device, float probability, ulong seed)
        : base(device)
    {
        if (!(probability is >= 0 and < 1))
        {
            throw new ArgumentOutOfRangeException(nameof(probability), $"The dropout probability must lie in [0, 1), but is {probability}.");
        }

        this.probability = probability;
        this.seed = seed;
        derivedKey = Tensor.AllocateUnscoped(device, new Shape(2), ElementType.Int32);
        Write(0);
    }

    /// <inheritdoc/>
    public override void BeginStep(long step)
    {
        base.BeginStep(step);
        if (probability > 0)
        {
            Write((ulong)step);
        }
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input) =>
        IsTraining && probability > 0 ? Operation.Dropout(input, probability, new RandomKey(seed, StreamId.Of(Name), 0, derivedKey.Buffer)) : input;

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        derivedKey.Dispose();
        base.Dispose(disposing);
    }

    // On the device, where a recorded step finds the key of each of its repetitions.
    private void Write(ulong step)
    {
        (uint key0, uint key1) = Philox.DeriveKey(seed, step);
        derivedKey.CopyFromStored<uint>([key0, key1]);
    }
}
