using System.Security.Cryptography;
using Saturn.Engine.Checkpoints;
using Saturn.Training.Runs;

namespace Saturn.Training.Checkpoints;

/// <summary>
/// The checksums of a checkpoint's files, written last: a checkpoint with this file is whole, and a changed byte is found before it becomes a number. The format is that of
/// <c>sha256sum</c>, so that <c>sha256sum -c SHA256SUMS</c> checks a folder by hand.
/// </summary>
internal static class Checksums
{
    private const string FileName = "SHA256SUMS";

    /// <summary>Whether the folder's writing was finished.</summary>
    public static bool ExistIn(string folder) => File.Exists(Path.Combine(folder, FileName));

    /// <summary>Writes the checksums of some files of a folder.</summary>
    public static void Write(string folder, params ReadOnlySpan<string> names)
    {
        string text = "";
        foreach (string name in names)
        {
            text += $"{Of(Path.Combine(folder, name))}  {name}\n";
        }

        AtomicFile.WriteText(Path.Combine(folder, FileName), text);
    }

    /// <summary>Checks some files of a folder.</summary>
    /// <exception cref="CheckpointException">The checksums or a file are missing, or a file is not what was written.</exception>
    public static void Verify(string folder, params ReadOnlySpan<string> names)
    {
        const string Advice = "Restore the checkpoint from a copy, or train again with --overwrite.";
        if (!ExistIn(folder))
        {
            throw new CheckpointException($"'{folder}' is no whole checkpoint: it has no {FileName}. {Advice}");
        }

        string[] lines = File.ReadAllLines(Path.Combine(folder, FileName));
        foreach (string name in names)
        {
            string path = Path.Combine(folder, name);
            string expected = lines.FirstOrDefault(line => line.EndsWith("  " + name, StringComparison.Ordinal))?[..^(name.Length + 2)]
                ?? throw new CheckpointException($"'{Path.Combine(folder, FileName)}' is damaged: it has no line for {name}. {Advice}");
            if (!File.Exists(path))
            {
                throw new CheckpointException($"'{folder}' is no whole checkpoint: it has no {name}. {Advice}");
            }

            string actual = Of(path);
            if (actual != expected)
            {
                throw new CheckpointException(
                    $"'{path}' is damaged: its {new FileInfo(path).Length} bytes have the SHA-256 {Brief(actual)}, but {Brief(expected)} were written. {Advice}");
            }
        }
    }

    private static string Of(string path)
    {
        using FileStream file = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(file));
    }

    private static string Brief(string hash) => hash.Length > 12 ? hash[..12] + "…" : hash;
}
