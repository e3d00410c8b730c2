using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Kernels.Cpu;

/// <summary>One register tile of a filter gradient: eight output channels by one to three vectors of filter elements, over a list of pixels.</summary>
internal unsafe struct FilterTile
{
    /// <summary>dY of the first pixel, at the first of the eight channels.</summary>
    public float* Gradient;

    /// <summary>Floats from one pixel's dY to the next.</summary>
    public nint GradientStep;

    /// <summary>X under the tap of each vector, for an output pixel of offset 0.</summary>
    public float* Source0;
    public float* Source1;
    public float* Source2;

    /// <summary>Floats from there to the X of each pixel.</summary>
    public int* Offsets;
    public int Pixels;

    /// <summary>Where the sums of the first output channel go, vector by vector.</summary>
    public float* Target0;
    public float* Target1;
    public float* Target2;

    /// <summary>Floats from one output channel's sums to the next.</summary>
    public nint TargetRow;

    /// <summary>Whether the targets hold sums that are continued.</summary>
    public bool Load;
}

/// <summary>The register tiles of filter gradients: all sums stay in vector registers over all pixels; each pixel costs eight broadcasts and one load a vector.</summary>
internal static unsafe class CpuFilterGradientTiles
{
    /// <summary>8 output channels × 16 filter elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile1(in FilterTile tile)
    {
        Vector512<float> s00 = Vector512<float>.Zero;
        Vector512<float> s10 = Vector512<float>.Zero;
        Vector512<float> s20 = Vector512<float>.Zero;
        Vector512<float> s30 = Vector512<float>.Zero;
        Vector512<float> s40 = Vector512<float>.Zero;
        Vector512<float> s50 = Vector512<float>.Zero;
        Vector512<float> s60 = Vector512<float>.Zero;
        Vector512<float> s70 = Vector512<float>.Zero;
        nint row = tile.TargetRow;
        if (tile.Load)
        {
            float* load0 = tile.Target0;
            s00 = Vector512.Load(load0);
            s10 = Vector512.Load(load0 + row);
            s20 = Vector512.Load(load0 + 2 * row);
            s30 = Vector512.Load(load0 + 3 * row);
            s40 = Vector512.Load(load0 + 4 * row);
            s50 = Vector512.Load(load0 + 5 * row);
            s60 = Vector512.Load(load0 + 6 * row);
            s70 = Vector512.Load(load0 + 7 * row);
        }

        float* gradient = tile.Gradient;
        nint step = tile.GradientStep;
        float* source0 = tile.Source0;
        int* offset = tile.Offsets;
        int* end = offset + tile.Pixels;
        for (; offset < end; offset++)
        {
            nint pixel = *offset;
            Vector512<float> x0 = Vector512.Load(source0 + pixel);
            Vector512<float> g0 = Vector512.Create(gradient[0]);
            s00 = Vector512.FusedMultiplyAdd(g0, x0, s00);
            Vector512<float> g1 = Vector512.Create(gradient[1]);
            s10 = Vector512.FusedMultiplyAdd(g1, x0, s10);
            Vector512<float> g2 = Vector512.Create(gradient[2]);
            s20 = Vector512.FusedMultiplyAdd(g2, x0, s20);
            Vector512<float> g3 = Vector512.Create(gradient[3]);
            s30 = Vector512.FusedMultiplyAdd(g3, x0, s30);
            Vector512<float> g4 = Vector512.Create(gradient[4]);
            s40 = Vector512.FusedMultiplyAdd(g4, x0, s40);
            Vector512<float> g5 = Vector512.Create(gradient[5]);
            s50 = Vector512.FusedMultiplyAdd(g5, x0, s50);
            Vector512<float> g6 = Vector512.Create(gradient[6]);
            s60 = Vector512.FusedMultiplyAdd(g6, x0, s60);
            Vector512<float> g7 = Vector512.Create(gradient[7]);
            s70 = Vector512.FusedMultiplyAdd(g7, x0, s70);
            gradient += step;
        }

        float* store0 = tile.Target0;
        s00.Store(store0);
        s10.Store(store0 + row);
        s20.Store(store0 + 2 * row);
        s30.Store(store0 + 3 * row);
        s40.Store(store0 + 4 * row);
        s50.Store(store0 + 5 * row);
        s60.Store(store0 + 6 * row);
        s70.Store(store0 + 7 * row);
    }

