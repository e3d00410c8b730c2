using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Kernels.Cpu;

/// <summary>
/// The register tiles of convolutions and their filter gradients. All sums of a tile stay in vector registers over the whole inner loop: eight broadcast scalars times one to three
/// vectors of sixteen lanes, which keeps both multiply-add units busy with room to spare for the loads.
/// </summary>
internal static unsafe class CpuConvolutionTiles
{
    /// <summary>8 pixels × 16 channels.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile1(float* source, int* pixels, TapRun* runs, int runCount, float* weights, Vector512<float>* sums)
    {
        Vector512<float> s00 = sums[0];
        Vector512<float> s10 = sums[1];
        Vector512<float> s20 = sums[2];
        Vector512<float> s30 = sums[3];
        Vector512<float> s40 = sums[4];
        Vector512<float> s50 = sums[5];
        Vector512<float> s60 = sums[6];
        Vector512<float> s70 = sums[7];
        for (int t = 0; t < runCount; t++)
        {
            float* start = source + runs[t].Offset;
            int length = runs[t].Length;
            float* p0 = start + pixels[0];
            float* p1 = start + pixels[1];
            float* p2 = start + pixels[2];
            float* p3 = start + pixels[3];
            float* p4 = start + pixels[4];
            float* p5 = start + pixels[5];
            float* p6 = start + pixels[6];
            float* p7 = start + pixels[7];
            for (nint c = 0; c < length; c++)
            {
                Vector512<float> w0 = Vector512.Load(weights);
                Vector512<float> x0 = Vector512.Create(p0[c]);
                s00 = Vector512.FusedMultiplyAdd(x0, w0, s00);
                Vector512<float> x1 = Vector512.Create(p1[c]);
                s10 = Vector512.FusedMultiplyAdd(x1, w0, s10);
                Vector512<float> x2 = Vector512.Create(p2[c]);
                s20 = Vector512.FusedMultiplyAdd(x2, w0, s20);
                Vector512<float> x3 = Vector512.Create(p3[c]);
                s30 = Vector512.FusedMultiplyAdd(x3, w0, s30);
                Vector512<float> x4 = Vector512.Create(p4[c]);
                s40 = Vector512.FusedMultiplyAdd(x4, w0, s40);
                Vector512<float> x5 = Vector512.Create(p5[c]);
                s50 = Vector512.FusedMultiplyAdd(x5, w0, s50);
                Vector512<float> x6 = Vector512.Create(p6[c]);
                s60 = Vector512.FusedMultiplyAdd(x6, w0, s60);
                Vector512<float> x7 = Vector512.Create(p7[c]);
                s70 = Vector512.FusedMultiplyAdd(x7, w0, s70);
                weights += 16;
            }
        }

        sums[0] = s00;
        sums[1] = s10;
        sums[2] = s20;
        sums[3] = s30;
        sums[4] = s40;
        sums[5] = s50;
        sums[6] = s60;
        sums[7] = s70;
    }

