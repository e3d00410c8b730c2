using System.Diagnostics;
using System.Globalization;

namespace Saturn.Training.Sweeps;

/// <summary>
/// The right to run a cell: a file held open by one sweep. The system lets it go when the sweep dies; because its process may live on, the file notes which one that is.
/// </summary>
public sealed class CellLock : IDisposable
{
    private readonly FileStream file;

    private CellLock(FileStream file) => this.file = file;

    /// <summary>Takes the lock, or returns null where another holds it.</summary>
    public static CellLock? TryTake(string path)
    {
        // Whoever only looks holds it for a moment.
        for (int attempt = 0; ; attempt++)
        {
            try
            {
                return new CellLock(new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
            }
            catch (IOException exception) when (exception.GetType() == typeof(IOException) && attempt < 3)
            {
                Thread.Sleep(30);
            }
            catch (IOException exception) when (exception.GetType() == typeof(IOException))
            {
                return null;
            }
        }
    }

    /// <summary>Whether a sweep, or a process that one has left behind, runs the cell.</summary>
    public static bool IsHeld(string path)
    {
        if (!File.Exists(path))
        {
            return false;
        }

        using CellLock? taken = TryTake(path);
        if (taken is null)
        {
            return true;
        }

        using Process? orphan = taken.FindProcess();
        return orphan is not null;
    }

    /// <summary>Notes the process that runs the cell.</summary>
    public void Note(Process process)
    {
        try
        {
            Write(string.Create(CultureInfo.InvariantCulture, $"{Environment.MachineName} {process.Id} {process.StartTime.ToUniversalTime().Ticks}"));
        }
        catch (Exception exception) when (exception is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // It has ended already.
        }
    }

    /// <summary>Notes that none does.</summary>
    public void Clear() => Write("");

    /// <summary>The noted process if it still runs on this machine: a sweep was killed and has left it behind.</summary>
    public Process? FindProcess()
    {
        file.Position = 0;
        using StreamReader reader = new(file, leaveOpen: true);
        string[] words = reader.ReadToEnd().Split(' ');
        if (words.Length != 3 || words[0] != Environment.MachineName || !int.TryParse(words[1], out int id) || !long.TryParse(words[2], out long ticks))
        {
            return null;
        }

        try
        {
            // A process of the same number that began at another time is another one.
            Process process = Process.GetProcessById(id);
            if (Math.Abs(process.StartTime.ToUniversalTime().Ticks - ticks) < 2 * TimeSpan.TicksPerSecond && !HasEnded(process))
            {
                return process;
            }

            process.Dispose();
        }
        catch (Exception exception) when (exception is ArgumentException or InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // It has ended.
        }

        return null;
    }

    /// <summary>Whether a process that need not be a child has ended.</summary>
    public static bool HasEnded(Process process)
    {
        // Where nobody collects the exit codes of orphans, as in many containers, an ended one stays listed as a zombie.
        string status = $"/proc/{process.Id}/stat";
        try
        {
            return process.HasExited || (File.Exists(status) && File.ReadAllText(status) is var text && text[(text.LastIndexOf(')') + 1)..].TrimStart().StartsWith('Z'));
        }
        catch (IOException)
        {
            return true;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();

    private void Write(string text)
    {
        file.SetLength(0);
        file.Write(System.Text.Encoding.UTF8.GetBytes(text));
        file.Flush();
    }
}
