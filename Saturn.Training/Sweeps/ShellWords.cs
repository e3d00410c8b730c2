namespace Saturn.Training.Sweeps;

/// <summary>Words as a POSIX shell reads them.</summary>
public static class ShellWords
{
    private const string Plain = "@%+=:,./-_";

    /// <summary>One line that a shell splits into exactly these words.</summary>
    public static string Join(IEnumerable<string> words) => string.Join(' ', words.Select(Quote));

    /// <summary>A word, in single quotes where the shell would read it otherwise.</summary>
    public static string Quote(string word) =>
        word.Length > 0 && word.All(character => char.IsAsciiLetterOrDigit(character) || Plain.Contains(character)) ? word : "'" + word.Replace("'", "'\\''") + "'";
}