    /// <summary>8 pixels × 32 channels.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile2(float* source, int* pixels, TapRun* runs, int runCount, float* weights, Vector512<float>* sums)
    {
        Vector512<float> s00 = sums[0];
        Vector512<float> s01 = sums[1];
        Vector512<float> s10 = sums[2];
        Vector512<float> s11 = sums[3];
        Vector512<float> s20 = sums[4];
        Vector512<float> s21 = sums[5];
        Vector512<float> s30 = sums[6];
        Vector512<float> s31 = sums[7];
        Vector512<float> s40 = sums[8];
        Vector512<float> s41 = sums[9];
        Vector512<float> s50 = sums[10];
        Vector512<float> s51 = sums[11];
        Vector512<float> s60 = sums[12];
        Vector512<float> s61 = sums[13];
        Vector512<float> s70 = sums[14];
        Vector512<float> s71 = sums[15];
        for (int t = 0; t < runCount; t++)
        {
            float* start = source + runs[t].Offset;
            int length = runs[t].Length;
            float* p0 = start + pixels[0];
            float* p1 = start + pixels[1];
            float* p2 = start + pixels[2];
            float* p3 = start + pixels[3];
            float* p4 = start + pixels[4];
            float* p5 = start + pixels[5];
            float* p6 = start + pixels[6];
            float* p7 = start + pixels[7];
            for (nint c = 0; c < length; c++)
            {
                Vector512<float> w0 = Vector512.Load(weights);
                Vector512<float> w1 = Vector512.Load(weights + 16);
                Vector512<float> x0 = Vector512.Create(p0[c]);
                s00 = Vector512.FusedMultiplyAdd(x0, w0, s00);
                s01 = Vector512.FusedMultiplyAdd(x0, w1, s01);
                Vector512<float> x1 = Vector512.Create(p1[c]);
                s10 = Vector512.FusedMultiplyAdd(x1, w0, s10);
                s11 = Vector512.FusedMultiplyAdd(x1, w1, s11);
                Vector512<float> x2 = Vector512.Create(p2[c]);
                s20 = Vector512.FusedMultiplyAdd(x2, w0, s20);
                s21 = Vector512.FusedMultiplyAdd(x2, w1, s21);
                Vector512<float> x3 = Vector512.Create(p3[c]);
                s30 = Vector512.FusedMultiplyAdd(x3, w0, s30);
                s31 = Vector512.FusedMultiplyAdd(x3, w1, s31);
                Vector512<float> x4 = Vector512.Create(p4[c]);
                s40 = Vector512.FusedMultiplyAdd(x4, w0, s40);
                s41 = Vector512.FusedMultiplyAdd(x4, w1, s41);
                Vector512<float> x5 = Vector512.Create(p5[c]);
                s50 = Vector512.FusedMultiplyAdd(x5, w0, s50);
                s51 = Vector512.FusedMultiplyAdd(x5, w1, s51);
                Vector512<float> x6 = Vector512.Create(p6[c]);
                s60 = Vector512.FusedMultiplyAdd(x6, w0, s60);
                s61 = Vector512.FusedMultiplyAdd(x6, w1, s61);
                Vector512<float> x7 = Vector512.Create(p7[c]);
                s70 = Vector512.FusedMultiplyAdd(x7, w0, s70);
                s71 = Vector512.FusedMultiplyAdd(x7, w1, s71);
                weights += 32;
            }
        }

        sums[0] = s00;
        sums[1] = s01;
        sums[2] = s10;
        sums[3] = s11;
        sums[4] = s20;
        sums[5] = s21;
        sums[6] = s30;
        sums[7] = s31;
        sums[8] = s40;
        sums[9] = s41;
        sums[10] = s50;
        sums[11] = s51;
        sums[12] = s60;
        sums[13] = s61;
        sums[14] = s70;
        sums[15] = s71;
    }

