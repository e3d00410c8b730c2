using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Bench;

/// <summary>
/// The processor's arithmetic limit as a program meets it: float32 fused multiply-adds on registers only, with more independent chains than latency times
/// ports, on every thread at once. It follows the clock and the load of the moment, so it is measured next to what is compared with it.
/// </summary>
public static class FusedMultiplyAddCeiling
{
    private const int Chains = 12;
    private const int Pieces = 8;

    /// <summary>Measures the limit.</summary>
    /// <param name="threads">Threads that compute at once; at least 1.</param>
    /// <param name="iterations">Rounds of 12 vector multiply-adds a thread, at least 8; two million take some milliseconds.</param>
    /// <returns>10⁹ floating-point operations a second, a multiply-add counting two, all threads together.</returns>
    public static double Gigaflops(int threads, int iterations = 2_000_000)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, Pieces);
        iterations /= Pieces;
        float[] sums = new float[threads];
        double[] seconds = new double[threads];
        using Barrier start = new(threads);
        Thread[] team = new Thread[threads];
        for (int i = 0; i < threads; i++)
        {
            int index = i;
            team[i] = new Thread(() =>
            {
                start.SignalAndWait();
                seconds[index] = double.PositiveInfinity;

                // The fastest piece counts: a device's workers may still be looking for work when this begins.
                for (int piece = 0; piece < Pieces; piece++)
                {
                    long began = Stopwatch.GetTimestamp();
                    sums[index] += Vector512.IsHardwareAccelerated ? Chains512(iterations) : Chains256(iterations);
                    seconds[index] = Math.Min(seconds[index], Stopwatch.GetElapsedTime(began).TotalSeconds);
                }
            });
            team[i].Start();
        }

        foreach (Thread thread in team)
        {
            thread.Join();
        }

        if (sums.Any(sum => !float.IsFinite(sum)))
        {
            throw new InvalidOperationException("The multiply-add chains must converge, but left the range of float32.");
        }

        int lanes = Vector512.IsHardwareAccelerated ? 16 : 8;
        return seconds.Sum(time => 2.0 * Chains * lanes * iterations / time) / 1e9;
    }

    // Each chain converges to b/(1 − a): finite, and never subnormal.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Chains512(int iterations)
    {
        Vector512<float> a = Vector512.Create(0.5f), b = Vector512.Create(1f);
        Vector512<float> c0 = b, c1 = b, c2 = b, c3 = b, c4 = b, c5 = b, c6 = b, c7 = b, c8 = b, c9 = b, c10 = b, c11 = b;
        for (int i = 0; i < iterations; i++)
        {
            c0 = Vector512.FusedMultiplyAdd(c0, a, b);
            c1 = Vector512.FusedMultiplyAdd(c1, a, b);
            c2 = Vector512.FusedMultiplyAdd(c2, a, b);
            c3 = Vector512.FusedMultiplyAdd(c3, a, b);
            c4 = Vector512.FusedMultiplyAdd(c4, a, b);
            c5 = Vector512.FusedMultiplyAdd(c5, a, b);
            c6 = Vector512.FusedMultiplyAdd(c6, a, b);
            c7 = Vector512.FusedMultiplyAdd(c7, a, b);
            c8 = Vector512.FusedMultiplyAdd(c8, a, b);
            c9 = Vector512.FusedMultiplyAdd(c9, a, b);
            c10 = Vector512.FusedMultiplyAdd(c10, a, b);
            c11 = Vector512.FusedMultiplyAdd(c11, a, b);
        }

        return Vector512.Sum(c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Chains256(int iterations)
    {
        Vector256<float> a = Vector256.Create(0.5f), b = Vector256.Create(1f);
        Vector256<float> c0 = b, c1 = b, c2 = b, c3 = b, c4 = b, c5 = b, c6 = b, c7 = b, c8 = b, c9 = b, c10 = b, c11 = b;
        for (int i = 0; i < iterations; i++)
        {
            c0 = Vector256.FusedMultiplyAdd(c0, a, b);
            c1 = Vector256.FusedMultiplyAdd(c1, a, b);
            c2 = Vector256.FusedMultiplyAdd(c2, a, b);
            c3 = Vector256.FusedMultiplyAdd(c3, a, b);
            c4 = Vector256.FusedMultiplyAdd(c4, a, b);
            c5 = Vector256.FusedMultiplyAdd(c5, a, b);
            c6 = Vector256.FusedMultiplyAdd(c6, a, b);
            c7 = Vector256.FusedMultiplyAdd(c7, a, b);
            c8 = Vector256.FusedMultiplyAdd(c8, a, b);
            c9 = Vector256.FusedMultiplyAdd(c9, a, b);
            c10 = Vector256.FusedMultiplyAdd(c10, a, b);
            c11 = Vector256.FusedMultiplyAdd(c11, a, b);
        }

        return Vector256.Sum(c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11);
    }
}
