namespace Saturn.Engine;

/// <summary>Numbers of random streams, derived from names, so that they depend neither on the order of construction nor on what else a model holds.</summary>
public static class StreamId
{
    /// <summary>The 32-bit FNV-1a hash of a name's UTF-16 code units.</summary>
    public static uint Of(string name)
    {
        uint hash = 2166136261;
        foreach (char character in name)
        {
            hash = (hash ^ character) * 16777619;
        }

        return hash;
    }
}