    /// <summary>8 pixels × 48 channels.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile3(float* source, int* pixels, TapRun* runs, int runCount, float* weights, Vector512<float>* sums)
    {
        Vector512<float> s00 = sums[0];
        Vector512<float> s01 = sums[1];
        Vector512<float> s02 = sums[2];
        Vector512<float> s10 = sums[3];
        Vector512<float> s11 = sums[4];
        Vector512<float> s12 = sums[5];
        Vector512<float> s20 = sums[6];
        Vector512<float> s21 = sums[7];
        Vector512<float> s22 = sums[8];
        Vector512<float> s30 = sums[9];
        Vector512<float> s31 = sums[10];
        Vector512<float> s32 = sums[11];
        Vector512<float> s40 = sums[12];
        Vector512<float> s41 = sums[13];
        Vector512<float> s42 = sums[14];
        Vector512<float> s50 = sums[15];
        Vector512<float> s51 = sums[16];
        Vector512<float> s52 = sums[17];
        Vector512<float> s60 = sums[18];
        Vector512<float> s61 = sums[19];
        Vector512<float> s62 = sums[20];
        Vector512<float> s70 = sums[21];
        Vector512<float> s71 = sums[22];
        Vector512<float> s72 = sums[23];
        for (int t = 0; t < runCount; t++)
        {
            float* start = source + runs[t].Offset;
            int length = runs[t].Length;
            float* p0 = start + pixels[0];
            float* p1 = start + pixels[1];
            float* p2 = start + pixels[2];
            float* p3 = start + pixels[3];
            float* p4 = start + pixels[4];
            float* p5 = start + pixels[5];
            float* p6 = start + pixels[6];
            float* p7 = start + pixels[7];
            for (nint c = 0; c < length; c++)
            {
                Vector512<float> w0 = Vector512.Load(weights);
                Vector512<float> w1 = Vector512.Load(weights + 16);
                Vector512<float> w2 = Vector512.Load(weights + 32);
                Vector512<float> x0 = Vector512.Create(p0[c]);
                s00 = Vector512.FusedMultiplyAdd(x0, w0, s00);
                s01 = Vector512.FusedMultiplyAdd(x0, w1, s01);
                s02 = Vector512.FusedMultiplyAdd(x0, w2, s02);
                Vector512<float> x1 = Vector512.Create(p1[c]);
                s10 = Vector512.FusedMultiplyAdd(x1, w0, s10);
                s11 = Vector512.FusedMultiplyAdd(x1, w1, s11);
                s12 = Vector512.FusedMultiplyAdd(x1, w2, s12);
                Vector512<float> x2 = Vector512.Create(p2[c]);
                s20 = Vector512.FusedMultiplyAdd(x2, w0, s20);
                s21 = Vector512.FusedMultiplyAdd(x2, w1, s21);
                s22 = Vector512.FusedMultiplyAdd(x2, w2, s22);
                Vector512<float> x3 = Vector512.Create(p3[c]);
                s30 = Vector512.FusedMultiplyAdd(x3, w0, s30);
                s31 = Vector512.FusedMultiplyAdd(x3, w1, s31);
                s32 = Vector512.FusedMultiplyAdd(x3, w2, s32);
                Vector512<float> x4 = Vector512.Create(p4[c]);
                s40 = Vector512.FusedMultiplyAdd(x4, w0, s40);
                s41 = Vector512.FusedMultiplyAdd(x4, w1, s41);
                s42 = Vector512.FusedMultiplyAdd(x4, w2, s42);
                Vector512<float> x5 = Vector512.Create(p5[c]);
                s50 = Vector512.FusedMultiplyAdd(x5, w0, s50);
                s51 = Vector512.FusedMultiplyAdd(x5, w1, s51);
                s52 = Vector512.FusedMultiplyAdd(x5, w2, s52);
                Vector512<float> x6 = Vector512.Create(p6[c]);
                s60 = Vector512.FusedMultiplyAdd(x6, w0, s60);
                s61 = Vector512.FusedMultiplyAdd(x6, w1, s61);
                s62 = Vector512.FusedMultiplyAdd(x6, w2, s62);
                Vector512<float> x7 = Vector512.Create(p7[c]);
                s70 = Vector512.FusedMultiplyAdd(x7, w0, s70);
                s71 = Vector512.FusedMultiplyAdd(x7, w1, s71);
                s72 = Vector512.FusedMultiplyAdd(x7, w2, s72);
                weights += 48;
            }
        }

        sums[0] = s00;
        sums[1] = s01;
        sums[2] = s02;
        sums[3] = s10;
        sums[4] = s11;
        sums[5] = s12;
        sums[6] = s20;
        sums[7] = s21;
        sums[8] = s22;
        sums[9] = s30;
        sums[10] = s31;
        sums[11] = s32;
        sums[12] = s40;
        sums[13] = s41;
        sums[14] = s42;
        sums[15] = s50;
        sums[16] = s51;
        sums[17] = s52;
        sums[18] = s60;
        sums[19] = s61;
        sums[20] = s62;
        sums[21] = s70;
        sums[22] = s71;
        sums[23] = s72;
    }

