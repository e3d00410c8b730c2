using Saturn.Kernels.Families;

namespace Saturn.Tests.References;

/// <summary>Pooling by its definition, in double precision, over logical (unpadded) row-major arrays.</summary>
public static class PoolingReference
{
    /// <summary>The largest value of each window and its place in it, row·KernelWidth + column; the first of equals.</summary>
    public static (double[] Output, int[] Winners) MaximumForward(PoolingShape shape, float[] input)
    {
        double[] output = new double[shape.Output.ElementCount];
        int[] winners = new int[output.Length];
        Array.Fill(winners, -1);
        Visit(shape, (x, y, place) =>
        {
            if (winners[y] < 0 || input[x] > output[y])
            {
                (output[y], winners[y]) = (input[x], place);
            }
        });
        return (output, winners);
    }

    public static double[] MaximumBackward(PoolingShape shape, int[] winners, float[] outputGradient)
    {
        double[] gradient = new double[shape.Input.ElementCount];
        Visit(shape, (x, y, place) => gradient[x] += winners[y] == place ? outputGradient[y] : 0);
        return gradient;
    }

    public static double[] AverageForward(PoolingShape shape, bool countPadding, float[] input)
    {
        int[] counts = Counts(shape, countPadding);
        double[] output = new double[counts.Length];
        Visit(shape, (x, y, _) => output[y] += (double)input[x] / counts[y]);
        return output;
    }

    public static double[] AverageBackward(PoolingShape shape, bool countPadding, float[] outputGradient)
    {
        int[] counts = Counts(shape, countPadding);
        double[] gradient = new double[shape.Input.ElementCount];
        Visit(shape, (x, y, _) => gradient[x] += (double)outputGradient[y] / counts[y]);
        return gradient;
    }

    /// <summary>What each window's sum is divided by.</summary>
    private static int[] Counts(PoolingShape shape, bool countPadding)
    {
        int[] counts = new int[shape.Output.ElementCount];
        if (countPadding)
        {
            Array.Fill(counts, shape.KernelHeight * shape.KernelWidth);
        }
        else
        {
            Visit(shape, (_, y, _) => counts[y]++);
        }

        return counts;
    }

    /// <summary>Calls back with the flat indices of every input element and the output whose window it lies in, and its place in the window, row by row.</summary>
    private static void Visit(PoolingShape shape, Action<int, int, int> element)
    {
        for (int n = 0; n < shape.Batch; n++)
            for (int oh = 0; oh < shape.OutputHeight; oh++)
                for (int ow = 0; ow < shape.OutputWidth; ow++)
                    for (int r = 0; r < shape.KernelHeight; r++)
                        for (int s = 0; s < shape.KernelWidth; s++)
                        {
                            int h = oh * shape.StrideHeight + r - shape.PaddingHeight;
                            int w = ow * shape.StrideWidth + s - shape.PaddingWidth;
                            if (h < 0 || h >= shape.InputHeight || w < 0 || w >= shape.InputWidth)
                            {
                                continue;
                            }

                            for (int c = 0; c < shape.Channels; c++)
                            {
                                int x = ((n * shape.InputHeight + h) * shape.InputWidth + w) * shape.Channels + c;
                                int y = ((n * shape.OutputHeight + oh) * shape.OutputWidth + ow) * shape.Channels + c;
                                element(x, y, r * shape.KernelWidth + s);
                            }
                        }
    }
}
