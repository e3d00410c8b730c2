using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Kernels.Cpu;

/// <summary>The register tiles of narrow convolutions, sixteen pixels of an output row by one vector of channels: longer than eight pixels, because they are all that fills the registers.</summary>
internal static unsafe class CpuConvolutionRows
{
    /// <summary>16 neighbouring pixels × 16 channels, any runs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Row(in ConvolutionTile tile)
    {
        Vector512<float> s0 = Vector512.Load(tile.Initial);
        Vector512<float> s1 = Vector512.Load(tile.Initial);
        Vector512<float> s2 = Vector512.Load(tile.Initial);
        Vector512<float> s3 = Vector512.Load(tile.Initial);
        Vector512<float> s4 = Vector512.Load(tile.Initial);
        Vector512<float> s5 = Vector512.Load(tile.Initial);
        Vector512<float> s6 = Vector512.Load(tile.Initial);
        Vector512<float> s7 = Vector512.Load(tile.Initial);
        Vector512<float> s8 = Vector512.Load(tile.Initial);
        Vector512<float> s9 = Vector512.Load(tile.Initial);
        Vector512<float> s10 = Vector512.Load(tile.Initial);
        Vector512<float> s11 = Vector512.Load(tile.Initial);
        Vector512<float> s12 = Vector512.Load(tile.Initial);
        Vector512<float> s13 = Vector512.Load(tile.Initial);
        Vector512<float> s14 = Vector512.Load(tile.Initial);
        Vector512<float> s15 = Vector512.Load(tile.Initial);
        if (tile.Load)
        {
            float* loaded = tile.Output;
            int* from = tile.OutputOffsets;
            s0 = Vector512.Load(loaded + from[0]);
            s1 = Vector512.Load(loaded + from[1]);
            s2 = Vector512.Load(loaded + from[2]);
            s3 = Vector512.Load(loaded + from[3]);
            s4 = Vector512.Load(loaded + from[4]);
            s5 = Vector512.Load(loaded + from[5]);
            s6 = Vector512.Load(loaded + from[6]);
            s7 = Vector512.Load(loaded + from[7]);
            s8 = Vector512.Load(loaded + from[8]);
            s9 = Vector512.Load(loaded + from[9]);
            s10 = Vector512.Load(loaded + from[10]);
            s11 = Vector512.Load(loaded + from[11]);
            s12 = Vector512.Load(loaded + from[12]);
            s13 = Vector512.Load(loaded + from[13]);
            s14 = Vector512.Load(loaded + from[14]);
            s15 = Vector512.Load(loaded + from[15]);
        }

        TapRun* run = tile.Runs;
        TapRun* end = run + tile.RunCount;
        float* weights = tile.Weights;
        float* source = tile.Source + tile.Pixels[0];
        nint step = tile.Step;
        for (; run < end; run++)
        {
            float* p0 = source + run->Offset;
            float* p4 = p0 + 4 * step;
            float* p8 = p4 + 4 * step;
            float* p12 = p8 + 4 * step;
            int length = run->Length;
            for (int c = 0; c < length; c++)
            {
                Vector512<float> w = Vector512.Load(weights);
                s0 = Vector512.FusedMultiplyAdd(Vector512.Create(*p0), w, s0);
                s1 = Vector512.FusedMultiplyAdd(Vector512.Create(p0[step]), w, s1);
                s2 = Vector512.FusedMultiplyAdd(Vector512.Create(p0[2 * step]), w, s2);
                s3 = Vector512.FusedMultiplyAdd(Vector512.Create(p0[3 * step]), w, s3);
                s4 = Vector512.FusedMultiplyAdd(Vector512.Create(*p4), w, s4);
                s5 = Vector512.FusedMultiplyAdd(Vector512.Create(p4[step]), w, s5);
                s6 = Vector512.FusedMultiplyAdd(Vector512.Create(p4[2 * step]), w, s6);
                s7 = Vector512.FusedMultiplyAdd(Vector512.Create(p4[3 * step]), w, s7);
                s8 = Vector512.FusedMultiplyAdd(Vector512.Create(*p8), w, s8);
                s9 = Vector512.FusedMultiplyAdd(Vector512.Create(p8[step]), w, s9);
                s10 = Vector512.FusedMultiplyAdd(Vector512.Create(p8[2 * step]), w, s10);
                s11 = Vector512.FusedMultiplyAdd(Vector512.Create(p8[3 * step]), w, s11);
                s12 = Vector512.FusedMultiplyAdd(Vector512.Create(*p12), w, s12);
                s13 = Vector512.FusedMultiplyAdd(Vector512.Create(p12[step]), w, s13);
                s14 = Vector512.FusedMultiplyAdd(Vector512.Create(p12[2 * step]), w, s14);
                s15 = Vector512.FusedMultiplyAdd(Vector512.Create(p12[3 * step]), w, s15);
                p0++;
                p4++;
                p8++;
                p12++;
                weights += 16;
            }
        }

        float* output = tile.Output;
        int* to = tile.OutputOffsets;
        s0.Store(output + to[0]);
        s1.Store(output + to[1]);
        s2.Store(output + to[2]);
        s3.Store(output + to[3]);
        s4.Store(output + to[4]);
        s5.Store(output + to[5]);
        s6.Store(output + to[6]);
        s7.Store(output + to[7]);
        s8.Store(output + to[8]);
        s9.Store(output + to[9]);
        s10.Store(output + to[10]);
        s11.Store(output + to[11]);
        s12.Store(output + to[12]);
        s13.Store(output + to[13]);
        s14.Store(output + to[14]);
        s15.Store(output + to[15]);
    }

