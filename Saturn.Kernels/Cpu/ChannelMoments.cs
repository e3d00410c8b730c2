using System.Runtime.Intrinsics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Mean and Σ(x − mean)² by channel, from those of parts of the rows.</summary>
internal static unsafe class ChannelMoments
{
    /// <summary>Merges the parts in their order: M = M₁ + M₂ + δ²·n₁n₂/(n₁ + n₂) for the squares, after Chan, Golub and LeVeque (1979).</summary>
    /// <param name="partials">[parts][2][pitch]: means and squares.</param>
    /// <param name="parts">Parts; at least 1.</param>
    /// <param name="rowsOfPart">Rows of each part but the last.</param>
    /// <param name="rows">Rows of all parts together.</param>
    /// <param name="channels">Channels; what is beyond them becomes 0.</param>
    /// <param name="pitch">Channels with padding, a multiple of 8.</param>
    /// <param name="moments">[2][pitch].</param>
    public static void Merge(double* partials, int parts, double rowsOfPart, double rows, int channels, int pitch, double* moments)
    {
        Buffer.MemoryCopy(partials, moments, 2L * pitch * sizeof(double), 2L * pitch * sizeof(double));
        double count = Math.Min(rowsOfPart, rows);
        for (int part = 1; part < parts; part++)
        {
            double n = Math.Min(rowsOfPart, rows - count);
            double weight = n / (count + n);
            double spread = count * weight;
            double* mean = partials + part * 2L * pitch;
            for (int c = 0; c < pitch; c += 4)
            {
                Vector256<double> before = Vector256.Load(moments + c);
                Vector256<double> delta = Vector256.Load(mean + c) - before;
                Vector256.FusedMultiplyAdd(delta, Vector256.Create(weight), before).Store(moments + c);
                Vector256<double> squares = Vector256.Load(moments + pitch + c) + Vector256.Load(mean + pitch + c);
                Vector256.FusedMultiplyAdd(delta * delta, Vector256.Create(spread), squares).Store(moments + pitch + c);
            }

            count += n;
        }

        new Span<double>(moments + channels, pitch - channels).Clear();
        new Span<double>(moments + pitch + channels, pitch - channels).Clear();
    }

    /// <summary>Merges what tiles of rows left, in order.</summary>
    /// <param name="tiles">[tiles][4][pitch]; see <see cref="BatchStatistics"/>.</param>
    /// <param name="form">Tiles and their rows.</param>
    /// <param name="rows">All rows.</param>
    /// <param name="channels">Channels.</param>
    /// <param name="pitch">Channels with their padding.</param>
    /// <param name="moments">[2][pitch]: mean and Σ(x − mean)².</param>
    /// <param name="extrema">[2][pitch]: the largest and smallest value.</param>
    public static void MergeTiles(float* tiles, BatchStatistics form, int rows, int channels, int pitch, double* moments, float* extrema)
    {
        new Span<double>(moments, 2 * pitch).Clear();
        new Span<float>(extrema, pitch).Fill(float.NegativeInfinity);
        new Span<float>(extrema + pitch, pitch).Fill(float.PositiveInfinity);
        for (int tile = 0; tile < form.Tiles; tile++)
        {
            float* statistics = tiles + (long)tile * 4 * pitch;
            double before = (double)tile * form.RowsOfTile;
            double share = Math.Min(form.RowsOfTile, rows - before);
            for (int c = 0; c < channels; c++)
            {
                double difference = statistics[c] - moments[c];
                moments[c] += difference * (share / (before + share));
                moments[pitch + c] += statistics[pitch + c] + difference * difference * (before * share / (before + share));
                extrema[c] = MathF.Max(extrema[c], statistics[2 * pitch + c]);
                extrema[pitch + c] = MathF.Min(extrema[pitch + c], statistics[3 * pitch + c]);
            }
        }
    }
}
