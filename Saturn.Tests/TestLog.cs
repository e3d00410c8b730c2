using System.Text.Json.Nodes;
using NUnit.Framework.Interfaces;

namespace Saturn.Tests;

/// <summary>
/// Results of test cases in a file, one line of JSON each, written before and after each case. A run that continues with the same file leaves out what has a result, and counts a case that
/// was begun without an end as failed: it ended the process, as a kernel that hangs or a lost CUDA context does.
/// </summary>
internal sealed class TestLog : IDisposable
{
    private readonly StreamWriter? writer;
    private readonly Dictionary<string, JsonObject> results = [];

    /// <summary>Opens the file, or keeps the results in memory.</summary>
    public TestLog(string? file)
    {
        if (file is null)
        {
            return;
        }

        if (File.Exists(file))
        {
            foreach (string line in File.ReadLines(file).Where(line => line.EndsWith('}')))
            {
                JsonObject result = JsonNode.Parse(line)!.AsObject();
                results[Key((string?)result["id"], (string)result["test"]!)] = result;
            }
        }

        writer = new StreamWriter(file, append: true) { AutoFlush = true };
        foreach (JsonObject begun in results.Values.Where(result => (string)result["outcome"]! == "begun").ToArray())
        {
            Write(new JsonObject { ["id"] = (string?)begun["id"], ["test"] = (string)begun["test"]!, ["outcome"] = "failed", ["message"] = "The process ended in this test." });
        }
    }

    /// <summary>The last line of each case.</summary>
    public IReadOnlyCollection<JsonObject> Results => results.Values;

    /// <summary>Whether a case has a result.</summary>
    public bool Contains(ITest test) => results.ContainsKey(Key(test.Id, test.FullName));

    /// <summary>The cases with this outcome.</summary>
    public IEnumerable<JsonObject> With(string outcome) => results.Values.Where(result => (string)result["outcome"]! == outcome);

    /// <summary>Adds a line.</summary>
    public void Write(JsonObject result)
    {
        results[Key((string?)result["id"], (string)result["test"]!)] = result;
        writer?.WriteLine(result.ToJsonString());
    }

    // Two cases may have one name, where arguments differ but read the same.
    private static string Key(string? id, string test) => $"{id} {test}";

    /// <inheritdoc/>
    public void Dispose() => writer?.Dispose();
}
