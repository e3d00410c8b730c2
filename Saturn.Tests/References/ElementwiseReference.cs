using MathNet.Numerics;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Tests.References;

/// <summary>Elementwise functions, broadcasting and rearrangements by their definitions, in double precision over logical (unpadded) row-major arrays.</summary>
public static class ElementwiseReference
{
    public static double Unary(UnaryOperation operation, double x, double a, double b) => operation switch
    {
        UnaryOperation.Copy => x,
        UnaryOperation.Negate => -x,
        UnaryOperation.Absolute => Math.Abs(x),
        UnaryOperation.Sign => Math.Sign(x),
        UnaryOperation.Square => x * x,
        UnaryOperation.SquareRoot => Math.Sqrt(x),
        UnaryOperation.Reciprocal => 1 / x,
        UnaryOperation.Exponential => Math.Exp(x),
        UnaryOperation.Logarithm => Math.Log(x),
        UnaryOperation.Sine => Trig.Sin(x),
        UnaryOperation.Cosine => Trig.Cos(x),
        UnaryOperation.HyperbolicTangent => Trig.Tanh(x),
        UnaryOperation.Sigmoid => SpecialFunctions.Logistic(x),
        UnaryOperation.Affine => a * x + b,
        UnaryOperation.Power => Math.Pow(x, a),
        UnaryOperation.Clamp => Math.Clamp(x, a, b),
        UnaryOperation.InsideRange => x >= a && x <= b ? 1 : 0,
        _ => throw new ArgumentOutOfRangeException(nameof(operation)),
    };

    public static double Binary(BinaryOperation operation, double x, double y) => operation switch
    {
        BinaryOperation.Add => x + y,
        BinaryOperation.Subtract => x - y,
        BinaryOperation.Multiply => x * y,
        BinaryOperation.Divide => x / y,
        BinaryOperation.Maximum => Math.Max(x, y),
        BinaryOperation.Minimum => Math.Min(x, y),
        BinaryOperation.GreaterOrEqual => x >= y ? 1 : 0,
        BinaryOperation.Less => x < y ? 1 : 0,
        BinaryOperation.Equal => x == y ? 1 : 0,
        _ => throw new ArgumentOutOfRangeException(nameof(operation)),
    };

    /// <summary>f(left, right), both broadcast to the output.</summary>
    public static double[] Binary(BinaryOperation operation, Shape leftShape, float[] left, Shape rightShape, float[] right, Shape outputShape)
    {
        double[] output = new double[outputShape.ElementCount];
        for (int i = 0; i < output.Length; i++)
        {
            int[] at = Coordinates(outputShape, i);
            output[i] = Binary(operation, left[Element(leftShape, at)], right[Element(rightShape, at)]);
        }

        return output;
    }

    /// <summary>branch[row, c] + shortcut[row, map[c]], the branch alone where the map is negative.</summary>
    public static double[] MappedAdd(int channels, float[] branch, int shortcutChannels, float[] shortcut, int[] map) =>
        [.. branch.Select((value, i) => map[i % channels] < 0 ? value : (double)value + shortcut[i / channels * shortcutChannels + map[i % channels]])];

    /// <summary>Every output gradient goes to the shortcut's channel that it was added from.</summary>
    public static double[] MappedAddBackward(int channels, float[] outputGradient, int shortcutChannels, int[] map)
    {
        double[] gradient = new double[outputGradient.Length / channels * shortcutChannels];
        for (int i = 0; i < outputGradient.Length; i++)
        {
            if (map[i % channels] >= 0)
            {
                gradient[i / channels * shortcutChannels + map[i % channels]] += outputGradient[i];
            }
        }

        return gradient;
    }

    /// <summary>Output dimension i is input dimension order[i].</summary>
    public static double[] Permute(Shape inputShape, int[] order, float[] input)
    {
        Shape outputShape = new([.. order.Select(dimension => inputShape[dimension])]);
        double[] output = new double[input.Length];
        int[] from = new int[order.Length];
        for (int i = 0; i < output.Length; i++)
        {
            int[] to = Coordinates(outputShape, i);
            for (int d = 0; d < order.Length; d++)
            {
                from[order[d]] = to[d];
            }

            output[i] = input[Element(inputShape, from)];
        }

        return output;
    }

    /// <summary>The coordinates of an element, outermost first, from its number in row-major order.</summary>
    public static int[] Coordinates(in Shape shape, long element)
    {
        int[] coordinates = new int[shape.Rank];
        for (int d = shape.Rank - 1; d >= 0; d--)
        {
            coordinates[d] = (int)(element % shape[d]);
            element /= shape[d];
        }

        return coordinates;
    }

    /// <summary>The number of the element at some coordinates of a shape that this one broadcasts to: aligned at the end, 0 where the extent is 1.</summary>
    public static int Element(in Shape shape, ReadOnlySpan<int> coordinates)
    {
        int element = 0;
        for (int d = 0; d < shape.Rank; d++)
        {
            element = element * shape[d] + (shape[d] == 1 ? 0 : coordinates[coordinates.Length - shape.Rank + d]);
        }

        return element;
    }
}
