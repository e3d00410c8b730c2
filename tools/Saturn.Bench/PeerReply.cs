using System.Text.Json;

namespace Saturn.Bench;

/// <summary>What a peer measured.</summary>
/// <param name="Milliseconds">One time a timed repetition.</param>
/// <param name="PeakResidentBytes">The largest resident set that the peer's process has had.</param>
/// <param name="Loss">The loss of the last training step, where there was one.</param>
public sealed record PeerReply(IReadOnlyList<double> Milliseconds, long PeakResidentBytes, double? Loss)
{
    /// <summary>The number of a model's weights, where the peer tells it.</summary>
    public long? Parameters { get; init; }

    /// <summary>Parses a reply line.</summary>
    /// <exception cref="PeerException">The peer reported an error, or the line is not a reply.</exception>
    public static PeerReply Parse(string line)
    {
        using JsonDocument document = ParseObject(line);
        JsonElement reply = document.RootElement;
        try
        {
            double[] milliseconds = [.. reply.GetProperty("milliseconds").EnumerateArray().Select(value => value.GetDouble())];
            double? loss = reply.TryGetProperty("loss", out JsonElement value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : null;
            long? parameters = reply.TryGetProperty("parameters", out JsonElement count) && count.ValueKind == JsonValueKind.Number ? count.GetInt64() : null;
            return new PeerReply(milliseconds, reply.GetProperty("peak_rss_bytes").GetInt64(), loss) { Parameters = parameters };
        }
        catch (Exception exception) when (exception is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new PeerException($"The peer answered '{line}', but a reply has the numbers 'milliseconds' and 'peak_rss_bytes'.", exception);
        }
    }

    /// <summary>Parses any answer of the peer as a JSON object that is not an error.</summary>
    internal static JsonDocument ParseObject(string line)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(line);
        }
        catch (JsonException exception)
        {
            throw new PeerException($"The peer answered '{line}', which is not JSON.", exception);
        }

        if (document.RootElement.ValueKind == JsonValueKind.Object && !document.RootElement.TryGetProperty("error", out _))
        {
            return document;
        }

        using (document)
        {
            throw document.RootElement.ValueKind == JsonValueKind.Object
                ? new PeerException($"The peer failed: {document.RootElement.GetProperty("error")}")
                : new PeerException($"The peer answered '{line}', but an answer is a JSON object.");
        }
    }
}

/// <summary>Thrown when a peer cannot be started, fails, or answers something else than a reply.</summary>
public sealed class PeerException(string message, Exception? inner = null) : Exception(message, inner);
