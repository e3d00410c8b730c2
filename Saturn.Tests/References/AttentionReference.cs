using Saturn.Kernels.Families;

namespace Saturn.Tests.References;

/// <summary>Self-attention as its formulas say, in double precision, with all tokens² probabilities.</summary>
public static class AttentionReference
{
    /// <summary>The output [batch, tokens, width] and L [batch, heads, tokens].</summary>
    public static (double[] Output, double[] LogSums) Forward(AttentionShape shape, float[] packed)
    {
        double[] output = new double[shape.Batch * shape.Tokens * shape.Width];
        double[] logSums = new double[shape.Rows];
        ForEachHead(shape, (b, h) =>
        {
            for (int i = 0; i < shape.Tokens; i++)
            {
                double[] scores = Scores(shape, packed, b, h, i);
                double logSum = logSums[(b * shape.Heads + h) * shape.Tokens + i] = LogSum(scores);
                for (int j = 0; j < shape.Tokens; j++)
                {
                    for (int c = 0; c < shape.HeadWidth; c++)
                    {
                        output[Out(shape, b, i, h, c)] += Math.Exp(scores[j] - logSum) * packed[In(shape, b, j, 2, h, c)];
                    }
                }
            }
        });
        return (output, logSums);
    }

    /// <summary>The gradient of the packed input.</summary>
    public static double[] Backward(AttentionShape shape, float[] packed, float[] outputGradient)
    {
        double[] gradient = new double[packed.Length];
        var (output, logSums) = Forward(shape, packed);
        ForEachHead(shape, (b, h) =>
        {
            for (int i = 0; i < shape.Tokens; i++)
            {
                double[] scores = Scores(shape, packed, b, h, i);
                double d = Enumerable.Range(0, shape.HeadWidth).Sum(c => outputGradient[Out(shape, b, i, h, c)] * output[Out(shape, b, i, h, c)]);
                for (int j = 0; j < shape.Tokens; j++)
                {
                    double p = Math.Exp(scores[j] - logSums[(b * shape.Heads + h) * shape.Tokens + i]);
                    double dp = Enumerable.Range(0, shape.HeadWidth).Sum(c => (double)outputGradient[Out(shape, b, i, h, c)] * packed[In(shape, b, j, 2, h, c)]);
                    double ds = p * (dp - d) / Math.Sqrt(shape.HeadWidth);
                    for (int c = 0; c < shape.HeadWidth; c++)
                    {
                        gradient[In(shape, b, i, 0, h, c)] += ds * packed[In(shape, b, j, 1, h, c)];
                        gradient[In(shape, b, j, 1, h, c)] += ds * packed[In(shape, b, i, 0, h, c)];
                        gradient[In(shape, b, j, 2, h, c)] += p * outputGradient[Out(shape, b, i, h, c)];
                    }
                }
            }
        });
        return gradient;
    }

    private static double LogSum(double[] scores) => scores.Max() + Math.Log(scores.Sum(score => Math.Exp(score - scores.Max())));

    private static double[] Scores(AttentionShape shape, float[] packed, int b, int h, int i) =>
    [
        .. Enumerable.Range(0, shape.Tokens).Select(j =>
            Enumerable.Range(0, shape.HeadWidth).Sum(c => (double)packed[In(shape, b, i, 0, h, c)] * packed[In(shape, b, j, 1, h, c)]) / Math.Sqrt(shape.HeadWidth)),
    ];

    private static void ForEachHead(AttentionShape shape, Action<int, int> visit)
    {
        for (int b = 0; b < shape.Batch; b++)
        {
            for (int h = 0; h < shape.Heads; h++)
            {
                visit(b, h);
            }
        }
    }

    private static int In(AttentionShape shape, int b, int token, int part, int h, int c) => (b * shape.Tokens + token) * 3 * shape.Width + part * shape.Width + h * shape.HeadWidth + c;

    private static int Out(AttentionShape shape, int b, int token, int h, int c) => (b * shape.Tokens + token) * shape.Width + h * shape.HeadWidth + c;
}
