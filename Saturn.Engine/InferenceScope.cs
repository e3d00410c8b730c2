namespace Saturn.Engine;

/// <summary>While one is open, operations of this thread are not recorded on the tape: <code>using var inference = new InferenceScope();</code></summary>
public readonly ref struct InferenceScope : IDisposable
{
    private readonly EngineThread thread;

    /// <summary>Stops recording.</summary>
    public InferenceScope()
    {
        thread = EngineThread.Current;
        thread.InferenceDepth++;
    }

    /// <summary>Resumes recording, unless an outer inference scope is open.</summary>
    public void Dispose() => thread.InferenceDepth--;
}
