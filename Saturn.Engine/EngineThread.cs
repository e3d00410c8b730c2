using Saturn.Engine.Autograd;

namespace Saturn.Engine;

/// <summary>
/// What the engine keeps for one thread: its tape, the tensors of its open scopes, and whether operations are recorded. Tensors are used on the
/// thread that made them.
/// </summary>
internal sealed class EngineThread
{
    [ThreadStatic]
    private static EngineThread? current;

    public static EngineThread Current => current ??= new EngineThread();

    public Tape Tape { get; } = new();

    /// <summary>The tensors of all open scopes, innermost last.</summary>
    public List<ScopedTensor> Scoped { get; } = new(1024);

    public int ScopeDepth { get; set; }

    /// <summary>How many <see cref="InferenceScope"/>s are open; operations are recorded only at 0.</summary>
    public int InferenceDepth { get; set; }
}

/// <summary>A tensor that a scope owns.</summary>
/// <param name="Handle">The handle.</param>
/// <param name="Version">The handle's version then; another one now means that the tensor was disposed by hand.</param>
/// <param name="Depth">Nesting depth of the owning scope, 1 for the outermost.</param>
internal readonly record struct ScopedTensor(TensorHandle Handle, int Version, int Depth);
