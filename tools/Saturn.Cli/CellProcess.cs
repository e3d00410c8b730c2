using System.Diagnostics;
using System.Runtime.InteropServices;
using Saturn.Training.Sweeps;

namespace Saturn.Cli;

/// <summary>A process of a sweep's cell: this same program again, its output in the cell's log.</summary>
internal sealed class CellProcess : IDisposable
{
    private const int Terminated = 15;
    private readonly CellLog log;
    private volatile string lastError = "";
    private volatile bool stops;

    private CellProcess(Process process, CellLog log)
    {
        Process = process;
        this.log = log;
        process.OutputDataReceived += (_, line) => Receive(line.Data, false);
        process.ErrorDataReceived += (_, line) => Receive(line.Data, true);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        process.StandardInput.Close();
    }

    /// <summary>The words that start this program.</summary>
    public static IReadOnlyList<string> Program
    {
        get
        {
            string process = Environment.ProcessPath ?? "dotnet";
            return Path.GetFileNameWithoutExtension(process) switch
            {
                "saturn" => [process],
                "dotnet" => [process, Path.Combine(AppContext.BaseDirectory, "saturn.dll")],
                _ => ["dotnet", Path.Combine(AppContext.BaseDirectory, "saturn.dll")],
            };
        }
    }

    public Process Process { get; }

    /// <summary>The last line of the process that says what is wrong.</summary>
    public string LastError => lastError;

    public static CellProcess Start(IReadOnlyList<string> arguments, string logPath)
    {
        string[] words = [.. Program, .. arguments];
        CellLog log = new(logPath, ShellWords.Join(words));
        try
        {
            return new CellProcess(
                Process.Start(new ProcessStartInfo(words[0], words[1..]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!, log);
        }
        catch
        {
            log.Dispose();
            throw;
        }
    }

    /// <summary>Waits for the end.</summary>
    /// <returns>The exit code; 128 + the signal's number where one has ended it.</returns>
    public int Wait()
    {
        Process.WaitForExit();
        log.WriteEnd(Process.ExitCode);
        return Process.ExitCode;
    }

    /// <summary>
    /// Has the process save a checkpoint and end, unless it is about to: a second signal would end it at once. From a terminal, and from many schedulers, a signal has reached it already.
    /// </summary>
    public void Stop()
    {
        if (stops || Process.HasExited)
        {
            return;
        }

        if (OperatingSystem.IsWindows())
        {
            // There is no such signal; the checkpoint before stands.
            Process.Kill();
        }
        else
        {
            _ = SendSignal(Process.Id, Terminated);
        }
    }

    public void Dispose()
    {
        Process.Dispose();
        log.Dispose();
    }

    private void Receive(string? line, bool isError)
    {
        if (line is null)
        {
            return;
        }

        log.WriteLine(line);
        stops |= isError && line == RunSession.StopNotice;
        if (isError && line.Length > 0 && (line.StartsWith("error:", StringComparison.Ordinal) || !lastError.StartsWith("error:", StringComparison.Ordinal)))
        {
            lastError = line;
        }
    }

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int SendSignal(int process, int signal);
}
