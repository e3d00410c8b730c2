namespace Saturn.Tests.References;

/// <summary>Softmax and cross entropy by their formulas in double precision; arrays are logical [rows, classes].</summary>
public static class LossReference
{
    /// <summary>ln softmax = x − ln Σ eˣ, with the row's maximum taken out of the exponentials.</summary>
    public static double[] LogarithmOfSoftmax(int classes, float[] logits) => [.. logits.Chunk(classes).SelectMany(row =>
    {
        double maximum = row.Max();
        double logarithm = maximum + Math.Log(row.Sum(x => Math.Exp(x - maximum)));
        return row.Select(x => x - logarithm);
    })];

    public static double[] Softmax(int classes, float[] logits) => [.. LogarithmOfSoftmax(classes, logits).Select(Math.Exp)];

    /// <summary>1 − s + s/classes for the labelled class, s/classes for every other.</summary>
    public static double Target(int classes, double smoothing, int label, int c) => (c == label ? 1 - smoothing : 0) + smoothing / classes;

    /// <summary>The mean over rows of −Σ target·ln softmax.</summary>
    public static double CrossEntropy(int classes, double smoothing, float[] logits, int[] labels) =>
        -LogarithmOfSoftmax(classes, logits).Select((value, i) => Target(classes, smoothing, labels[i / classes], i % classes) * value).Sum() / labels.Length;

    /// <summary>(softmax − target)·lossGradient/rows.</summary>
    public static double[] CrossEntropyGradient(int classes, double smoothing, float[] probabilities, int[] labels, double lossGradient) =>
        [.. probabilities.Select((value, i) => (value - Target(classes, smoothing, labels[i / classes], i % classes)) * lossGradient / labels.Length)];

    /// <summary>The rows whose first largest logit is the label's.</summary>
    public static int Correct(int classes, float[] logits, int[] labels) =>
        logits.Chunk(classes).Where((row, i) => Array.IndexOf(row, row.Max()) == labels[i]).Count();

    /// <summary>dxⱼ = Σᵢ dyᵢ·∂yᵢ/∂xⱼ with ∂yᵢ/∂xⱼ = yᵢ·(δᵢⱼ − yⱼ), so dx = y·(dy − Σ dy·y).</summary>
    public static double[] SoftmaxBackward(int classes, float[] output, float[] outputGradient)
    {
        double[] sums = [.. output.Zip(outputGradient, (y, dy) => (double)y * dy).Chunk(classes).Select(row => row.Sum())];
        return [.. output.Zip(outputGradient).Select((pair, i) => pair.First * (pair.Second - sums[i / classes]))];
    }
}
