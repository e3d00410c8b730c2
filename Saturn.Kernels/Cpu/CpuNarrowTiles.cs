using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Kernels.Cpu;

/// <summary>
/// The register tiles for processors with 256-bit vectors, which have sixteen vector registers: up to twelve sums, and the rest for the operands. They compute what the 512-bit tiles
/// compute from the same packed data, each sum in the same order.
/// </summary>
internal static unsafe class CpuNarrowTiles
{
    /// <summary>Pixels of <see cref="Convolution"/>.</summary>
    public const int Pixels = 6;

    /// <summary>6 pixels × 16 channels of a convolution.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Convolution(in ConvolutionTile tile)
    {
        Vector256<float> s00 = Vector256.Load(tile.Initial);
        Vector256<float> s01 = Vector256.Load(tile.Initial + 8);
        Vector256<float> s10 = Vector256.Load(tile.Initial);
        Vector256<float> s11 = Vector256.Load(tile.Initial + 8);
        Vector256<float> s20 = Vector256.Load(tile.Initial);
        Vector256<float> s21 = Vector256.Load(tile.Initial + 8);
        Vector256<float> s30 = Vector256.Load(tile.Initial);
        Vector256<float> s31 = Vector256.Load(tile.Initial + 8);
        Vector256<float> s40 = Vector256.Load(tile.Initial);
        Vector256<float> s41 = Vector256.Load(tile.Initial + 8);
        Vector256<float> s50 = Vector256.Load(tile.Initial);
        Vector256<float> s51 = Vector256.Load(tile.Initial + 8);
        if (tile.Load)
        {
            float* loaded = tile.Output;
            int* from = tile.OutputOffsets;
            s00 = Vector256.Load(loaded + from[0]);
            s01 = Vector256.Load(loaded + from[0] + 8);
            s10 = Vector256.Load(loaded + from[1]);
            s11 = Vector256.Load(loaded + from[1] + 8);
            s20 = Vector256.Load(loaded + from[2]);
            s21 = Vector256.Load(loaded + from[2] + 8);
            s30 = Vector256.Load(loaded + from[3]);
            s31 = Vector256.Load(loaded + from[3] + 8);
            s40 = Vector256.Load(loaded + from[4]);
            s41 = Vector256.Load(loaded + from[4] + 8);
            s50 = Vector256.Load(loaded + from[5]);
            s51 = Vector256.Load(loaded + from[5] + 8);
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
            for (nint c = 0; c < length; c++)
            {
                Vector256<float> w0 = Vector256.Load(weights);
                Vector256<float> w1 = Vector256.Load(weights + 8);
                Vector256<float> x0 = Vector256.Create(p0[c]);
                s00 = Vector256.FusedMultiplyAdd(x0, w0, s00);
                s01 = Vector256.FusedMultiplyAdd(x0, w1, s01);
                Vector256<float> x1 = Vector256.Create(p1[c]);
                s10 = Vector256.FusedMultiplyAdd(x1, w0, s10);
                s11 = Vector256.FusedMultiplyAdd(x1, w1, s11);
                Vector256<float> x2 = Vector256.Create(p2[c]);
                s20 = Vector256.FusedMultiplyAdd(x2, w0, s20);
                s21 = Vector256.FusedMultiplyAdd(x2, w1, s21);
                Vector256<float> x3 = Vector256.Create(p3[c]);
                s30 = Vector256.FusedMultiplyAdd(x3, w0, s30);
                s31 = Vector256.FusedMultiplyAdd(x3, w1, s31);
                Vector256<float> x4 = Vector256.Create(p4[c]);
                s40 = Vector256.FusedMultiplyAdd(x4, w0, s40);
                s41 = Vector256.FusedMultiplyAdd(x4, w1, s41);
                Vector256<float> x5 = Vector256.Create(p5[c]);
                s50 = Vector256.FusedMultiplyAdd(x5, w0, s50);
                s51 = Vector256.FusedMultiplyAdd(x5, w1, s51);
                weights += 16;
            }
        }

        float* output = tile.Output;
        int* to = tile.OutputOffsets;
        s00.Store(output + to[0]);
        s01.Store(output + to[0] + 8);
        s10.Store(output + to[1]);
        s11.Store(output + to[1] + 8);
        s20.Store(output + to[2]);
        s21.Store(output + to[2] + 8);
        s30.Store(output + to[3]);
        s31.Store(output + to[3] + 8);
        s40.Store(output + to[4]);
        s41.Store(output + to[4] + 8);
        s50.Store(output + to[5]);
        s51.Store(output + to[5] + 8);
    }

