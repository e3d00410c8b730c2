using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Training.Data;

/// <summary>The order of the training images in an epoch.</summary>
public static class EpochOrder
{
    private const uint ShuffleStream = 0x5348;
    private const uint SampleStream = 0x4345;

    /// <summary>A permutation of 0 … count − 1 that follows from seed and epoch alone (Fisher and Yates).</summary>
    public static int[] Of(int count, ulong seed, int epoch) => Permutation(count, new RandomKey(seed, ShuffleStream, (ulong)epoch));

    /// <summary>A fixed sample of images without repetition, the same for a seed at all times.</summary>
    public static int[] Sample(int count, int size, ulong seed) => Permutation(count, new RandomKey(seed, SampleStream, 0))[..Math.Min(size, count)];

    private static int[] Permutation(int count, RandomKey key)
    {
        int[] order = new int[count];
        for (int i = 0; i < count; i++)
        {
            order[i] = i;
        }

        PhiloxSequence random = new(key);
        for (int i = count - 1; i > 0; i--)
        {
            int other = random.NextInteger(i + 1);
            (order[i], order[other]) = (order[other], order[i]);
        }

        return order;
    }
}
