namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>One step of the search for a native library.</summary>
/// <param name="Place">The kind of place, such as an environment variable.</param>
/// <param name="Path">The file or folder.</param>
/// <param name="Outcome">What was found, or why it did not do.</param>
public sealed record NativeLibraryAttempt(string Place, string Path, string Outcome)
{
    /// <inheritdoc/>
    public override string ToString() => Path.Length == 0 ? $"{Place}: {Outcome}" : $"{Place}: {Path}: {Outcome}";
}
