using MathNet.Numerics;
using MathNet.Numerics.Distributions;
using Saturn.Kernels.Families;

namespace Saturn.Tests.References;

/// <summary>Activation functions and their derivatives in double precision, on MathNet's special functions, and the activity bits by their definition.</summary>
public static class ActivationReference
{
    public static double Value(Activation activation, double x) => activation.Kind switch
    {
        ActivationKind.Identity => x,
        ActivationKind.Relu => Math.Max(x, 0),
        ActivationKind.LeakyRelu => x > 0 ? x : activation.Parameter * x,
        ActivationKind.Gelu => x / 2 * SpecialFunctions.Erfc(-x / Constants.Sqrt2),
        ActivationKind.Silu => x * SpecialFunctions.Logistic(activation.Parameter * x),
        _ => throw new ArgumentOutOfRangeException(nameof(activation)),
    };

    /// <summary>f′(x); for the two rectifiers that of x &lt; 0 at x = 0.</summary>
    public static double Derivative(Activation activation, double x)
    {
        double beta = activation.Parameter;
        double sigmoid = SpecialFunctions.Logistic(beta * x);
        return activation.Kind switch
        {
            ActivationKind.Identity => 1,
            ActivationKind.Relu => x > 0 ? 1 : 0,
            ActivationKind.LeakyRelu => x > 0 ? 1 : activation.Parameter,
            ActivationKind.Gelu => SpecialFunctions.Erfc(-x / Constants.Sqrt2) / 2 + x * Normal.PDF(0, 1, x),
            ActivationKind.Silu => sigmoid + beta * x * sigmoid * (1 - sigmoid),
            _ => throw new ArgumentOutOfRangeException(nameof(activation)),
        };
    }

    /// <summary>One bit a channel of [rows, channels], bit c mod 32 of word c div 32.</summary>
    public static uint[] ActivityBits(int channels, float[] values, ActivityCriterion criterion, float threshold)
    {
        uint[] words = new uint[ActivityReport.WordCount(channels)];
        for (int i = 0; i < values.Length; i++)
        {
            int c = i % channels;
            bool active = float.IsNaN(values[i]) || (criterion == ActivityCriterion.AboveThreshold ? values[i] > threshold : Math.Abs(values[i]) >= threshold);
            words[c / 32] |= active ? 1u << (c % 32) : 0;
        }

        return words;
    }
}