    /// <summary>
    /// 16 neighbouring pixels × 16 channels under runs of three neighbouring taps. Each broadcast source value serves the three pixels that see it through different taps, so that
    /// 48 multiply-adds take 21 loads instead of 51.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void RowOfThreeTaps(in ConvolutionTile tile)
    {
        Vector512<float> s0 = Vector512.Load(tile.Initial);
        Vector512<float> s1 = Vector512.Load(tile.Initial);
        Vector512<float> s2 = Vector512.Load(tile.Initial);
        Vector512<float> s3 = Vector512.Load(tile.Initial);
        Vector512<float> s4 = Vector512.Load(tile.Initial);
        Vector512<float> s5 = Vector512.Load(tile.Initial);
        Vector512<float> s6 = Vector512.Load(tile.Initial);
        Vector512<float> s7 = Vector512.Load(tile.Initial);
        Vector512<float> s8 = Vector512.Load(tile.Initial);
        Vector512<float> s9 = Vector512.Load(tile.Initial);
        Vector512<float> s10 = Vector512.Load(tile.Initial);
        Vector512<float> s11 = Vector512.Load(tile.Initial);
        Vector512<float> s12 = Vector512.Load(tile.Initial);
        Vector512<float> s13 = Vector512.Load(tile.Initial);
        Vector512<float> s14 = Vector512.Load(tile.Initial);
        Vector512<float> s15 = Vector512.Load(tile.Initial);
        if (tile.Load)
        {
            float* loaded = tile.Output;
            int* from = tile.OutputOffsets;
            s0 = Vector512.Load(loaded + from[0]);
            s1 = Vector512.Load(loaded + from[1]);
            s2 = Vector512.Load(loaded + from[2]);
            s3 = Vector512.Load(loaded + from[3]);
            s4 = Vector512.Load(loaded + from[4]);
            s5 = Vector512.Load(loaded + from[5]);
            s6 = Vector512.Load(loaded + from[6]);
            s7 = Vector512.Load(loaded + from[7]);
            s8 = Vector512.Load(loaded + from[8]);
            s9 = Vector512.Load(loaded + from[9]);
            s10 = Vector512.Load(loaded + from[10]);
            s11 = Vector512.Load(loaded + from[11]);
            s12 = Vector512.Load(loaded + from[12]);
            s13 = Vector512.Load(loaded + from[13]);
            s14 = Vector512.Load(loaded + from[14]);
            s15 = Vector512.Load(loaded + from[15]);
        }

        TapRun* run = tile.Runs;
        TapRun* end = run + tile.RunCount;
        float* weights = tile.Weights;
        float* source = tile.Source + tile.Pixels[0];
        nint step = tile.Step;
        for (; run < end; run++)
        {
            float* p0 = source + run->Offset;
            float* p4 = p0 + 4 * step;
            float* p8 = p4 + 4 * step;
            float* p12 = p8 + 4 * step;
            float* p16 = p12 + 4 * step;
            float* weights1 = weights + 16 * step;
            float* weights2 = weights1 + 16 * step;
            for (nint c = 0; c < step; c++)
            {
                Vector512<float> w0 = Vector512.Load(weights);
                Vector512<float> w1 = Vector512.Load(weights1);
                Vector512<float> w2 = Vector512.Load(weights2);
                Vector512<float> x0 = Vector512.Create(*p0);
                s0 = Vector512.FusedMultiplyAdd(x0, w0, s0);
                Vector512<float> x1 = Vector512.Create(p0[step]);
                s1 = Vector512.FusedMultiplyAdd(x1, w0, s1);
                s0 = Vector512.FusedMultiplyAdd(x1, w1, s0);
                Vector512<float> x2 = Vector512.Create(p0[2 * step]);
                s2 = Vector512.FusedMultiplyAdd(x2, w0, s2);
                s1 = Vector512.FusedMultiplyAdd(x2, w1, s1);
                s0 = Vector512.FusedMultiplyAdd(x2, w2, s0);
                Vector512<float> x3 = Vector512.Create(p0[3 * step]);
                s3 = Vector512.FusedMultiplyAdd(x3, w0, s3);
                s2 = Vector512.FusedMultiplyAdd(x3, w1, s2);
                s1 = Vector512.FusedMultiplyAdd(x3, w2, s1);
                Vector512<float> x4 = Vector512.Create(*p4);
                s4 = Vector512.FusedMultiplyAdd(x4, w0, s4);
                s3 = Vector512.FusedMultiplyAdd(x4, w1, s3);
                s2 = Vector512.FusedMultiplyAdd(x4, w2, s2);
                Vector512<float> x5 = Vector512.Create(p4[step]);
                s5 = Vector512.FusedMultiplyAdd(x5, w0, s5);
                s4 = Vector512.FusedMultiplyAdd(x5, w1, s4);
                s3 = Vector512.FusedMultiplyAdd(x5, w2, s3);
                Vector512<float> x6 = Vector512.Create(p4[2 * step]);
                s6 = Vector512.FusedMultiplyAdd(x6, w0, s6);
                s5 = Vector512.FusedMultiplyAdd(x6, w1, s5);
                s4 = Vector512.FusedMultiplyAdd(x6, w2, s4);
                Vector512<float> x7 = Vector512.Create(p4[3 * step]);
                s7 = Vector512.FusedMultiplyAdd(x7, w0, s7);
                s6 = Vector512.FusedMultiplyAdd(x7, w1, s6);
                s5 = Vector512.FusedMultiplyAdd(x7, w2, s5);
                Vector512<float> x8 = Vector512.Create(*p8);
                s8 = Vector512.FusedMultiplyAdd(x8, w0, s8);
                s7 = Vector512.FusedMultiplyAdd(x8, w1, s7);
                s6 = Vector512.FusedMultiplyAdd(x8, w2, s6);
                Vector512<float> x9 = Vector512.Create(p8[step]);
                s9 = Vector512.FusedMultiplyAdd(x9, w0, s9);
                s8 = Vector512.FusedMultiplyAdd(x9, w1, s8);
                s7 = Vector512.FusedMultiplyAdd(x9, w2, s7);
                Vector512<float> x10 = Vector512.Create(p8[2 * step]);
                s10 = Vector512.FusedMultiplyAdd(x10, w0, s10);
                s9 = Vector512.FusedMultiplyAdd(x10, w1, s9);
                s8 = Vector512.FusedMultiplyAdd(x10, w2, s8);
                Vector512<float> x11 = Vector512.Create(p8[3 * step]);
                s11 = Vector512.FusedMultiplyAdd(x11, w0, s11);
                s10 = Vector512.FusedMultiplyAdd(x11, w1, s10);
                s9 = Vector512.FusedMultiplyAdd(x11, w2, s9);
                Vector512<float> x12 = Vector512.Create(*p12);
                s12 = Vector512.FusedMultiplyAdd(x12, w0, s12);
                s11 = Vector512.FusedMultiplyAdd(x12, w1, s11);
                s10 = Vector512.FusedMultiplyAdd(x12, w2, s10);
                Vector512<float> x13 = Vector512.Create(p12[step]);
                s13 = Vector512.FusedMultiplyAdd(x13, w0, s13);
                s12 = Vector512.FusedMultiplyAdd(x13, w1, s12);
                s11 = Vector512.FusedMultiplyAdd(x13, w2, s11);
                Vector512<float> x14 = Vector512.Create(p12[2 * step]);
                s14 = Vector512.FusedMultiplyAdd(x14, w0, s14);
                s13 = Vector512.FusedMultiplyAdd(x14, w1, s13);
                s12 = Vector512.FusedMultiplyAdd(x14, w2, s12);
                Vector512<float> x15 = Vector512.Create(p12[3 * step]);
                s15 = Vector512.FusedMultiplyAdd(x15, w0, s15);
                s14 = Vector512.FusedMultiplyAdd(x15, w1, s14);
                s13 = Vector512.FusedMultiplyAdd(x15, w2, s13);
                Vector512<float> x16 = Vector512.Create(*p16);
                s15 = Vector512.FusedMultiplyAdd(x16, w1, s15);
                s14 = Vector512.FusedMultiplyAdd(x16, w2, s14);
                Vector512<float> x17 = Vector512.Create(p16[step]);
                s15 = Vector512.FusedMultiplyAdd(x17, w2, s15);
                p0++;
                p4++;
                p8++;
                p12++;
                p16++;
                weights += 16;
                weights1 += 16;
                weights2 += 16;
            }

            weights = weights2;
        }

        float* output = tile.Output;
        int* to = tile.OutputOffsets;
        s0.Store(output + to[0]);
        s1.Store(output + to[1]);
        s2.Store(output + to[2]);
        s3.Store(output + to[3]);
        s4.Store(output + to[4]);
        s5.Store(output + to[5]);
        s6.Store(output + to[6]);
        s7.Store(output + to[7]);
        s8.Store(output + to[8]);
        s9.Store(output + to[9]);
        s10.Store(output + to[10]);
        s11.Store(output + to[11]);
        s12.Store(output + to[12]);
        s13.Store(output + to[13]);
        s14.Store(output + to[14]);
        s15.Store(output + to[15]);
    }
}
