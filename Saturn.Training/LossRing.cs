using System.Runtime.InteropServices;
using Saturn.Engine;
using Saturn.Kernels;

namespace Saturn.Training;

/// <summary>
/// Losses and numbers of correct answers of the last steps, kept on the device and read back together, so that the steps between two logging points wait for
/// nothing.
/// </summary>
internal sealed class LossRing : IDisposable
{
    private readonly Device device;
    private readonly Tensor losses;
    private readonly Tensor correct;
    private readonly float[] lossValues;
    private readonly int[] correctValues;
    private int count;

    /// <summary>Creates a ring.</summary>
    /// <param name="device">Where the steps run.</param>
    /// <param name="capacity">Steps between two readings.</param>
    public LossRing(Device device, int capacity)
    {
        this.device = device;
        losses = Tensor.AllocateUnscoped(device, new Shape(capacity));
        correct = Tensor.AllocateUnscoped(device, new Shape(capacity), ElementType.Int32);
        device.Clear(correct.Buffer);
        lossValues = new float[capacity];
        correctValues = new int[capacity];
    }

    /// <summary>Whether the ring must be read before another step.</summary>
    public bool IsFull => count == lossValues.Length;

    /// <summary>Where the loss kernel writes the next step's number of correct answers.</summary>
    public DeviceBuffer NextCorrect => correct.Buffer.Slice(count * sizeof(int), sizeof(int));

    /// <summary>Keeps a step's loss.</summary>
    public void Push(Tensor loss)
    {
        device.Copy(loss.Buffer.Slice(0, sizeof(float)), losses.Buffer.Slice(count * sizeof(float), sizeof(float)));
        count++;
    }

    /// <summary>Reads and empties the ring.</summary>
    /// <returns>The number of steps, the sum of their losses, their correct answers, and the first loss that is no finite number, if any.</returns>
    public (int Steps, double LossSum, long Correct, float? NotFinite) Drain()
    {
        device.Download(losses.Buffer, MemoryMarshal.AsBytes(lossValues.AsSpan(0, count)));
        device.Download(correct.Buffer, MemoryMarshal.AsBytes(correctValues.AsSpan(0, count)));
        double sum = 0;
        long right = 0;
        float? notFinite = null;
        for (int i = 0; i < count; i++)
        {
            sum += lossValues[i];
            right += correctValues[i];
            notFinite ??= float.IsFinite(lossValues[i]) ? null : lossValues[i];
        }

        int steps = count;
        count = 0;
        return (steps, sum, right, notFinite);
    }

    /// <summary>Frees the device memory.</summary>
    public void Dispose()
    {
        losses.Dispose();
        correct.Dispose();
    }
}
