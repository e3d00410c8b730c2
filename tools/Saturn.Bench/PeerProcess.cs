using System.Diagnostics;
using System.Text.Json;
using Saturn.Kernels.Diagnostics;

namespace Saturn.Bench;

/// <summary>
/// A peer, such as PyTorch, in a process of its own that does work on request (one line of JSON each way, see tools/peers/torch_cpu.py). Work is set up at
/// its first round and kept for the later ones. One request at a time; disposing ends the process.
/// </summary>
public sealed class PeerProcess : IDisposable
{
    /// <summary>The environment variable that names the Python interpreter to use; it must be able to import torch.</summary>
    public static string InterpreterVariable => EnvironmentVariable.PeerPython.Name;

    private const string DefaultInterpreter = "/usr/bin/python3";
    private readonly Process process;
    private readonly Queue<string> errorLines = new();
    private readonly ManualResetEventSlim errorsEnded = new();
    private readonly TimeSpan patience;

    private PeerProcess(Process process, TimeSpan patience)
    {
        this.process = process;
        this.patience = patience;
        process.ErrorDataReceived += (_, line) => Remember(line.Data);
        process.BeginErrorReadLine();
    }

    /// <summary>The peer's name and versions, for table headings.</summary>
    public string Name { get; private set; } = "peer";

    /// <summary>The peer's peak resident memory before any work, in bytes: what importing it costs.</summary>
    public long IdleResidentBytes { get; private set; }

    /// <summary>Starts PyTorch on the CPU.</summary>
    /// <param name="interpreter">The Python interpreter; by default the one in SATURN_PEER_PYTHON, else /usr/bin/python3.</param>
    /// <param name="script">The peer's script; by default the one that is built next to this library.</param>
    /// <param name="patience">How long one request may take; by default ten minutes.</param>
    /// <param name="arguments">Further arguments of the script.</param>
    /// <exception cref="PeerException">The interpreter cannot be started or cannot import torch.</exception>
    public static PeerProcess StartTorch(string? interpreter = null, string? script = null, TimeSpan? patience = null, params ReadOnlySpan<string> arguments)
    {
        interpreter ??= EnvironmentVariable.PeerPython.Value ?? DefaultInterpreter;
        script ??= Path.Combine(AppContext.BaseDirectory, "peers", "torch_cpu.py");
        ProcessStartInfo start = new(interpreter, [script, .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception exception)
        {
            throw new PeerException(
                $"The Python interpreter '{interpreter}' cannot be started ({exception.Message}). Run tools/install-peers.sh, or name an interpreter that has "
                + $"torch in {InterpreterVariable}.", exception);
        }

        PeerProcess peer = new(process, patience ?? TimeSpan.FromMinutes(10));
        try
        {
            using JsonDocument hello = PeerReply.ParseObject(peer.Ask("""{"do":"hello"}"""));
            peer.Name = hello.RootElement.TryGetProperty("name", out JsonElement name) ? name.ToString() : $"PyTorch {hello.RootElement.GetProperty("torch")}, oneDNN {hello.RootElement.GetProperty("onednn")}";
            peer.IdleResidentBytes = hello.RootElement.GetProperty("peak_rss_bytes").GetInt64();
            return peer;
        }
        catch (Exception exception) when (exception is PeerException or KeyNotFoundException)
        {
            peer.Dispose();
            throw new PeerException(
                $"'{interpreter}' does not run PyTorch: {exception.Message} Run tools/install-peers.sh, or name an interpreter that has torch in "
                + $"{InterpreterVariable}.", exception);
        }
    }

    /// <summary>Starts PyTorch on the GPU, or, with a GPU in software on our side, on the CPU, where its times mean nothing.</summary>
    /// <param name="device">PyTorch's name of the device, such as <c>cuda:0</c> or <c>cpu</c>.</param>
    /// <param name="patience">How long one request may take.</param>
    /// <exception cref="PeerException">The interpreter cannot be started or cannot import torch.</exception>
    public static PeerProcess StartTorchOnGpu(string device, TimeSpan patience) =>
        StartTorch(null, Path.Combine(AppContext.BaseDirectory, "peers", "torch_gpu.py"), patience, device);

    /// <summary>Does one round of some work.</summary>
    /// <exception cref="PeerException">The peer failed or took too long.</exception>
    public PeerReply Run(PeerWork work, int warmup, int repetitions) => PeerReply.Parse(Ask(work.ToRequest("run", warmup, repetitions)));

    /// <summary>Does some work in a fresh process of the peer and returns that process's peak resident memory in bytes.</summary>
    /// <exception cref="PeerException">The peer failed or took too long.</exception>
    public long PeakResidentBytes(PeerWork work, int repetitions = 3) => PeerReply.Parse(Ask(work.ToRequest("peak_memory", 0, repetitions))).PeakResidentBytes;

    /// <summary>Whether the process is gone, so that it cannot be asked any more.</summary>
    public bool HasEnded => process.HasExited;

    /// <summary>Frees all work that earlier rounds set up.</summary>
    /// <exception cref="PeerException">The peer failed.</exception>
    public void Release() => PeerReply.ParseObject(Ask("""{"do":"release"}""")).Dispose();

    /// <summary>Ends the process.</summary>
    public void Dispose()
    {
        try
        {
            process.StandardInput.Close();
            if (!process.WaitForExit(TimeSpan.FromSeconds(2)))
            {
                process.Kill(entireProcessTree: true);
            }
        }
        catch (Exception exception) when (exception is InvalidOperationException or IOException)
        {
            // It has ended already, which is what was wanted.
        }

        process.Dispose();
    }

    private string Ask(string request)
    {
        string? answer = null;
        try
        {
            process.StandardInput.WriteLine(request);
            process.StandardInput.Flush();
            Task<string?> reading = process.StandardOutput.ReadLineAsync();
            if (!reading.Wait(patience))
            {
                process.Kill(entireProcessTree: true);
                throw new PeerException($"The peer did not answer '{request}' within {patience.TotalSeconds:0} s and was ended.");
            }

            answer = reading.Result;
        }
        catch (IOException)
        {
            // The pipe is broken because the process ended; what it said on the way out is told below.
            answer = process.StandardOutput.ReadLine();
        }

        if (answer is null)
        {
            errorsEnded.Wait(TimeSpan.FromSeconds(2));
            throw new PeerException($"The peer ended without an answer to '{request}'. Its last words: {LastWords()}");
        }

        return answer;
    }

    private void Remember(string? line)
    {
        if (line is null)
        {
            errorsEnded.Set();
            return;
        }

        lock (errorLines)
        {
            errorLines.Enqueue(line);
            if (errorLines.Count > 10)
            {
                errorLines.Dequeue();
            }
        }
    }

    private string LastWords()
    {
        lock (errorLines)
        {
            return errorLines.Count == 0 ? "none." : string.Join(" | ", errorLines);
        }
    }
}
