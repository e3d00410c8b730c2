using System.Runtime.InteropServices;
using Saturn.Engine;
using Saturn.Kernels;

namespace Saturn.Training;

/// <summary>
/// Losses and numbers of correct answers of the last batches, kept on the device and read back together, so that the steps between two logging points wait for
/// nothing. The batches of a step write to places of their own, the same in every step, and move on into the ring when the step is over.
/// </summary>
internal sealed class LossRing : IDisposable
{
    // A loss and a count.
    private const int EntryBytes = sizeof(float) + sizeof(int);

    private readonly Device device;
    private readonly Tensor entries;
    private readonly int[] values;
    private readonly int batches;
    private int count;

    /// <summary>Creates a ring.</summary>
    /// <param name="device">Where the steps run.</param>
    /// <param name="steps">Steps between two readings.</param>
    /// <param name="batches">Batches a step.</param>
    public LossRing(Device device, int steps, int batches = 1)
    {
        this.device = device;
        this.batches = batches;
        values = new int[steps * batches * 2];
        entries = Tensor.AllocateUnscoped(device, new Shape((steps + 1) * batches * 2), ElementType.Int32);
        device.Clear(entries.Buffer);
    }

    /// <summary>Whether the ring must be read before another step.</summary>
    public bool IsFull => count * 2 == values.Length;

    /// <summary>Where the loss kernel writes the number of correct answers of a batch of the step.</summary>
    public DeviceBuffer Correct(int batch) => OfStep(batch).Slice(sizeof(float), sizeof(int));

    /// <summary>Keeps the loss of a batch of the step.</summary>
    public void Keep(int batch, Tensor loss) => device.Copy(loss.Buffer.Slice(0, sizeof(float)), OfStep(batch).Slice(0, sizeof(float)));

    /// <summary>The step is over: its batches move on into the ring.</summary>
    public void EndStep()
    {
        long bytes = (long)batches * EntryBytes;
        device.Copy(entries.Buffer.Slice(values.Length * sizeof(int), bytes), entries.Buffer.Slice((long)count * EntryBytes, bytes));
        count += batches;
    }

    /// <summary>Reads and empties the ring.</summary>
    /// <returns>The number of batches, the sum of their losses, their correct answers, and the first loss that is no finite number, if any.</returns>
    public (int Batches, double LossSum, long Correct, float? NotFinite) Drain()
    {
        device.Download(entries.Buffer, MemoryMarshal.AsBytes(values.AsSpan(0, count * 2)));
        double sum = 0;
        long right = 0;
        float? notFinite = null;
        for (int i = 0; i < count; i++)
        {
            float loss = BitConverter.Int32BitsToSingle(values[2 * i]);
            sum += loss;
            right += values[2 * i + 1];
            notFinite ??= float.IsFinite(loss) ? null : loss;
        }

        int read = count;
        count = 0;
        return (read, sum, right, notFinite);
    }

    /// <summary>Frees the device memory.</summary>
    public void Dispose() => entries.Dispose();

    private DeviceBuffer OfStep(int batch) => entries.Buffer.Slice(values.Length * sizeof(int) + (long)batch * EntryBytes, EntryBytes);
}