    /// <summary>8 output channels × 16, 32 or 48 filter elements of a filter gradient.</summary>
    public static void FilterGradient(in FilterTile tile, int vectors)
    {
        FilterTile part = tile;
        for (int half = 0; half < 2; half++)
        {
            nint row = half * 4 * tile.TargetRow;
            part.Gradient = tile.Gradient + half * 4;
            if (vectors == 3)
            {
                Place(ref part, tile.Source0, tile.Source0 + 8, tile.Source1, tile.Target0 + row, tile.Target0 + row + 8, tile.Target1 + row);
                FilterGradient3(part);
                Place(ref part, tile.Source1 + 8, tile.Source2, tile.Source2 + 8, tile.Target1 + row + 8, tile.Target2 + row, tile.Target2 + row + 8);
                FilterGradient3(part);
                continue;
            }

            Place(ref part, tile.Source0, tile.Source0 + 8, null, tile.Target0 + row, tile.Target0 + row + 8, null);
            FilterGradient2(part);
            if (vectors == 2)
            {
                Place(ref part, tile.Source1, tile.Source1 + 8, null, tile.Target1 + row, tile.Target1 + row + 8, null);
                FilterGradient2(part);
            }
        }
    }

    private static void Place(ref FilterTile part, float* source0, float* source1, float* source2, float* target0, float* target1, float* target2)
    {
        part.Source0 = source0;
        part.Source1 = source1;
        part.Source2 = source2;
        part.Target0 = target0;
        part.Target1 = target1;
        part.Target2 = target2;
    }

    /// <summary>4 output channels × 24 filter elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FilterGradient3(in FilterTile tile)
    {
        Vector256<float> s00 = Vector256<float>.Zero;
        Vector256<float> s01 = Vector256<float>.Zero;
        Vector256<float> s02 = Vector256<float>.Zero;
        Vector256<float> s10 = Vector256<float>.Zero;
        Vector256<float> s11 = Vector256<float>.Zero;
        Vector256<float> s12 = Vector256<float>.Zero;
        Vector256<float> s20 = Vector256<float>.Zero;
        Vector256<float> s21 = Vector256<float>.Zero;
        Vector256<float> s22 = Vector256<float>.Zero;
        Vector256<float> s30 = Vector256<float>.Zero;
        Vector256<float> s31 = Vector256<float>.Zero;
        Vector256<float> s32 = Vector256<float>.Zero;
        nint row = tile.TargetRow;
        if (tile.Load)
        {
            float* load0 = tile.Target0;
            s00 = Vector256.Load(load0);
            s10 = Vector256.Load(load0 + row);
            s20 = Vector256.Load(load0 + 2 * row);
            s30 = Vector256.Load(load0 + 3 * row);
            float* load1 = tile.Target1;
            s01 = Vector256.Load(load1);
            s11 = Vector256.Load(load1 + row);
            s21 = Vector256.Load(load1 + 2 * row);
            s31 = Vector256.Load(load1 + 3 * row);
            float* load2 = tile.Target2;
            s02 = Vector256.Load(load2);
            s12 = Vector256.Load(load2 + row);
            s22 = Vector256.Load(load2 + 2 * row);
            s32 = Vector256.Load(load2 + 3 * row);
        }

        float* gradient = tile.Gradient;
        nint step = tile.GradientStep;
        float* source0 = tile.Source0;
        float* source1 = tile.Source1;
        float* source2 = tile.Source2;
        int* offset = tile.Offsets;
        int* end = offset + tile.Pixels;
        for (; offset < end; offset++)
        {
            nint pixel = *offset;
            Vector256<float> x0 = Vector256.Load(source0 + pixel);
            Vector256<float> x1 = Vector256.Load(source1 + pixel);
            Vector256<float> x2 = Vector256.Load(source2 + pixel);
            Vector256<float> g0 = Vector256.Create(gradient[0]);
            s00 = Vector256.FusedMultiplyAdd(g0, x0, s00);
            s01 = Vector256.FusedMultiplyAdd(g0, x1, s01);
            s02 = Vector256.FusedMultiplyAdd(g0, x2, s02);
            Vector256<float> g1 = Vector256.Create(gradient[1]);
            s10 = Vector256.FusedMultiplyAdd(g1, x0, s10);
            s11 = Vector256.FusedMultiplyAdd(g1, x1, s11);
            s12 = Vector256.FusedMultiplyAdd(g1, x2, s12);
            Vector256<float> g2 = Vector256.Create(gradient[2]);
            s20 = Vector256.FusedMultiplyAdd(g2, x0, s20);
            s21 = Vector256.FusedMultiplyAdd(g2, x1, s21);
            s22 = Vector256.FusedMultiplyAdd(g2, x2, s22);
            Vector256<float> g3 = Vector256.Create(gradient[3]);
            s30 = Vector256.FusedMultiplyAdd(g3, x0, s30);
            s31 = Vector256.FusedMultiplyAdd(g3, x1, s31);
            s32 = Vector256.FusedMultiplyAdd(g3, x2, s32);
            gradient += step;
        }

        float* store0 = tile.Target0;
        s00.Store(store0);
        s10.Store(store0 + row);
        s20.Store(store0 + 2 * row);
        s30.Store(store0 + 3 * row);
        float* store1 = tile.Target1;
        s01.Store(store1);
        s11.Store(store1 + row);
        s21.Store(store1 + 2 * row);
        s31.Store(store1 + 3 * row);
        float* store2 = tile.Target2;
        s02.Store(store2);
        s12.Store(store2 + row);
        s22.Store(store2 + 2 * row);
        s32.Store(store2 + 3 * row);
    }