    /// <summary>8 output channels × 32 filter elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile2(in FilterTile tile)
    {
        Vector512<float> s00 = Vector512<float>.Zero;
        Vector512<float> s01 = Vector512<float>.Zero;
        Vector512<float> s10 = Vector512<float>.Zero;
        Vector512<float> s11 = Vector512<float>.Zero;
        Vector512<float> s20 = Vector512<float>.Zero;
        Vector512<float> s21 = Vector512<float>.Zero;
        Vector512<float> s30 = Vector512<float>.Zero;
        Vector512<float> s31 = Vector512<float>.Zero;
        Vector512<float> s40 = Vector512<float>.Zero;
        Vector512<float> s41 = Vector512<float>.Zero;
        Vector512<float> s50 = Vector512<float>.Zero;
        Vector512<float> s51 = Vector512<float>.Zero;
        Vector512<float> s60 = Vector512<float>.Zero;
        Vector512<float> s61 = Vector512<float>.Zero;
        Vector512<float> s70 = Vector512<float>.Zero;
        Vector512<float> s71 = Vector512<float>.Zero;
        nint row = tile.TargetRow;
        if (tile.Load)
        {
            float* load0 = tile.Target0;
            s00 = Vector512.Load(load0);
            s10 = Vector512.Load(load0 + row);
            s20 = Vector512.Load(load0 + 2 * row);
            s30 = Vector512.Load(load0 + 3 * row);
            s40 = Vector512.Load(load0 + 4 * row);
            s50 = Vector512.Load(load0 + 5 * row);
            s60 = Vector512.Load(load0 + 6 * row);
            s70 = Vector512.Load(load0 + 7 * row);
            float* load1 = tile.Target1;
            s01 = Vector512.Load(load1);
            s11 = Vector512.Load(load1 + row);
            s21 = Vector512.Load(load1 + 2 * row);
            s31 = Vector512.Load(load1 + 3 * row);
            s41 = Vector512.Load(load1 + 4 * row);
            s51 = Vector512.Load(load1 + 5 * row);
            s61 = Vector512.Load(load1 + 6 * row);
            s71 = Vector512.Load(load1 + 7 * row);
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
            Vector512<float> x0 = Vector512.Load(source0 + pixel);
            Vector512<float> x1 = Vector512.Load(source1 + pixel);
            Vector512<float> g0 = Vector512.Create(gradient[0]);
            s00 = Vector512.FusedMultiplyAdd(g0, x0, s00);
            s01 = Vector512.FusedMultiplyAdd(g0, x1, s01);
            Vector512<float> g1 = Vector512.Create(gradient[1]);
            s10 = Vector512.FusedMultiplyAdd(g1, x0, s10);
            s11 = Vector512.FusedMultiplyAdd(g1, x1, s11);
            Vector512<float> g2 = Vector512.Create(gradient[2]);
            s20 = Vector512.FusedMultiplyAdd(g2, x0, s20);
            s21 = Vector512.FusedMultiplyAdd(g2, x1, s21);
            Vector512<float> g3 = Vector512.Create(gradient[3]);
            s30 = Vector512.FusedMultiplyAdd(g3, x0, s30);
            s31 = Vector512.FusedMultiplyAdd(g3, x1, s31);
            Vector512<float> g4 = Vector512.Create(gradient[4]);
            s40 = Vector512.FusedMultiplyAdd(g4, x0, s40);
            s41 = Vector512.FusedMultiplyAdd(g4, x1, s41);
            Vector512<float> g5 = Vector512.Create(gradient[5]);
            s50 = Vector512.FusedMultiplyAdd(g5, x0, s50);
            s51 = Vector512.FusedMultiplyAdd(g5, x1, s51);
            Vector512<float> g6 = Vector512.Create(gradient[6]);
            s60 = Vector512.FusedMultiplyAdd(g6, x0, s60);
            s61 = Vector512.FusedMultiplyAdd(g6, x1, s61);
            Vector512<float> g7 = Vector512.Create(gradient[7]);
            s70 = Vector512.FusedMultiplyAdd(g7, x0, s70);
            s71 = Vector512.FusedMultiplyAdd(g7, x1, s71);
            gradient += step;
        }

        float* store0 = tile.Target0;
        s00.Store(store0);
        s10.Store(store0 + row);
        s20.Store(store0 + 2 * row);
        s30.Store(store0 + 3 * row);
        s40.Store(store0 + 4 * row);
        s50.Store(store0 + 5 * row);
        s60.Store(store0 + 6 * row);
        s70.Store(store0 + 7 * row);
        float* store1 = tile.Target1;
        s01.Store(store1);
        s11.Store(store1 + row);
        s21.Store(store1 + 2 * row);
        s31.Store(store1 + 3 * row);
        s41.Store(store1 + 4 * row);
        s51.Store(store1 + 5 * row);
        s61.Store(store1 + 6 * row);
        s71.Store(store1 + 7 * row);
    }

