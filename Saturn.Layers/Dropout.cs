using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Layers;

/// <summary>Inverted dropout in training, the identity in evaluation. Masks follow from seed, step and the layer's own number.</summary>
public sealed class Dropout : Module
{
    private readonly float probability;
    private readonly ulong seed;
    private readonly uint stream;
    private ulong step;

    /// <summary>Creates the layer.</summary>
    /// <param name="device">The device.</param>
    /// <param name="probability">Share of elements that become zero, 0 ≤ p &lt; 1.</param>
    /// <param name="seed">The run's seed.</param>
    /// <param name="stream">A number that no other dropout of the model has.</param>
    public Dropout(Device device, float probability, ulong seed, uint stream)
        : base(device)
    {
        this.probability = probability;
        this.seed = seed;
        this.stream = stream;
    }

    /// <inheritdoc/>
    public override void BeginStep(long step)
    {
        base.BeginStep(step);
        this.step = (ulong)step;
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input) =>
        IsTraining && probability > 0 ? Operation.Dropout(input, probability, new RandomKey(seed, 0xD0000000u + stream, step)) : input;
}
