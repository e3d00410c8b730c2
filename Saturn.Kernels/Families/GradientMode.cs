namespace Saturn.Kernels.Families;

/// <summary>What a backward kernel does with the gradient buffer it is given.</summary>
public enum GradientMode
{
    /// <summary>The buffer's contents are undefined; every element, padding included, is written.</summary>
    Overwrite,

    /// <summary>The buffer holds a gradient already; the new one is added to it.</summary>
    Accumulate,
}
