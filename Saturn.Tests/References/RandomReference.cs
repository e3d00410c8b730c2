using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Tests.References;

/// <summary>
/// The numbers of the random kernels, element by element from scalar Philox blocks: element (row, c) is lane c mod 4 of counter (c div 4, row, 0, stream), under the key
/// derived from seed and step. Arrays are logical [rows, channels].
/// </summary>
public static class RandomReference
{
    /// <summary>Uniforms in [0, 1): the upper 24 bits of the element's word, times 2⁻²⁴; exact in float32.</summary>
    public static double[] Uniform(Shape shape, RandomKey key) => Elements(shape, key, (words, lane) => (words[lane] >> 8) / 16777216.0);

    /// <summary>
    /// Standard normals by Box and Muller: √(−2 ln u)·cos 2πv for even lanes and √(−2 ln u)·sin 2πv for odd ones, u in (0, 1] from the pair's first word, v in [0, 1) from its
    /// second.
    /// </summary>
    public static double[] Normal(Shape shape, RandomKey key) => Elements(shape, key, (words, lane) =>
    {
        int pair = lane & ~1;
        double radius = Math.Sqrt(-2 * Math.Log(((words[pair] >> 8) + 1) / 16777216.0));
        double angle = 2 * Math.PI * (words[pair + 1] >> 8) / 16777216.0;
        return radius * (lane % 2 == 0 ? Math.Cos(angle) : Math.Sin(angle));
    });

    private static double[] Elements(Shape shape, RandomKey key, Func<uint[], int, double> value)
    {
        (uint key0, uint key1) = Philox.DeriveKey(key.Seed, key.Step);
        double[] result = new double[shape.ElementCount];
        for (int row = 0; row < shape.Rows; row++)
        {
            for (int c = 0; c < shape.Channels; c++)
            {
                var block = Philox.Block((uint)c / 4, (uint)row, 0, key.Stream, key0, key1);
                result[(long)row * shape.Channels + c] = value([block.Word0, block.Word1, block.Word2, block.Word3], c % 4);
            }
        }

        return result;
    }
}
