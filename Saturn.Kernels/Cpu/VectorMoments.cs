using System.Runtime.Intrinsics;

namespace Saturn.Kernels.Cpu;

/// <summary>Running float32 moments of sixteen channels about a pivot, the first value of each, which keeps the squares small where the mean is far from zero.</summary>
internal unsafe struct VectorMoments
{
    private Vector512<float> pivot;
    private Vector512<float> sum;
    private Vector512<float> squares;

    /// <summary>Adds the values of some pixels.</summary>
    public void Add(float* values, int* offsets, int count, bool first)
    {
        if (first)
        {
            pivot = Vector512.Load(values + offsets[0]);
            sum = Vector512<float>.Zero;
            squares = Vector512<float>.Zero;
        }

        Vector512<float> sum0 = sum, sum1 = Vector512<float>.Zero, squares0 = squares, squares1 = Vector512<float>.Zero;
        int i = 0;
        for (; i < count - 1; i += 2)
        {
            Vector512<float> even = Vector512.Load(values + offsets[i]) - pivot;
            Vector512<float> odd = Vector512.Load(values + offsets[i + 1]) - pivot;
            sum0 += even;
            sum1 += odd;
            squares0 = Vector512.FusedMultiplyAdd(even, even, squares0);
            squares1 = Vector512.FusedMultiplyAdd(odd, odd, squares1);
        }

        if (i < count)
        {
            Vector512<float> last = Vector512.Load(values + offsets[i]) - pivot;
            sum0 += last;
            squares0 = Vector512.FusedMultiplyAdd(last, last, squares0);
        }

        sum = sum0 + sum1;
        squares = squares0 + squares1;
    }

    /// <summary>Writes the mean and Σ(x − mean)² of the first lanes.</summary>
    public readonly void Finish(int count, int lanes, double* mean, double* deviations)
    {
        for (int lane = 0; lane < lanes; lane++)
        {
            double total = sum[lane];
            mean[lane] = pivot[lane] + total / count;
            deviations[lane] = Math.Max(0, squares[lane] - total * total / count);
        }
    }
}
