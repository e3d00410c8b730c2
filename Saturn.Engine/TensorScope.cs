namespace Saturn.Engine;

/// <summary>
/// Owns every tensor that operations create while it is the innermost open scope of its thread, and frees them when it is disposed:
/// <code>using var step = new TensorScope();</code>
/// Tape nodes recorded inside are dropped as well. Being a ref struct, a scope cannot cross an <c>await</c> or enter a lambda. Scopes nest and close in
/// reverse order. Tensors created outside of any scope belong to their creator.
/// </summary>
public readonly ref struct TensorScope : IDisposable
{
    private readonly EngineThread thread;
    private readonly int start;
    private readonly int tapeStart;
    private readonly int depth;

    /// <summary>Opens a scope.</summary>
    public TensorScope()
    {
        thread = EngineThread.Current;
        start = thread.Scoped.Count;
        tapeStart = thread.Tape.Count;
        depth = ++thread.ScopeDepth;
    }

    /// <summary>Hands a tensor over to the enclosing scope, or to the caller if there is none, so that it survives this one.</summary>
    /// <returns>The same tensor.</returns>
    public Tensor Keep(Tensor tensor)
    {
        TensorHandle handle = tensor.Handle;
        for (int i = thread.Scoped.Count - 1; i >= start; i--)
        {
            ScopedTensor entry = thread.Scoped[i];
            if (ReferenceEquals(entry.Handle, handle) && entry.Version == handle.Version)
            {
                thread.Scoped[i] = entry with { Depth = depth - 1 };
                break;
            }
        }

        return tensor;
    }

    /// <summary>Frees the scope's tensors and drops the tape nodes recorded since it was opened.</summary>
    /// <exception cref="InvalidOperationException">An inner scope is still open.</exception>
    public void Dispose()
    {
        if (thread.ScopeDepth != depth)
        {
            throw new InvalidOperationException(
                $"A tensor scope of depth {depth} was closed while depth {thread.ScopeDepth} is open; close scopes in reverse order, each once.");
        }

        thread.Tape.TruncateTo(tapeStart);
        List<ScopedTensor> scoped = thread.Scoped;
        int kept = start;
        for (int i = start; i < scoped.Count; i++)
        {
            ScopedTensor entry = scoped[i];
            if (entry.Handle.Version != entry.Version)
            {
                continue;
            }

            if (entry.Depth >= depth)
            {
                entry.Handle.DisposeData();
            }
            else if (entry.Depth > 0)
            {
                scoped[kept++] = entry;
            }
        }

        scoped.RemoveRange(kept, scoped.Count - kept);
        thread.ScopeDepth--;
    }
}
