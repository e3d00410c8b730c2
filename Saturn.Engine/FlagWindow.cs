using System.Runtime.InteropServices;
using Saturn.Kernels;

namespace Saturn.Engine;

/// <summary>
/// The union of the activity bits of the last so many steps, on the device: an exact sliding window at three unions a step on average, whatever its length. Steps are counted in blocks as
/// long as the window. Slot i of the block under way keeps the bits of its step; the slots behind it still hold, of the block before, the union of all steps from there to that block's
/// end. The window that ends at slot p is the union of the block so far and of slot p + 1.
/// </summary>
internal sealed class FlagWindow : IDisposable
{
    private readonly Device device;
    private readonly int words;
    private readonly Tensor memory;
    private readonly long stride;
    private int position = -1;
    private bool hasBlockBefore;

    /// <summary>Creates an empty window.</summary>
    /// <param name="device">Where the bits are.</param>
    /// <param name="words">Words of 32 bits.</param>
    /// <param name="length">Steps, at least 1.</param>
    public FlagWindow(Device device, int words, int length)
    {
        this.device = device;
        this.words = words;
        Length = length;
        Shape shape = new(length + 2, words);
        stride = shape.Pitch * sizeof(int);
        memory = Tensor.AllocateUnscoped(device, shape, ElementType.Int32);
    }

    /// <summary>Steps that the window covers when it is full.</summary>
    public int Length { get; }

    /// <summary>The union; meaningful after the first step.</summary>
    public DeviceBuffer Union => ReachesBack ? UnionWithBlockBefore : BlockSoFar;

    private bool ReachesBack => hasBlockBefore && position < Length - 1;

    private DeviceBuffer UnionWithBlockBefore => Slot(Length);

    private DeviceBuffer BlockSoFar => Slot(Length + 1);

    /// <summary>Moves on by one step with these bits.</summary>
    public void Advance(DeviceBuffer flags)
    {
        if (position == Length - 1)
        {
            for (int slot = Length - 2; slot >= 0; slot--)
            {
                device.Census.Union(words, Slot(slot), Slot(slot + 1), Slot(slot));
            }

            hasBlockBefore = true;
            position = -1;
        }

        position++;
        DeviceBuffer source = flags.Slice(0, words * sizeof(int));
        device.Copy(source, Slot(position));
        if (position == 0)
        {
            device.Copy(source, BlockSoFar);
        }
        else
        {
            device.Census.Union(words, BlockSoFar, source, BlockSoFar);
        }

        Unite();
    }

    /// <summary>Adds bits to the step that the window ends with.</summary>
    public void Add(DeviceBuffer flags)
    {
        DeviceBuffer source = flags.Slice(0, words * sizeof(int));
        device.Census.Union(words, Slot(position), source, Slot(position));
        device.Census.Union(words, BlockSoFar, source, BlockSoFar);
        Unite();
    }

    /// <summary>
    /// Words of the steps that the window covers, oldest first, read back. What is known of older steps may be their unions only, but a new window that moves through these words
    /// goes on as this one would.
    /// </summary>
    public List<int[]> Read()
    {
        List<int[]> steps = [];
        for (int slot = position + 1; hasBlockBefore && slot < Length; slot++)
        {
            steps.Add(ReadSlot(slot));
        }

        for (int slot = 0; slot <= position; slot++)
        {
            steps.Add(ReadSlot(slot));
        }

        return steps;
    }

    /// <summary>Frees the device memory.</summary>
    public void Dispose() => memory.Dispose();

    private void Unite()
    {
        if (ReachesBack)
        {
            device.Census.Union(words, BlockSoFar, Slot(position + 1), UnionWithBlockBefore);
        }
    }

    private int[] ReadSlot(int slot)
    {
        int[] values = new int[words];
        device.Download(Slot(slot), MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    private DeviceBuffer Slot(int index) => memory.Buffer.Slice(index * stride, words * sizeof(int));
}
