using Saturn.Engine;
using Saturn.Kernels;

namespace Saturn.Layers.Models;

/// <summary>A whole network, from images [batch, height, width, channels] to logits [batch, classes].</summary>
public abstract class Model : Module
{
    private readonly List<(string Name, Shortcut Shortcut)> shortcuts = [];

    /// <summary>Creates an empty model.</summary>
    protected Model(Device device, ModelRecipe recipe)
        : base(device) => Recipe = recipe;

    /// <summary>What the model was made from.</summary>
    public ModelRecipe Recipe { get; }

    /// <summary>The identity shortcuts of residual blocks by the block's name; their maps belong to a checkpoint.</summary>
    public IReadOnlyList<(string Name, Shortcut Shortcut)> Shortcuts => shortcuts;

    /// <summary>Sets all parameters to their starting values; see <see cref="Initializer"/>.</summary>
    public void Initialize(ulong seed, FilterInitialization filters = FilterInitialization.KaimingNormalFanOut) => Initializer.Initialize(this, seed, filters);

    /// <summary>Adds a block's shortcut to the list.</summary>
    protected void AddShortcut(string name, Shortcut shortcut) => shortcuts.Add((name, shortcut));
}
