using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;

namespace Saturn.Layers;

/// <summary>The largest value of each window, by channel.</summary>
public sealed class MaximumPool2d(Device device, PoolingSettings settings) : Module(device)
{
    /// <summary>Window, stride and padding.</summary>
    public PoolingSettings Settings { get; } = settings;

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input) => Operation.MaximumPool(input, Settings);
}

/// <summary>The mean of each window, by channel.</summary>
public sealed class AveragePool2d(Device device, PoolingSettings settings, bool countPadding = true) : Module(device)
{
    /// <summary>Window, stride and padding.</summary>
    public PoolingSettings Settings { get; } = settings;

    /// <summary>Whether padding pixels count as zeros in the mean.</summary>
    public bool CountPadding { get; } = countPadding;

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input) => Operation.AveragePool(input, Settings, CountPadding);
}

/// <summary>The mean over all positions: [batch, height, width, channels] to [batch, channels].</summary>
public sealed class GlobalAveragePool(Device device) : Module(device)
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor input) => Operation.GlobalAveragePool(input);
}
