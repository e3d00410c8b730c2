using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Autograd;

/// <summary>
/// What a residual sum sends to a source that it reads through a map: its own gradient as it stands, for whoever makes the source's gradient next to gather while writing. It owns its memory.
/// </summary>
/// <param name="Sum">The gradient of the sum; null: nothing waits.</param>
/// <param name="Map">How the sum reads the source.</param>
internal readonly record struct WaitingGradient(Storage? Sum, ShortcutMap Map) : IDisposable
{
    /// <summary>Whether nothing waits.</summary>
    public bool IsNone => Sum is null;

    /// <summary>As a kernel takes it.</summary>
    public ShortcutGradient On(Device device) => Sum is null ? default : new ShortcutGradient(Sum.Buffer, Map.Sources.Length, Map.OutputsOn(device));

    /// <summary>Frees the memory.</summary>
    public void Dispose() => Sum?.Release();
}
