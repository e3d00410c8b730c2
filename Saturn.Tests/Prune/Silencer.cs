using Saturn.Engine;
using Saturn.Prune;

namespace Saturn.Tests.Prune;

/// <summary>Makes units exactly zero behind a ReLU: γ = 0 and a large negative β or bias.</summary>
internal static class Silencer
{
    public static void Silence(UnitGroup group, bool[] flags)
    {
        foreach (Parameter producer in group.Producers)
        {
            float[] values = producer.Value.ToArray();
            for (int c = 0; c < flags.Length; c++)
            {
                if (!flags[c])
                {
                    continue;
                }

                switch (producer.Role)
                {
                    case ParameterRole.NormalizationScale:
                        values[c] = 0;
                        break;
                    case ParameterRole.NormalizationShift or ParameterRole.Bias:
                        values[c] = -1000;
                        break;
                }
            }

            producer.Value.CopyFrom(values);
        }
    }
}