    /// <summary>8 output channels × 16 filter elements, summed over the pixels of some segments.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Outer1(
        float* gradient, float* source, int segments, int length, long gradientSegment, long sourceSegment, nint gradientStep, nint sourceStep, Vector512<float>* sums)
    {
        Vector512<float> s00 = sums[0];
        Vector512<float> s10 = sums[1];
        Vector512<float> s20 = sums[2];
        Vector512<float> s30 = sums[3];
        Vector512<float> s40 = sums[4];
        Vector512<float> s50 = sums[5];
        Vector512<float> s60 = sums[6];
        Vector512<float> s70 = sums[7];
        for (int segment = 0; segment < segments; segment++)
        {
            float* g = gradient;
            float* x = source;
            for (int p = 0; p < length; p++)
            {
                Vector512<float> x0 = Vector512.Load(x);
                Vector512<float> g0 = Vector512.Create(g[0]);
                s00 = Vector512.FusedMultiplyAdd(g0, x0, s00);
                Vector512<float> g1 = Vector512.Create(g[1]);
                s10 = Vector512.FusedMultiplyAdd(g1, x0, s10);
                Vector512<float> g2 = Vector512.Create(g[2]);
                s20 = Vector512.FusedMultiplyAdd(g2, x0, s20);
                Vector512<float> g3 = Vector512.Create(g[3]);
                s30 = Vector512.FusedMultiplyAdd(g3, x0, s30);
                Vector512<float> g4 = Vector512.Create(g[4]);
                s40 = Vector512.FusedMultiplyAdd(g4, x0, s40);
                Vector512<float> g5 = Vector512.Create(g[5]);
                s50 = Vector512.FusedMultiplyAdd(g5, x0, s50);
                Vector512<float> g6 = Vector512.Create(g[6]);
                s60 = Vector512.FusedMultiplyAdd(g6, x0, s60);
                Vector512<float> g7 = Vector512.Create(g[7]);
                s70 = Vector512.FusedMultiplyAdd(g7, x0, s70);
                g += gradientStep;
                x += sourceStep;
            }

            gradient += gradientSegment;
            source += sourceSegment;
        }

        sums[0] = s00;
        sums[1] = s10;
        sums[2] = s20;
        sums[3] = s30;
        sums[4] = s40;
        sums[5] = s50;
        sums[6] = s60;
        sums[7] = s70;
    }

    /// <summary>8 output channels × 32 filter elements, summed over the pixels of some segments.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Outer2(
        float* gradient, float* source, int segments, int length, long gradientSegment, long sourceSegment, nint gradientStep, nint sourceStep, Vector512<float>* sums)
    {
        Vector512<float> s00 = sums[0];
        Vector512<float> s01 = sums[1];
        Vector512<float> s10 = sums[2];
        Vector512<float> s11 = sums[3];
        Vector512<float> s20 = sums[4];
        Vector512<float> s21 = sums[5];
        Vector512<float> s30 = sums[6];
        Vector512<float> s31 = sums[7];
        Vector512<float> s40 = sums[8];
        Vector512<float> s41 = sums[9];
        Vector512<float> s50 = sums[10];
        Vector512<float> s51 = sums[11];
        Vector512<float> s60 = sums[12];
        Vector512<float> s61 = sums[13];
        Vector512<float> s70 = sums[14];
        Vector512<float> s71 = sums[15];
        for (int segment = 0; segment < segments; segment++)
        {
            float* g = gradient;
            float* x = source;
            for (int p = 0; p < length; p++)
            {
                Vector512<float> x0 = Vector512.Load(x);
                Vector512<float> x1 = Vector512.Load(x + 16);
                Vector512<float> g0 = Vector512.Create(g[0]);
                s00 = Vector512.FusedMultiplyAdd(g0, x0, s00);
                s01 = Vector512.FusedMultiplyAdd(g0, x1, s01);
                Vector512<float> g1 = Vector512.Create(g[1]);
                s10 = Vector512.FusedMultiplyAdd(g1, x0, s10);
                s11 = Vector512.FusedMultiplyAdd(g1, x1, s11);
                Vector512<float> g2 = Vector512.Create(g[2]);
                s20 = Vector512.FusedMultiplyAdd(g2, x0, s20);
                s21 = Vector512.FusedMultiplyAdd(g2, x1, s21);
                Vector512<float> g3 = Vector512.Create(g[3]);
                s30 = Vector512.FusedMultiplyAdd(g3, x0, s30);
                s31 = Vector512.FusedMultiplyAdd(g3, x1, s31);
                Vector512<float> g4 = Vector512.Create(g[4]);
                s40 = Vector512.FusedMultiplyAdd(g4, x0, s40);
                s41 = Vector512.FusedMultiplyAdd(g4, x1, s41);
                Vector512<float> g5 = Vector512.Create(g[5]);
                s50 = Vector512.FusedMultiplyAdd(g5, x0, s50);
                s51 = Vector512.FusedMultiplyAdd(g5, x1, s51);
                Vector512<float> g6 = Vector512.Create(g[6]);
                s60 = Vector512.FusedMultiplyAdd(g6, x0, s60);
                s61 = Vector512.FusedMultiplyAdd(g6, x1, s61);
                Vector512<float> g7 = Vector512.Create(g[7]);
                s70 = Vector512.FusedMultiplyAdd(g7, x0, s70);
                s71 = Vector512.FusedMultiplyAdd(g7, x1, s71);
                g += gradientStep;
                x += sourceStep;
            }

            gradient += gradientSegment;
            source += sourceSegment;
        }

        sums[0] = s00;
        sums[1] = s01;
        sums[2] = s10;
        sums[3] = s11;
        sums[4] = s20;
        sums[5] = s21;
        sums[6] = s30;
        sums[7] = s31;
        sums[8] = s40;
        sums[9] = s41;
        sums[10] = s50;
        sums[11] = s51;
        sums[12] = s60;
        sums[13] = s61;
        sums[14] = s70;
        sums[15] = s71;
    }

    /// <summary>8 output channels × 48 filter elements, summed over the pixels of some segments.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Outer3(
        float* gradient, float* source, int segments, int length, long gradientSegment, long sourceSegment, nint gradientStep, nint sourceStep, Vector512<float>* sums)
    {
        Vector512<float> s00 = sums[0];
        Vector512<float> s01 = sums[1];
        Vector512<float> s02 = sums[2];
        Vector512<float> s10 = sums[3];
        Vector512<float> s11 = sums[4];
        Vector512<float> s12 = sums[5];
        Vector512<float> s20 = sums[6];
        Vector512<float> s21 = sums[7];
        Vector512<float> s22 = sums[8];
        Vector512<float> s30 = sums[9];
        Vector512<float> s31 = sums[10];
        Vector512<float> s32 = sums[11];
        Vector512<float> s40 = sums[12];
        Vector512<float> s41 = sums[13];
        Vector512<float> s42 = sums[14];
        Vector512<float> s50 = sums[15];
        Vector512<float> s51 = sums[16];
        Vector512<float> s52 = sums[17];
        Vector512<float> s60 = sums[18];
        Vector512<float> s61 = sums[19];
        Vector512<float> s62 = sums[20];
        Vector512<float> s70 = sums[21];
        Vector512<float> s71 = sums[22];
        Vector512<float> s72 = sums[23];
        for (int segment = 0; segment < segments; segment++)
        {
            float* g = gradient;
            float* x = source;
            for (int p = 0; p < length; p++)
            {
                Vector512<float> x0 = Vector512.Load(x);
                Vector512<float> x1 = Vector512.Load(x + 16);
                Vector512<float> x2 = Vector512.Load(x + 32);
                Vector512<float> g0 = Vector512.Create(g[0]);
                s00 = Vector512.FusedMultiplyAdd(g0, x0, s00);
                s01 = Vector512.FusedMultiplyAdd(g0, x1, s01);
                s02 = Vector512.FusedMultiplyAdd(g0, x2, s02);
                Vector512<float> g1 = Vector512.Create(g[1]);
                s10 = Vector512.FusedMultiplyAdd(g1, x0, s10);
                s11 = Vector512.FusedMultiplyAdd(g1, x1, s11);
                s12 = Vector512.FusedMultiplyAdd(g1, x2, s12);
                Vector512<float> g2 = Vector512.Create(g[2]);
                s20 = Vector512.FusedMultiplyAdd(g2, x0, s20);
                s21 = Vector512.FusedMultiplyAdd(g2, x1, s21);
                s22 = Vector512.FusedMultiplyAdd(g2, x2, s22);
                Vector512<float> g3 = Vector512.Create(g[3]);
                s30 = Vector512.FusedMultiplyAdd(g3, x0, s30);
                s31 = Vector512.FusedMultiplyAdd(g3, x1, s31);
                s32 = Vector512.FusedMultiplyAdd(g3, x2, s32);
                Vector512<float> g4 = Vector512.Create(g[4]);
                s40 = Vector512.FusedMultiplyAdd(g4, x0, s40);
                s41 = Vector512.FusedMultiplyAdd(g4, x1, s41);
                s42 = Vector512.FusedMultiplyAdd(g4, x2, s42);
                Vector512<float> g5 = Vector512.Create(g[5]);
                s50 = Vector512.FusedMultiplyAdd(g5, x0, s50);
                s51 = Vector512.FusedMultiplyAdd(g5, x1, s51);
                s52 = Vector512.FusedMultiplyAdd(g5, x2, s52);
                Vector512<float> g6 = Vector512.Create(g[6]);
                s60 = Vector512.FusedMultiplyAdd(g6, x0, s60);
                s61 = Vector512.FusedMultiplyAdd(g6, x1, s61);
                s62 = Vector512.FusedMultiplyAdd(g6, x2, s62);
                Vector512<float> g7 = Vector512.Create(g[7]);
                s70 = Vector512.FusedMultiplyAdd(g7, x0, s70);
                s71 = Vector512.FusedMultiplyAdd(g7, x1, s71);
                s72 = Vector512.FusedMultiplyAdd(g7, x2, s72);
                g += gradientStep;
                x += sourceStep;
            }

            gradient += gradientSegment;
            source += sourceSegment;
        }

        sums[0] = s00;
        sums[1] = s01;
        sums[2] = s02;
        sums[3] = s10;
        sums[4] = s11;
        sums[5] = s12;
        sums[6] = s20;
        sums[7] = s21;
        sums[8] = s22;
        sums[9] = s30;
        sums[10] = s31;
        sums[11] = s32;
        sums[12] = s40;
        sums[13] = s41;
        sums[14] = s42;
        sums[15] = s50;
        sums[16] = s51;
        sums[17] = s52;
        sums[18] = s60;
        sums[19] = s61;
        sums[20] = s62;
        sums[21] = s70;
        sums[22] = s71;
        sums[23] = s72;
    }
}
