using System.Diagnostics;

namespace Saturn.Training.Runs;

/// <summary>The high-water mark of the process's resident memory.</summary>
public static class PeakMemory
{
    /// <summary>Bytes: VmHWM on Linux, the peak working set elsewhere.</summary>
    public static long Bytes()
    {
        const string Status = "/proc/self/status";
        if (File.Exists(Status))
        {
            foreach (string line in File.ReadLines(Status))
            {
                if (line.StartsWith("VmHWM:", StringComparison.Ordinal))
                {
                    return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]) * 1024;
                }
            }
        }

        using Process process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }
}