    /// <summary>4 output channels × 16 filter elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FilterGradient2(in FilterTile tile)
    {
        Vector256<float> s00 = Vector256<float>.Zero;
        Vector256<float> s01 = Vector256<float>.Zero;
        Vector256<float> s10 = Vector256<float>.Zero;
        Vector256<float> s11 = Vector256<float>.Zero;
        Vector256<float> s20 = Vector256<float>.Zero;
        Vector256<float> s21 = Vector256<float>.Zero;
        Vector256<float> s30 = Vector256<float>.Zero;
        Vector256<float> s31 = Vector256<float>.Zero;
        nint row = tile.TargetRow;
        if (tile.Load)
        {
            float* load0 = tile.Target0;
            s00 = Vector256.Load(load0);
            s10 = Vector256.Load(load0 + row);
            s20 = Vector256.Load(load0 + 2 * row);
            s30 = Vector256.Load(load0 + 3 * row);
            float* load1 = tile.Target1;
            s01 = Vector256.Load(load1);
            s11 = Vector256.Load(load1 + row);
            s21 = Vector256.Load(load1 + 2 * row);
            s31 = Vector256.Load(load1 + 3 * row);
        }

        float* gradient = tile.Gradient;
        nint step = tile.GradientStep;
        float* source0 = tile.Source0;
        float* source1 = tile.Source1;
        int* offset = tile.Offsets;
        int* end = offset + tile.Pixels;
        for (; offset < end; offset++)
        {
            nint pixel = *offset;
            Vector256<float> x0 = Vector256.Load(source0 + pixel);
            Vector256<float> x1 = Vector256.Load(source1 + pixel);
            Vector256<float> g0 = Vector256.Create(gradient[0]);
            s00 = Vector256.FusedMultiplyAdd(g0, x0, s00);
            s01 = Vector256.FusedMultiplyAdd(g0, x1, s01);
            Vector256<float> g1 = Vector256.Create(gradient[1]);
            s10 = Vector256.FusedMultiplyAdd(g1, x0, s10);
            s11 = Vector256.FusedMultiplyAdd(g1, x1, s11);
            Vector256<float> g2 = Vector256.Create(gradient[2]);
            s20 = Vector256.FusedMultiplyAdd(g2, x0, s20);
            s21 = Vector256.FusedMultiplyAdd(g2, x1, s21);
            Vector256<float> g3 = Vector256.Create(gradient[3]);
            s30 = Vector256.FusedMultiplyAdd(g3, x0, s30);
            s31 = Vector256.FusedMultiplyAdd(g3, x1, s31);
            gradient += step;
        }

        float* store0 = tile.Target0;
        s00.Store(store0);
        s10.Store(store0 + row);
        s20.Store(store0 + 2 * row);
        s30.Store(store0 + 3 * row);
        float* store1 = tile.Target1;
        s01.Store(store1);
        s11.Store(store1 + row);
        s21.Store(store1 + 2 * row);
        s31.Store(store1 + 3 * row);
    }
}
