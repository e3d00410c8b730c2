using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Kernels.Cpu;

/// <summary>One register tile of a convolution: some output pixels by one to three vectors of output channels, over a list of source stretches.</summary>
internal unsafe struct ConvolutionTile
{
    /// <summary>The source of an output pixel of offset 0.</summary>
    public float* Source;

    /// <summary>Floats from there to the source of each pixel.</summary>
    public int* Pixels;
    public TapRun* Runs;
    public int RunCount;

    /// <summary>For each source float in the order of the runs, the weights of the tile's channels.</summary>
    public float* Weights;

    /// <summary>What the sums of every pixel begin with: the bias, or zeros.</summary>
    public float* Initial;

    /// <summary>The output at the tile's first channel, for an output pixel of offset 0.</summary>
    public float* Output;

    /// <summary>Floats from there to each output pixel.</summary>
    public int* OutputOffsets;

    /// <summary>Whether the output holds sums that are continued.</summary>
    public bool Load;

    /// <summary>Floats from the source of one pixel to that of the next, in the tiles of rows.</summary>
    public nint Step;
}

/// <summary>
/// The register tiles of convolutions over any eight pixels. All sums of a tile stay in vector registers over the whole inner loop: eight broadcast scalars times one to three
/// vectors of sixteen lanes, which keeps both multiply-add units busy with room to spare for the loads.
/// </summary>
internal static unsafe class CpuConvolutionTiles
{
    /// <summary>8 pixels × 16 channels.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile1(in ConvolutionTile tile)
    {
        Vector512<float> s0 = Vector512.Load(tile.Initial);
        Vector512<float> s1 = Vector512.Load(tile.Initial);
        Vector512<float> s2 = Vector512.Load(tile.Initial);
        Vector512<float> s3 = Vector512.Load(tile.Initial);
        Vector512<float> s4 = Vector512.Load(tile.Initial);
        Vector512<float> s5 = Vector512.Load(tile.Initial);
        Vector512<float> s6 = Vector512.Load(tile.Initial);
        Vector512<float> s7 = Vector512.Load(tile.Initial);
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
        }

        TapRun* run = tile.Runs;
        TapRun* end = run + tile.RunCount;
        float* weights = tile.Weights;
        int* pixels = tile.Pixels;
        for (; run < end; run++)
        {
            float* start = tile.Source + run->Offset;
            nint length = run->Length;
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
                Vector512<float> w = Vector512.Load(weights);
                s0 = Vector512.FusedMultiplyAdd(Vector512.Create(p0[c]), w, s0);
                s1 = Vector512.FusedMultiplyAdd(Vector512.Create(p1[c]), w, s1);
                s2 = Vector512.FusedMultiplyAdd(Vector512.Create(p2[c]), w, s2);
                s3 = Vector512.FusedMultiplyAdd(Vector512.Create(p3[c]), w, s3);
                s4 = Vector512.FusedMultiplyAdd(Vector512.Create(p4[c]), w, s4);
                s5 = Vector512.FusedMultiplyAdd(Vector512.Create(p5[c]), w, s5);
                s6 = Vector512.FusedMultiplyAdd(Vector512.Create(p6[c]), w, s6);
                s7 = Vector512.FusedMultiplyAdd(Vector512.Create(p7[c]), w, s7);
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
    }

