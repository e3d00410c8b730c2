namespace Saturn.Engine;

/// <summary>What a tensor's elements are.</summary>
public enum ElementType
{
    /// <summary>32-bit floating point; the only type that carries gradients.</summary>
    Float32,

    /// <summary>32-bit signed integers: labels, channel indices, winners of a maximum; activity bits are words of this size too.</summary>
    Int32,

    /// <summary>64-bit floating point: moments and census sums.</summary>
    Float64,
}

internal static class ElementTypes
{
    public static int Size(this ElementType type) => type == ElementType.Float64 ? 8 : 4;
}
