using Saturn.Kernels;

namespace Saturn.Engine.Autograd;

/// <summary>Data that a node holds for its backward pass; see <see cref="Node.Save"/>.</summary>
public readonly struct SavedTensor
{
    private readonly Storage? storage;

    internal SavedTensor(Storage storage, Shape shape)
    {
        this.storage = storage;
        Shape = shape;
    }

    /// <summary>The shape.</summary>
    public Shape Shape { get; }

    /// <summary>The data, or None if nothing was saved.</summary>
    public DeviceBuffer Buffer => storage?.Buffer ?? DeviceBuffer.None;
}
