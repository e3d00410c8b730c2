using System.Globalization;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Saturn.Bench;

/// <summary>What a table of measurements says about the machine that they were made on.</summary>
public static class Machine
{
    /// <summary>Processor, number of processors, vector width, system and runtime in one line.</summary>
    public static string Describe()
    {
        int bits = Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128;
        return $"{ProcessorName()}, {Environment.ProcessorCount} processors, {bits}-bit vectors; {RuntimeInformation.OSDescription.Trim()}; "
            + RuntimeInformation.FrameworkDescription;
    }

    /// <summary>The largest resident set that this process has had, in bytes, or 0 where the system does not tell.</summary>
    public static long PeakResidentBytes()
    {
        const string status = "/proc/self/status";
        string? line = File.Exists(status) ? File.ReadLines(status).FirstOrDefault(text => text.StartsWith("VmHWM:", StringComparison.Ordinal)) : null;
        return line is null ? 0 : long.Parse(line.AsSpan("VmHWM:".Length, line.Length - "VmHWM:kB".Length).Trim(), CultureInfo.InvariantCulture) * 1024;
    }

    private static string ProcessorName()
    {
        const string information = "/proc/cpuinfo";
        string? line = File.Exists(information)
            ? File.ReadLines(information).FirstOrDefault(text => text.StartsWith("model name", StringComparison.Ordinal)) : null;
        return line is null ? RuntimeInformation.ProcessArchitecture.ToString() : line[(line.IndexOf(':') + 1)..].Trim();
    }
}
