using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Kernels.Cpu;

/// <summary>
/// The register tiles of convolutions. All sums of a tile stay in vector registers over the whole inner loop: eight broadcast scalars times one to three
/// vectors of sixteen lanes, which keeps both multiply-add units busy with room to spare for the loads.
/// </summary>
internal static unsafe class CpuConvolutionTiles
{
    /// <summary>
    /// 8 pixels × 16 channels. Eight sums would wait for each other, since a multiply-add takes four cycles and two start in each; even and odd source floats have sums of their own.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile1(float* source, int* pixels, TapRun* runs, int runCount, float* weights, Vector512<float>* sums)
    {
        Vector512<float> s0 = sums[0], t0 = Vector512<float>.Zero;
        Vector512<float> s1 = sums[1], t1 = Vector512<float>.Zero;
        Vector512<float> s2 = sums[2], t2 = Vector512<float>.Zero;
        Vector512<float> s3 = sums[3], t3 = Vector512<float>.Zero;
        Vector512<float> s4 = sums[4], t4 = Vector512<float>.Zero;
        Vector512<float> s5 = sums[5], t5 = Vector512<float>.Zero;
        Vector512<float> s6 = sums[6], t6 = Vector512<float>.Zero;
        Vector512<float> s7 = sums[7], t7 = Vector512<float>.Zero;
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
            nint c = 0;
            for (; c < length - 1; c += 2)
            {
                Vector512<float> even = Vector512.Load(weights);
                Vector512<float> odd = Vector512.Load(weights + 16);
                s0 = Vector512.FusedMultiplyAdd(Vector512.Create(p0[c]), even, s0);
                t0 = Vector512.FusedMultiplyAdd(Vector512.Create(p0[c + 1]), odd, t0);
                s1 = Vector512.FusedMultiplyAdd(Vector512.Create(p1[c]), even, s1);
                t1 = Vector512.FusedMultiplyAdd(Vector512.Create(p1[c + 1]), odd, t1);
                s2 = Vector512.FusedMultiplyAdd(Vector512.Create(p2[c]), even, s2);
                t2 = Vector512.FusedMultiplyAdd(Vector512.Create(p2[c + 1]), odd, t2);
                s3 = Vector512.FusedMultiplyAdd(Vector512.Create(p3[c]), even, s3);
                t3 = Vector512.FusedMultiplyAdd(Vector512.Create(p3[c + 1]), odd, t3);
                s4 = Vector512.FusedMultiplyAdd(Vector512.Create(p4[c]), even, s4);
                t4 = Vector512.FusedMultiplyAdd(Vector512.Create(p4[c + 1]), odd, t4);
                s5 = Vector512.FusedMultiplyAdd(Vector512.Create(p5[c]), even, s5);
                t5 = Vector512.FusedMultiplyAdd(Vector512.Create(p5[c + 1]), odd, t5);
                s6 = Vector512.FusedMultiplyAdd(Vector512.Create(p6[c]), even, s6);
                t6 = Vector512.FusedMultiplyAdd(Vector512.Create(p6[c + 1]), odd, t6);
                s7 = Vector512.FusedMultiplyAdd(Vector512.Create(p7[c]), even, s7);
                t7 = Vector512.FusedMultiplyAdd(Vector512.Create(p7[c + 1]), odd, t7);
                weights += 32;
            }

            if (c < length)
            {
                Vector512<float> last = Vector512.Load(weights);
                s0 = Vector512.FusedMultiplyAdd(Vector512.Create(p0[c]), last, s0);
                s1 = Vector512.FusedMultiplyAdd(Vector512.Create(p1[c]), last, s1);
                s2 = Vector512.FusedMultiplyAdd(Vector512.Create(p2[c]), last, s2);
                s3 = Vector512.FusedMultiplyAdd(Vector512.Create(p3[c]), last, s3);
                s4 = Vector512.FusedMultiplyAdd(Vector512.Create(p4[c]), last, s4);
                s5 = Vector512.FusedMultiplyAdd(Vector512.Create(p5[c]), last, s5);
                s6 = Vector512.FusedMultiplyAdd(Vector512.Create(p6[c]), last, s6);
                s7 = Vector512.FusedMultiplyAdd(Vector512.Create(p7[c]), last, s7);
                weights += 16;
            }
        }

        sums[0] = s0 + t0;
        sums[1] = s1 + t1;
        sums[2] = s2 + t2;
        sums[3] = s3 + t3;
        sums[4] = s4 + t4;
        sums[5] = s5 + t5;
        sums[6] = s6 + t6;
        sums[7] = s7 + t7;
    }

    /// <summary>16 pixels at one distance × 16 channels: half the work around the inner loop of <see cref="Tile1"/>, for rows of narrow layers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Row16(float* source, nint step, TapRun* runs, int runCount, float* weights, Vector512<float>* sums)
    {
        Vector512<float> s0 = sums[0];
        Vector512<float> s1 = sums[1];
        Vector512<float> s2 = sums[2];
        Vector512<float> s3 = sums[3];
        Vector512<float> s4 = sums[4];
        Vector512<float> s5 = sums[5];
        Vector512<float> s6 = sums[6];
        Vector512<float> s7 = sums[7];
        Vector512<float> s8 = sums[8];
        Vector512<float> s9 = sums[9];
        Vector512<float> s10 = sums[10];
        Vector512<float> s11 = sums[11];
        Vector512<float> s12 = sums[12];
        Vector512<float> s13 = sums[13];
        Vector512<float> s14 = sums[14];
        Vector512<float> s15 = sums[15];
        for (int t = 0; t < runCount; t++)
        {
            float* p0 = source + runs[t].Offset;
            float* p4 = p0 + 4 * step;
            float* p8 = p4 + 4 * step;
            float* p12 = p8 + 4 * step;
            int length = runs[t].Length;
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

        sums[0] = s0;
        sums[1] = s1;
        sums[2] = s2;
        sums[3] = s3;
        sums[4] = s4;
        sums[5] = s5;
        sums[6] = s6;
        sums[7] = s7;
        sums[8] = s8;
        sums[9] = s9;
        sums[10] = s10;
        sums[11] = s11;
        sums[12] = s12;
        sums[13] = s13;
        sums[14] = s14;
        sums[15] = s15;
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
}
