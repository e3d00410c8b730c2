using System.Numerics;
using Saturn.Engine;

namespace Saturn.Prune;

/// <summary>How the set of weights that are not zero changed since it was last looked at.</summary>
/// <param name="Jaccard">|A∩B|/|A∪B| of both sets; 1 if nothing changed.</param>
/// <param name="Born">Weights that were zero and are not now.</param>
/// <param name="Died">Weights that were not zero and are now, or are gone with their unit.</param>
/// <param name="Present">Weights that are not zero now.</param>
public sealed record MaskChange(double Jaccard, long Born, long Died, long Present);

/// <summary>Follows the support of all weights of convolutions and linear layers, by their positions in the dense network, one bit a weight.</summary>
/// <param name="dense">The dense network's layers.</param>
public sealed class MaskStability(DenseNetwork dense)
{
    private Dictionary<string, ulong[]>? last;

    /// <summary>Compares the support with the last one; null the first time.</summary>
    /// <param name="parameters">The model's parameters.</param>
    public MaskChange? Compare(IEnumerable<Parameter> parameters)
    {
        Dictionary<string, ulong[]> now = dense.Layers.Where(layer => layer.Parameters > 0).ToDictionary(layer => layer.Name, layer => new ulong[(layer.Parameters + 63) / 64]);
        Dictionary<string, int[]> shapes = dense.Layers.Where(layer => layer.Parameters > 0).ToDictionary(layer => layer.Name, layer => layer.WeightShape);
        foreach (Parameter parameter in parameters)
        {
            string name = parameter.Name.EndsWith(".weight", StringComparison.Ordinal) ? parameter.Name[..^7] : parameter.Name;
            if (parameter.Role == ParameterRole.Weight && now.TryGetValue(name, out ulong[]? bits))
            {
                Mark(parameter, shapes[name][^1], bits);
            }
        }

        MaskChange? change = last is null ? null : Change(last, now);
        last = now;
        return change;
    }

    private static void Mark(Parameter parameter, int denseColumns, ulong[] bits)
    {
        float[] values = parameter.Value.ToArray();
        int[]? rows = parameter.OriginalRows?.Values.ToArray();
        int[]? columns = parameter.OriginalColumns?.Values.ToArray();
        int i = 0;
        for (int row = 0; row < parameter.Rows; row++)
        {
            for (int tap = 0; tap < parameter.Taps; tap++)
            {
                long first = ((long)(rows?[row] ?? row) * parameter.Taps + tap) * denseColumns;
                for (int column = 0; column < parameter.Columns; column++, i++)
                {
                    if (values[i] != 0)
                    {
                        long position = first + (columns?[column] ?? column);
                        bits[position >> 6] |= 1UL << (int)(position & 63);
                    }
                }
            }
        }
    }

    private static MaskChange Change(Dictionary<string, ulong[]> before, Dictionary<string, ulong[]> now)
    {
        long both = 0, born = 0, died = 0;
        foreach (var (name, bits) in now)
        {
            ulong[] old = before[name];
            for (int i = 0; i < bits.Length; i++)
            {
                both += BitOperations.PopCount(bits[i] & old[i]);
                born += BitOperations.PopCount(bits[i] & ~old[i]);
                died += BitOperations.PopCount(~bits[i] & old[i]);
            }
        }

        long union = both + born + died;
        return new MaskChange(union == 0 ? 1 : (double)both / union, born, died, both + born);
    }
}
