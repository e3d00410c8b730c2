namespace Saturn.Kernels;

/// <summary>What the elements of a buffer or tensor are.</summary>
public enum ElementType
{
    /// <summary>32-bit floating point: parameters and their gradients, and activations everywhere but under <see cref="Precision.Bf16"/>.</summary>
    Float32,

    /// <summary>32-bit signed integers: labels, channel indices, winners of a maximum; activity bits are words of this size too.</summary>
    Int32,

    /// <summary>64-bit floating point: moments and census sums.</summary>
    Float64,

    /// <summary>The upper half of a float32, rounded to nearest even: activations, their gradients and copies of filters under <see cref="Precision.Bf16"/>.</summary>
    BFloat16,
}

/// <summary>Sizes of element types.</summary>
public static class ElementTypes
{
    /// <summary>Bytes of one element.</summary>
    public static int Size(this ElementType type) => type switch
    {
        ElementType.Float64 => 8,
        ElementType.BFloat16 => 2,
        _ => 4,
    };
}
