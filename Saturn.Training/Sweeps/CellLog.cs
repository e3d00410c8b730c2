using System.Globalization;

namespace Saturn.Training.Sweeps;

/// <summary>What a cell's processes have printed: each begins with its command line and ends with its exit code. Safe to write to from several threads.</summary>
public sealed class CellLog : IDisposable
{
    private const string End = "-- exit code ";
    private readonly Lock gate = new();
    private readonly StreamWriter writer;

    /// <summary>Opens the log of a process that is about to start; those of processes before it stay.</summary>
    public CellLog(string path, string commandLine)
    {
        writer = new StreamWriter(new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.ReadWrite)) { AutoFlush = true };
        WriteLine("$ " + commandLine);
    }

    /// <summary>The exit code of the last process, or null where none has ended, or the log was cut short.</summary>
    public static int? LastExitCode(string path)
    {
        if (!File.Exists(path))
        {
            return null;
        }

        string last = File.ReadLines(path).LastOrDefault() ?? "";
        return last.StartsWith(End, StringComparison.Ordinal) && int.TryParse(last[End.Length..], out int code) ? code : null;
    }

    /// <summary>Writes a line.</summary>
    public void WriteLine(string line)
    {
        lock (gate)
        {
            writer.WriteLine(line);
        }
    }

    /// <summary>Writes how the process ended.</summary>
    public void WriteEnd(int exitCode) => WriteLine(End + exitCode.ToString(CultureInfo.InvariantCulture));

    /// <inheritdoc/>
    public void Dispose() => writer.Dispose();
}
