using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine;

/// <summary>
/// What stands behind a <see cref="Tensor"/>: shape, storage, and its place in the autograd graph. A handle outlives its data while tape nodes still route
/// gradients through it, and is recycled, with a new version number, once nobody refers to it.
/// </summary>
internal sealed class TensorHandle
{
    private static long lastId;

    [ThreadStatic]
    private static Stack<TensorHandle>? pool;

    private bool owned;
    private int links;

    private TensorHandle()
    {
    }

    /// <summary>Counts recyclings; a <see cref="Tensor"/> with another number is stale.</summary>
    public int Version { get; private set; }

    /// <summary>Identifies the value among all values of the process; the channel graph refers to it.</summary>
    public long Id { get; private set; }

    public Shape Shape { get; private set; }

    public ElementType Type { get; private set; }

    public Device Device { get; private set; } = null!;

    /// <summary>The data; null once the owner has disposed the tensor.</summary>
    public Storage? Storage { get; private set; }

    public bool RequiresGradient { get; set; }

    /// <summary>The gradient on its way through the tape, or of a leaf after the backward pass.</summary>
    public Storage? Gradient { get; set; }

    /// <summary>
    /// The gradient of a sum that reads this value through a shortcut's map, still in the sum's channels; None once it has been gathered into <see cref="Gradient"/> or a convolution has taken it
    /// along. While it is there, Gradient is null.
    /// </summary>
    public WaitingGradient Waiting { get; set; }

    public Parameter? Parameter { get; set; }

    /// <summary>Position on the tape of the node that produced the value, or −1 for a leaf.</summary>
    public int ProducerIndex { get; set; }

    public static TensorHandle Create(Device device, in Shape shape, ElementType type, Storage storage)
    {
        TensorHandle handle = (pool ??= new Stack<TensorHandle>(256)).TryPop(out TensorHandle? recycled) ? recycled : new TensorHandle();
        handle.Id = Interlocked.Increment(ref lastId);
        handle.Device = device;
        handle.Shape = shape;
        handle.Type = type;
        handle.Storage = storage;
        handle.RequiresGradient = false;
        handle.ProducerIndex = -1;
        handle.owned = true;
        return handle;
    }

    /// <summary>A tape node refers to this value.</summary>
    public void Link() => links++;

    public void Unlink()
    {
        links--;
        RecycleIfUnused();
    }

    /// <summary>The owner lets the data go; the gradient of a leaf goes with it.</summary>
    public void DisposeData()
    {
        if (!owned)
        {
            return;
        }

        owned = false;
        Storage!.Release();
        Storage = null;
        RecycleIfUnused();
    }

    /// <summary>Gathers what waits in other channels, so that <see cref="Gradient"/> is all there is.</summary>
    public void GatherWaiting()
    {
        using WaitingGradient waiting = Waiting;
        if (waiting.IsNone)
        {
            return;
        }

        Waiting = default;
        Gradient = Storage.Allocate(Device, Shape.StorageCount, Type);
        ShortcutGradient shortcut = waiting.On(Device);
        Device.Elementwise.MappedAddBackward(Shape.With(Shape.Rank - 1, shortcut.Channels), shortcut.Sum, Shape.Channels, shortcut.InverseMap, Gradient.Buffer, GradientMode.Overwrite);
    }

    public void ReleaseGradient()
    {
        Gradient?.Release();
        Gradient = null;
        Waiting.Dispose();
        Waiting = default;
    }

    private void RecycleIfUnused()
    {
        if (owned || links != 0)
        {
            return;
        }

        ReleaseGradient();
        Parameter = null;
        Device = null!;
        Version++;
        (pool ??= new Stack<TensorHandle>(256)).Push(this);
    }
}
