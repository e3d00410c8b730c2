using System.Globalization;
using System.Text;

namespace Saturn.Kernels.Diagnostics;

/// <summary>How often each kernel was called, and what it took.</summary>
internal sealed class KernelTable
{
    private readonly Dictionary<string, (long Calls, double Bytes, double Operations, double Seconds)> rows = [];

    /// <summary>Adds a call.</summary>
    public void Add(string name, long bytes, double operations, TimeSpan elapsed)
    {
        var row = rows.GetValueOrDefault(name);
        rows[name] = (row.Calls + 1, row.Bytes + bytes, row.Operations + operations, row.Seconds + elapsed.TotalSeconds);
    }

    /// <summary>The table, the costliest kernel first.</summary>
    public string ToText(Device device)
    {
        StringBuilder text = new();
        double total = rows.Values.Sum(row => row.Seconds);
        text.Append(CultureInfo.InvariantCulture, $"Kernels on {device.Name} ({device.Description}): {rows.Values.Sum(row => row.Calls)} calls, {total * 1e3:F1} ms\n");
        text.Append(CultureInfo.InvariantCulture, $"{"kernel",-32} {"calls",9} {"share",7}  {"a call",13}\n");
        foreach (var (name, row) in rows.OrderByDescending(row => row.Value.Seconds).ThenBy(row => row.Key, StringComparer.Ordinal))
        {
            text.Append(CultureInfo.InvariantCulture, $"{name,-32} {row.Calls,9} {row.Seconds / total,7:P1}  {Rates(row.Bytes / row.Calls, row.Operations / row.Calls, row.Seconds / row.Calls)}\n");
        }

        return text.ToString();
    }

    /// <summary>Time and rates of one call.</summary>
    public static string Rates(double bytes, double operations, double seconds) => string.Create(
        CultureInfo.InvariantCulture,
        $"{seconds * 1e6,10:F1} µs {bytes / seconds / 1e9,8:F2} GB/s {(operations > 0 ? (operations / seconds / 1e9).ToString("F1", CultureInfo.InvariantCulture) : "-"),9} GFLOP/s");
}
