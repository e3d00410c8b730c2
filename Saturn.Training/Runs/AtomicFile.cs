namespace Saturn.Training.Runs;

/// <summary>Writes files under a temporary name and renames them, so that a reader never sees half a file and an interruption leaves the old one.</summary>
public static class AtomicFile
{
    /// <summary>Writes a text file.</summary>
    public static void WriteText(string path, string text)
    {
        string temporary = path + ".tmp";
        try
        {
            File.WriteAllText(temporary, text);
            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }
}