    /// <summary>8 output channels × 48 filter elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile3(in FilterTile tile)
    {
        Vector512<float> s00 = Vector512<float>.Zero;
        Vector512<float> s01 = Vector512<float>.Zero;
        Vector512<float> s02 = Vector512<float>.Zero;
        Vector512<float> s10 = Vector512<float>.Zero;
        Vector512<float> s11 = Vector512<float>.Zero;
        Vector512<float> s12 = Vector512<float>.Zero;
        Vector512<float> s20 = Vector512<float>.Zero;
        Vector512<float> s21 = Vector512<float>.Zero;
        Vector512<float> s22 = Vector512<float>.Zero;
        Vector512<float> s30 = Vector512<float>.Zero;
        Vector512<float> s31 = Vector512<float>.Zero;
        Vector512<float> s32 = Vector512<float>.Zero;
        Vector512<float> s40 = Vector512<float>.Zero;
        Vector512<float> s41 = Vector512<float>.Zero;
        Vector512<float> s42 = Vector512<float>.Zero;
        Vector512<float> s50 = Vector512<float>.Zero;
        Vector512<float> s51 = Vector512<float>.Zero;
        Vector512<float> s52 = Vector512<float>.Zero;
        Vector512<float> s60 = Vector512<float>.Zero;
        Vector512<float> s61 = Vector512<float>.Zero;
        Vector512<float> s62 = Vector512<float>.Zero;
        Vector512<float> s70 = Vector512<float>.Zero;
        Vector512<float> s71 = Vector512<float>.Zero;
        Vector512<float> s72 = Vector512<float>.Zero;
        nint row = tile.TargetRow;
        if (tile.Load)
        {
            float* load0 = tile.Target0;
            s00 = Vector512.Load(load0);
            s10 = Vector512.Load(load0 + row);
            s20 = Vector512.Load(load0 + 2 * row);
            s30 = Vector512.Load(load0 + 3 * row);
            s40 = Vector512.Load(load0 + 4 * row);
            s50 = Vector512.Load(load0 + 5 * row);
            s60 = Vector512.Load(load0 + 6 * row);
            s70 = Vector512.Load(load0 + 7 * row);
            float* load1 = tile.Target1;
            s01 = Vector512.Load(load1);
            s11 = Vector512.Load(load1 + row);
            s21 = Vector512.Load(load1 + 2 * row);
            s31 = Vector512.Load(load1 + 3 * row);
            s41 = Vector512.Load(load1 + 4 * row);
            s51 = Vector512.Load(load1 + 5 * row);
            s61 = Vector512.Load(load1 + 6 * row);
            s71 = Vector512.Load(load1 + 7 * row);
            float* load2 = tile.Target2;
            s02 = Vector512.Load(load2);
            s12 = Vector512.Load(load2 + row);
            s22 = Vector512.Load(load2 + 2 * row);
            s32 = Vector512.Load(load2 + 3 * row);
            s42 = Vector512.Load(load2 + 4 * row);
            s52 = Vector512.Load(load2 + 5 * row);
            s62 = Vector512.Load(load2 + 6 * row);
            s72 = Vector512.Load(load2 + 7 * row);
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
            Vector512<float> x0 = Vector512.Load(source0 + pixel);
            Vector512<float> x1 = Vector512.Load(source1 + pixel);
            Vector512<float> x2 = Vector512.Load(source2 + pixel);
            Vector512<float> g0 = Vector512.Create(gradient[0]);
            s00 = Vector512.FusedMultiplyAdd(g0, x0, s00);
            s01 = Vector512.FusedMultiplyAdd(g0, x1, s01);
            s02 = Vector512.FusedMultiplyAdd(g0, x2, s02);
            Vector512<float> g1 = Vector512.Create(gradient[1]);
            s10 = Vector512.FusedMultiplyAdd(g1, x0, s10);
            s11 = Vector512.FusedMultiplyAdd(g1, x1, s11);
            s12 = Vector512.FusedMultiplyAdd(g1, x2, s12);
            Vector512<float> g2 = Vector512.Create(gradient[2]);
            s20 = Vector512.FusedMultiplyAdd(g2, x0, s20);
            s21 = Vector512.FusedMultiplyAdd(g2, x1, s21);
            s22 = Vector512.FusedMultiplyAdd(g2, x2, s22);
            Vector512<float> g3 = Vector512.Create(gradient[3]);
            s30 = Vector512.FusedMultiplyAdd(g3, x0, s30);
            s31 = Vector512.FusedMultiplyAdd(g3, x1, s31);
            s32 = Vector512.FusedMultiplyAdd(g3, x2, s32);
            Vector512<float> g4 = Vector512.Create(gradient[4]);
            s40 = Vector512.FusedMultiplyAdd(g4, x0, s40);
            s41 = Vector512.FusedMultiplyAdd(g4, x1, s41);
            s42 = Vector512.FusedMultiplyAdd(g4, x2, s42);
            Vector512<float> g5 = Vector512.Create(gradient[5]);
            s50 = Vector512.FusedMultiplyAdd(g5, x0, s50);
            s51 = Vector512.FusedMultiplyAdd(g5, x1, s51);
            s52 = Vector512.FusedMultiplyAdd(g5, x2, s52);
            Vector512<float> g6 = Vector512.Create(gradient[6]);
            s60 = Vector512.FusedMultiplyAdd(g6, x0, s60);
            s61 = Vector512.FusedMultiplyAdd(g6, x1, s61);
            s62 = Vector512.FusedMultiplyAdd(g6, x2, s62);
            Vector512<float> g7 = Vector512.Create(gradient[7]);
            s70 = Vector512.FusedMultiplyAdd(g7, x0, s70);
            s71 = Vector512.FusedMultiplyAdd(g7, x1, s71);
            s72 = Vector512.FusedMultiplyAdd(g7, x2, s72);
            gradient += step;
        }

        float* store0 = tile.Target0;
        s00.Store(store0);
        s10.Store(store0 + row);
        s20.Store(store0 + 2 * row);
        s30.Store(store0 + 3 * row);
        s40.Store(store0 + 4 * row);
        s50.Store(store0 + 5 * row);
        s60.Store(store0 + 6 * row);
        s70.Store(store0 + 7 * row);
        float* store1 = tile.Target1;
        s01.Store(store1);
        s11.Store(store1 + row);
        s21.Store(store1 + 2 * row);
        s31.Store(store1 + 3 * row);
        s41.Store(store1 + 4 * row);
        s51.Store(store1 + 5 * row);
        s61.Store(store1 + 6 * row);
        s71.Store(store1 + 7 * row);
        float* store2 = tile.Target2;
        s02.Store(store2);
        s12.Store(store2 + row);
        s22.Store(store2 + 2 * row);
        s32.Store(store2 + 3 * row);
        s42.Store(store2 + 4 * row);
        s52.Store(store2 + 5 * row);
        s62.Store(store2 + 6 * row);
        s72.Store(store2 + 7 * row);
    }
}