    /// <summary>8 pixels × 32 channels.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile2(in ConvolutionTile tile)
    {
        Vector512<float> s00 = Vector512.Load(tile.Initial);
        Vector512<float> s01 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s10 = Vector512.Load(tile.Initial);
        Vector512<float> s11 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s20 = Vector512.Load(tile.Initial);
        Vector512<float> s21 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s30 = Vector512.Load(tile.Initial);
        Vector512<float> s31 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s40 = Vector512.Load(tile.Initial);
        Vector512<float> s41 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s50 = Vector512.Load(tile.Initial);
        Vector512<float> s51 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s60 = Vector512.Load(tile.Initial);
        Vector512<float> s61 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s70 = Vector512.Load(tile.Initial);
        Vector512<float> s71 = Vector512.Load(tile.Initial + 16);
        if (tile.Load)
        {
            float* loaded = tile.Output;
            int* from = tile.OutputOffsets;
            s00 = Vector512.Load(loaded + from[0]);
            s01 = Vector512.Load(loaded + from[0] + 16);
            s10 = Vector512.Load(loaded + from[1]);
            s11 = Vector512.Load(loaded + from[1] + 16);
            s20 = Vector512.Load(loaded + from[2]);
            s21 = Vector512.Load(loaded + from[2] + 16);
            s30 = Vector512.Load(loaded + from[3]);
            s31 = Vector512.Load(loaded + from[3] + 16);
            s40 = Vector512.Load(loaded + from[4]);
            s41 = Vector512.Load(loaded + from[4] + 16);
            s50 = Vector512.Load(loaded + from[5]);
            s51 = Vector512.Load(loaded + from[5] + 16);
            s60 = Vector512.Load(loaded + from[6]);
            s61 = Vector512.Load(loaded + from[6] + 16);
            s70 = Vector512.Load(loaded + from[7]);
            s71 = Vector512.Load(loaded + from[7] + 16);
        }

        TapRun* run = tile.Runs;
        TapRun* end = run + tile.RunCount;
        float* weights = tile.Weights;
        int* pixels = tile.Pixels;
        for (; run < end; run++)
        {
            float* start = tile.Source + run->Offset;
            nint length = run->Length;
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

        float* output = tile.Output;
        int* to = tile.OutputOffsets;
        s00.Store(output + to[0]);
        s01.Store(output + to[0] + 16);
        s10.Store(output + to[1]);
        s11.Store(output + to[1] + 16);
        s20.Store(output + to[2]);
        s21.Store(output + to[2] + 16);
        s30.Store(output + to[3]);
        s31.Store(output + to[3] + 16);
        s40.Store(output + to[4]);
        s41.Store(output + to[4] + 16);
        s50.Store(output + to[5]);
        s51.Store(output + to[5] + 16);
        s60.Store(output + to[6]);
        s61.Store(output + to[6] + 16);
        s70.Store(output + to[7]);
        s71.Store(output + to[7] + 16);
    }

    /// <summary>8 pixels × 48 channels.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile3(in ConvolutionTile tile)
    {
        Vector512<float> s00 = Vector512.Load(tile.Initial);
        Vector512<float> s01 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s02 = Vector512.Load(tile.Initial + 32);
        Vector512<float> s10 = Vector512.Load(tile.Initial);
        Vector512<float> s11 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s12 = Vector512.Load(tile.Initial + 32);
        Vector512<float> s20 = Vector512.Load(tile.Initial);
        Vector512<float> s21 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s22 = Vector512.Load(tile.Initial + 32);
        Vector512<float> s30 = Vector512.Load(tile.Initial);
        Vector512<float> s31 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s32 = Vector512.Load(tile.Initial + 32);
        Vector512<float> s40 = Vector512.Load(tile.Initial);
        Vector512<float> s41 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s42 = Vector512.Load(tile.Initial + 32);
        Vector512<float> s50 = Vector512.Load(tile.Initial);
        Vector512<float> s51 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s52 = Vector512.Load(tile.Initial + 32);
        Vector512<float> s60 = Vector512.Load(tile.Initial);
        Vector512<float> s61 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s62 = Vector512.Load(tile.Initial + 32);
        Vector512<float> s70 = Vector512.Load(tile.Initial);
        Vector512<float> s71 = Vector512.Load(tile.Initial + 16);
        Vector512<float> s72 = Vector512.Load(tile.Initial + 32);
        if (tile.Load)
        {
            float* loaded = tile.Output;
            int* from = tile.OutputOffsets;
            s00 = Vector512.Load(loaded + from[0]);
            s01 = Vector512.Load(loaded + from[0] + 16);
            s02 = Vector512.Load(loaded + from[0] + 32);
            s10 = Vector512.Load(loaded + from[1]);
            s11 = Vector512.Load(loaded + from[1] + 16);
            s12 = Vector512.Load(loaded + from[1] + 32);
            s20 = Vector512.Load(loaded + from[2]);
            s21 = Vector512.Load(loaded + from[2] + 16);
            s22 = Vector512.Load(loaded + from[2] + 32);
            s30 = Vector512.Load(loaded + from[3]);
            s31 = Vector512.Load(loaded + from[3] + 16);
            s32 = Vector512.Load(loaded + from[3] + 32);
            s40 = Vector512.Load(loaded + from[4]);
            s41 = Vector512.Load(loaded + from[4] + 16);
            s42 = Vector512.Load(loaded + from[4] + 32);
            s50 = Vector512.Load(loaded + from[5]);
            s51 = Vector512.Load(loaded + from[5] + 16);
            s52 = Vector512.Load(loaded + from[5] + 32);
            s60 = Vector512.Load(loaded + from[6]);
            s61 = Vector512.Load(loaded + from[6] + 16);
            s62 = Vector512.Load(loaded + from[6] + 32);
            s70 = Vector512.Load(loaded + from[7]);
            s71 = Vector512.Load(loaded + from[7] + 16);
            s72 = Vector512.Load(loaded + from[7] + 32);
        }

        TapRun* run = tile.Runs;
        TapRun* end = run + tile.RunCount;
        float* weights = tile.Weights;
        int* pixels = tile.Pixels;
        for (; run < end; run++)
        {
            float* start = tile.Source + run->Offset;
            nint length = run->Length;
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

        float* output = tile.Output;
        int* to = tile.OutputOffsets;
        s00.Store(output + to[0]);
        s01.Store(output + to[0] + 16);
        s02.Store(output + to[0] + 32);
        s10.Store(output + to[1]);
        s11.Store(output + to[1] + 16);
        s12.Store(output + to[1] + 32);
        s20.Store(output + to[2]);
        s21.Store(output + to[2] + 16);
        s22.Store(output + to[2] + 32);
        s30.Store(output + to[3]);
        s31.Store(output + to[3] + 16);
        s32.Store(output + to[3] + 32);
        s40.Store(output + to[4]);
        s41.Store(output + to[4] + 16);
        s42.Store(output + to[4] + 32);
        s50.Store(output + to[5]);
        s51.Store(output + to[5] + 16);
        s52.Store(output + to[5] + 32);
        s60.Store(output + to[6]);
        s61.Store(output + to[6] + 16);
        s62.Store(output + to[6] + 32);
        s70.Store(output + to[7]);
        s71.Store(output + to[7] + 16);
        s72.Store(output + to[7] + 32);
    }
}
