using Saturn.Kernels;

namespace Saturn.Engine;

/// <summary>
/// How an identity shortcut reads its source once channels have been removed on either side: output channel c takes source channel
/// <c>Sources[c]</c>, or nothing where that is −1. No source feeds two outputs, so the backward pass is a gather through the inverse map.
/// </summary>
public sealed class ShortcutMap : IDisposable
{
    private readonly ChannelIndices sources;
    private readonly ChannelIndices outputs;

    /// <summary>Creates a map.</summary>
    /// <param name="sources">One source channel an output channel, or −1.</param>
    /// <param name="sourceChannels">Channels of the source.</param>
    /// <exception cref="ArgumentException">A source is out of range or feeds two outputs.</exception>
    public ShortcutMap(int[] sources, int sourceChannels)
    {
        int[] inverse = new int[sourceChannels];
        Array.Fill(inverse, -1);
        for (int c = 0; c < sources.Length; c++)
        {
            int source = sources[c];
            if (source < 0)
            {
                continue;
            }

            if (source >= sourceChannels || inverse[source] >= 0)
            {
                throw new ArgumentException($"Shortcut channel {source}, read by output {c}, must lie below {sourceChannels} and be read once.", nameof(sources));
            }

            inverse[source] = c;
        }

        this.sources = new ChannelIndices(sources);
        outputs = new ChannelIndices(inverse);
    }

    /// <summary>One source channel an output channel, or −1 for none.</summary>
    public ReadOnlySpan<int> Sources => sources.Values;

    /// <summary>One output channel a source channel, or −1 if nothing reads it.</summary>
    public ReadOnlySpan<int> Outputs => outputs.Values;

    /// <summary>Whether every channel reads the source channel of its own number, so that no map is needed.</summary>
    public bool IsIdentity
    {
        get
        {
            ReadOnlySpan<int> values = Sources;
            if (values.Length != outputs.Count)
            {
                return false;
            }

            for (int c = 0; c < values.Length; c++)
            {
                if (values[c] != c)
                {
                    return false;
                }
            }

            return true;
        }
    }

    /// <summary>The map of <paramref name="channels"/> channels onto themselves.</summary>
    public static int[] Identity(int channels)
    {
        int[] map = new int[channels];
        for (int c = 0; c < channels; c++)
        {
            map[c] = c;
        }

        return map;
    }

    /// <summary><see cref="Sources"/> on a device.</summary>
    public DeviceBuffer SourcesOn(Device device) => sources.On(device);

    /// <summary><see cref="Outputs"/> on a device.</summary>
    public DeviceBuffer OutputsOn(Device device) => outputs.On(device);

    /// <summary>Frees the device copies.</summary>
    public void Dispose()
    {
        sources.Dispose();
        outputs.Dispose();
    }
}

/// <summary>
/// The identity shortcut of one residual block. The block owns it and hands it to the sum; surgery finds it on the tape and puts a map in place once channels
/// differ on the two sides.
/// </summary>
public sealed class Shortcut : IDisposable
{
    /// <summary>How the sum reads the shortcut; null while it is the identity.</summary>
    public ShortcutMap? Map { get; private set; }

    /// <summary>Replaces the map; an identity map becomes null, which is the faster path.</summary>
    public void SetMap(ShortcutMap? map)
    {
        Map?.Dispose();
        Map = map is { IsIdentity: true } ? null : map;
    }

    /// <summary>Frees the map.</summary>
    public void Dispose() => SetMap(null);
}
