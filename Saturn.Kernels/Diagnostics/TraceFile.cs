using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace Saturn.Kernels.Diagnostics;

/// <summary>
/// A timeline in the trace event format of Chrome, which Perfetto reads: one complete event (<c>"ph": "X"</c>) a call, in microseconds. It is written under a temporary name and renamed when it is whole.
/// </summary>
internal sealed class TraceFile : IDisposable
{
    private readonly string path;
    private readonly StreamWriter file;
    private readonly long origin = Stopwatch.GetTimestamp();

    /// <summary>Opens a timeline.</summary>
    /// <param name="path">The file's name.</param>
    /// <param name="device">The name of its track.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public TraceFile(string path, string device)
    {
        this.path = path;
        try
        {
            file = new StreamWriter(path + ".tmp");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"The timeline '{path}' cannot be written ({exception.Message.TrimEnd('.')}); name another file in {EnvironmentVariable.Trace.Name}.");
        }

        file.Write($"{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"args\":{{\"name\":{Quoted($"Saturn on {device}")}}}}}");
    }

    /// <summary>Adds a call.</summary>
    public void Add(string name, long start, TimeSpan elapsed, string sizes) => file.Write(string.Create(
        CultureInfo.InvariantCulture,
        $",\n{{\"name\":{Quoted(name)},\"cat\":\"{name[..name.IndexOf('.')]}\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":{Stopwatch.GetElapsedTime(origin, start).TotalMicroseconds:F3},\"dur\":{elapsed.TotalMicroseconds:F3},\"args\":{{\"sizes\":{Quoted(sizes)}}}}}"));

    /// <summary>Ends the file and gives it its name.</summary>
    public void Dispose()
    {
        file.Write("\n]}\n");
        file.Dispose();
        File.Move(path + ".tmp", path, overwrite: true);
    }

    private static string Quoted(string text) => $"\"{JsonEncodedText.Encode(text, System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";
}
