using System.Diagnostics;
using System.Globalization;

namespace Saturn.Bench;

/// <summary>Runs this same program once more, for figures that only a process of its own can give, such as peak resident memory.</summary>
public static class FreshProcess
{
    /// <summary>
    /// Starts this program with other arguments and returns the number on the last line that it prints; the started side prints
    /// <see cref="Machine.PeakResidentBytes"/>.
    /// </summary>
    /// <param name="arguments">The command line of the new process.</param>
    /// <exception cref="InvalidOperationException">The process failed, or its last line is not a number.</exception>
    public static long Measure(IEnumerable<string> arguments)
    {
        string program = Environment.ProcessPath ?? throw new InvalidOperationException("This process does not know its own program.");
        string entry = Environment.GetCommandLineArgs()[0];
        bool hosted = Path.GetFileNameWithoutExtension(program) == "dotnet" && entry.EndsWith(".dll", StringComparison.Ordinal);
        ProcessStartInfo start = new(program, hosted ? [entry, .. arguments] : arguments) { RedirectStandardOutput = true };
        using Process process = Process.Start(start)!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        string last = output.TrimEnd()[(output.TrimEnd().LastIndexOf('\n') + 1)..];
        if (process.ExitCode != 0 || !long.TryParse(last, NumberStyles.None, CultureInfo.InvariantCulture, out long number))
        {
            throw new InvalidOperationException(
                $"'{string.Join(' ', start.ArgumentList)}' was to end with a number on its last line, but ended with code {process.ExitCode} and '{last}'.");
        }

        return number;
    }
}
