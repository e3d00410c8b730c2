using Saturn.Engine.Operations;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Autograd;

/// <summary>How one gradient compared.</summary>
/// <param name="Input">Index of the input.</param>
/// <param name="RelativeError">‖analytic − numeric‖₂ / max(‖analytic‖₂, ‖numeric‖₂).</param>
/// <param name="WorstElement">Row-major index of the element that differs most.</param>
/// <param name="Analytic">The backward pass's value there.</param>
/// <param name="Numeric">The central difference there.</param>
public readonly record struct GradientComparison(int Input, double RelativeError, int WorstElement, double Analytic, double Numeric);

/// <summary>
/// Compares the backward pass of a function with central differences of its forward pass. The output is projected on fixed random weights p, so that one
/// backward pass checks the whole Jacobian: d/dx Σ p·f(x) ≈ (Σ p·f(x + h) − Σ p·f(x − h))/2h. The sums are taken in double precision. With a double-precision
/// reference of the forward pass the differences come from that, and are accurate to about 1e−8 instead of 1e−3.
/// </summary>
public static class GradientCheck
{
    /// <summary>Checks a function against differences of itself in float32.</summary>
    /// <param name="function">The function; called often, and recorded only once. It must be deterministic.</param>
    /// <param name="inputs">The point; every element of every input is moved, so keep them small.</param>
    /// <param name="step">h.</param>
    /// <returns>One comparison an input.</returns>
    public static IReadOnlyList<GradientComparison> Compare(Func<Tensor[], Tensor> function, Tensor[] inputs, double step = 1e-2)
    {
        float[][] values = [.. inputs.Select(input => input.ToArray())];
        float[] projection = [];
        float[][] analytic = Analytic(function, inputs, values, ref projection);
        return Compare(
            values, analytic, step, (input, element, value) =>
            {
                values[input][element] = value;
                using TensorScope scope = new();
                using InferenceScope inference = new();
                return Project(function(Tensors(inputs, values)).ToArray(), projection);
            });
    }

    /// <summary>Checks a function against differences of a double-precision reference of the same function.</summary>
    /// <param name="function">The function.</param>
    /// <param name="reference">The same in double precision: from the inputs' values, row-major, to the output's.</param>
    /// <param name="inputs">The point.</param>
    /// <param name="step">h; differences in double precision bear a small one.</param>
    public static IReadOnlyList<GradientComparison> Compare(
        Func<Tensor[], Tensor> function, Func<double[][], double[]> reference, Tensor[] inputs, double step = 1e-5)
    {
        float[][] values = [.. inputs.Select(input => input.ToArray())];
        float[] projection = [];
        float[][] analytic = Analytic(function, inputs, values, ref projection);
        double[][] point = [.. values.Select(array => Array.ConvertAll(array, value => (double)value))];
        List<GradientComparison> results = [];
        for (int input = 0; input < inputs.Length; input++)
        {
            double[] numeric = new double[values[input].Length];
            for (int element = 0; element < numeric.Length; element++)
            {
                double original = point[input][element];
                point[input][element] = original + step;
                double above = Project(reference(point), projection);
                point[input][element] = original - step;
                double below = Project(reference(point), projection);
                point[input][element] = original;
                numeric[element] = (above - below) / (2 * step);
            }

            results.Add(Compare(input, analytic[input], numeric));
        }

        return results;
    }

    /// <summary>Throws if a comparison's relative error exceeds the tolerance.</summary>
    /// <exception cref="GradientMismatchException">Names the input, the element and both values.</exception>
    public static void Require(IEnumerable<GradientComparison> comparisons, double tolerance)
    {
        foreach (GradientComparison comparison in comparisons)
        {
            if (!(comparison.RelativeError <= tolerance))
            {
                throw new GradientMismatchException(
                    $"The gradient of input {comparison.Input} differs from central differences by {comparison.RelativeError:E2} relative (allowed {tolerance:E2}); "
                    + $"worst at element {comparison.WorstElement}: backward {comparison.Analytic:G6}, differences {comparison.Numeric:G6}. Check the node's Backward.");
            }
        }
    }

    private static List<GradientComparison> Compare(float[][] values, float[][] analytic, double step, Func<int, int, float, double> evaluate)
    {
        List<GradientComparison> results = [];
        for (int input = 0; input < values.Length; input++)
        {
            double[] numeric = new double[values[input].Length];
            for (int element = 0; element < numeric.Length; element++)
            {
                float original = values[input][element];
                float above = (float)(original + step);
                float below = (float)(original - step);

                // The float32 points lie a little off x ± h; divide by their true distance.
                numeric[element] = (evaluate(input, element, above) - evaluate(input, element, below)) / ((double)above - below);
                values[input][element] = original;
            }

            results.Add(Compare(input, analytic[input], numeric));
        }

        return results;
    }

    private static GradientComparison Compare(int input, float[] analytic, double[] numeric)
    {
        double difference = 0;
        double analyticNorm = 0;
        double numericNorm = 0;
        int worst = 0;
        for (int i = 0; i < numeric.Length; i++)
        {
            double d = Math.Abs(analytic[i] - numeric[i]);
            difference += d * d;
            analyticNorm += (double)analytic[i] * analytic[i];
            numericNorm += numeric[i] * numeric[i];
            if (!(d <= Math.Abs(analytic[worst] - numeric[worst])))
            {
                worst = i;
            }
        }

        double scale = Math.Sqrt(Math.Max(analyticNorm, numericNorm));
        double relative = scale == 0 ? Math.Sqrt(difference) : Math.Sqrt(difference) / scale;
        return new GradientComparison(input, relative, worst, analytic[worst], numeric[worst]);
    }

    private static float[][] Analytic(Func<Tensor[], Tensor> function, Tensor[] inputs, float[][] values, ref float[] projection)
    {
        using TensorScope scope = new();
        Tensor[] leaves = Tensors(inputs, values);
        foreach (Tensor leaf in leaves)
        {
            leaf.RequireGradient();
        }

        Tensor output = function(leaves);
        Tensor weights = Tensor.Uniform(output.Device, output.Shape, new RandomKey(20240311, 0, 0), -1, 1);
        projection = weights.ToArray();
        Operation.Sum(output * weights).Backward();
        return [.. leaves.Select(leaf => leaf.Handle.Gradient is null ? new float[leaf.Shape.ElementCount] : leaf.CopyGradient().ToArray())];
    }

    private static Tensor[] Tensors(Tensor[] inputs, float[][] values)
    {
        Tensor[] tensors = new Tensor[inputs.Length];
        for (int i = 0; i < inputs.Length; i++)
        {
            tensors[i] = Tensor.FromValues(inputs[i].Device, inputs[i].Shape, values[i]);
        }

        return tensors;
    }

    private static double Project(ReadOnlySpan<float> output, ReadOnlySpan<float> projection)
    {
        double sum = 0;
        for (int i = 0; i < output.Length; i++)
        {
            sum += (double)output[i] * projection[i];
        }

        return sum;
    }

    private static double Project(ReadOnlySpan<double> output, ReadOnlySpan<float> projection)
    {
        if (output.Length != projection.Length)
        {
            throw new ArgumentException($"The reference returned {output.Length} values, but the function {projection.Length}.");
        }

        double sum = 0;
        for (int i = 0; i < output.Length; i++)
        {
            sum += output[i] * projection[i];
        }

        return sum;
    }
}

/// <summary>A backward pass that disagrees with its forward pass.</summary>
public sealed class GradientMismatchException(string message) : Exception(message);
