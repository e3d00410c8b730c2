using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;

namespace Saturn.Layers;

/// <summary>[batch, height, width, channels] to [batch, height·width·channels], channels innermost; what is flat already passes through.</summary>
public sealed class Flatten(Device device) : Module(device)
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor input) => input.Shape.Rank == 2 ? input : Operation.Flatten(input);
}
