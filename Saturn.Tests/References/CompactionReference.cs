using Saturn.Kernels;

namespace Saturn.Tests.References;

/// <summary>destination[o, m, i] = source[rows[o], m, columns[i]] on stored (pitched) arrays of 4-byte elements; the destination's padding is zero.</summary>
public static class CompactionReference
{
    public static uint[] Gather(uint[] source, int middle, int sourceColumns, int[] rows, int[] columns)
    {
        int sourcePitch = Shape.PitchOf(sourceColumns);
        int pitch = Shape.PitchOf(columns.Length);
        uint[] destination = new uint[rows.Length * middle * pitch];
        for (int o = 0; o < rows.Length; o++)
        {
            for (int m = 0; m < middle; m++)
            {
                for (int i = 0; i < columns.Length; i++)
                {
                    destination[(o * middle + m) * pitch + i] = source[(rows[o] * middle + m) * sourcePitch + columns[i]];
                }
            }
        }

        return destination;
    }
}
