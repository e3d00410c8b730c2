using MathNet.Numerics.Statistics;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Tests.References;

/// <summary>Reductions in double precision, on MathNet's statistics: every element belongs to the one element of the output that would be broadcast to it.</summary>
public static class ReductionReference
{
    public static double[] Reduce(ReductionOperation operation, Shape inputShape, float[] input, Shape outputShape)
    {
        List<double>[] members = [.. Enumerable.Range(0, (int)outputShape.ElementCount).Select(_ => new List<double>())];
        for (int i = 0; i < input.Length; i++)
        {
            members[ElementwiseReference.Element(outputShape, ElementwiseReference.Coordinates(inputShape, i))].Add(input[i]);
        }

        return [.. members.Select(values => operation switch
        {
            ReductionOperation.Sum => values.Sum(),
            ReductionOperation.Mean => values.Sum() / values.Count,
            ReductionOperation.Maximum => values.Maximum(),
            ReductionOperation.Minimum => values.Minimum(),
            _ => throw new ArgumentOutOfRangeException(nameof(operation)),
        })];
    }
}
