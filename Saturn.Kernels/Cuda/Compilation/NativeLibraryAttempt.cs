namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>One step of the search for a native library.</summary>
/// <param name="Place">The kind of place, such as an environment variable.</param>
/// <param name="Path">The file or folder.</param>
/// <param name="Outcome">What was found, or why it did not do.</param>
public sealed record NativeLibraryAttempt(string Place, string Path, string Outcome)
{
    // .NET puts general advice before what the system's loader says, which is the last line.
    internal static NativeLibraryAttempt Failed(string place, string path, Exception exception) =>
        new(place, path, exception.Message.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)[^1]);

    /// <inheritdoc/>
    public override string ToString() => Path.Length == 0 ? $"{Place}: {Outcome}" : $"{Place}: {Path}: {Outcome}";
}
