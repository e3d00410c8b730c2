using Saturn.Kernels.Families;

namespace Saturn.Tests.References;

/// <summary>Convolution by its definition, in double precision, over logical (unpadded) row-major arrays.</summary>
public static class ConvolutionReference
{
    public static double[] Forward(ConvolutionShape shape, float[] input, float[] weight, float[]? bias)
    {
        double[] output = new double[shape.Output.ElementCount];
        Visit(shape, (x, w, y) => output[y] += (double)input[x] * weight[w]);
        for (int i = 0; bias is not null && i < output.Length; i++)
        {
            output[i] += bias[i % shape.OutputChannels];
        }

        return output;
    }

    public static double[] DataGradient(ConvolutionShape shape, float[] outputGradient, float[] weight)
    {
        double[] gradient = new double[shape.Input.ElementCount];
        Visit(shape, (x, w, y) => gradient[x] += (double)outputGradient[y] * weight[w]);
        return gradient;
    }

    public static double[] FilterGradient(ConvolutionShape shape, float[] input, float[] outputGradient)
    {
        double[] gradient = new double[shape.Weight.ElementCount];
        Visit(shape, (x, w, y) => gradient[w] += (double)outputGradient[y] * input[x]);
        return gradient;
    }

    /// <summary>Calls back with the flat indices of every product input·weight that is added into an output.</summary>
    private static void Visit(ConvolutionShape shape, Action<long, long, long> product)
    {
        int groupIn = shape.GroupInputChannels;
        int groupOut = shape.GroupOutputChannels;
        for (int n = 0; n < shape.Batch; n++)
            for (int oh = 0; oh < shape.OutputHeight; oh++)
                for (int ow = 0; ow < shape.OutputWidth; ow++)
                    for (int o = 0; o < shape.OutputChannels; o++)
                        for (int r = 0; r < shape.KernelHeight; r++)
                            for (int s = 0; s < shape.KernelWidth; s++)
                            {
                                int h = oh * shape.StrideHeight + r * shape.DilationHeight - shape.PaddingHeight;
                                int w = ow * shape.StrideWidth + s * shape.DilationWidth - shape.PaddingWidth;
                                if (h < 0 || h >= shape.InputHeight || w < 0 || w >= shape.InputWidth)
                                {
                                    continue;
                                }

                                for (int i = 0; i < groupIn; i++)
                                {
                                    long x = ((n * (long)shape.InputHeight + h) * shape.InputWidth + w) * shape.InputChannels + o / groupOut * groupIn + i;
                                    long wi = ((o * (long)shape.KernelHeight + r) * shape.KernelWidth + s) * groupIn + i;
                                    long y = ((n * (long)shape.OutputHeight + oh) * shape.OutputWidth + ow) * shape.OutputChannels + o;
                                    product(x, wi, y);
                                }
                            }
    }
}
