using Saturn.Engine;
using Saturn.Kernels;

namespace Saturn.Layers;

/// <summary>Modules one after the other, named by their position: 0, 1, 2, …</summary>
public sealed class Sequential : Module
{
    /// <summary>Creates the chain.</summary>
    public Sequential(Device device, params IEnumerable<Module> modules)
        : base(device)
    {
        int index = 0;
        foreach (Module module in modules)
        {
            Register($"{index++}", module);
        }
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input)
    {
        for (int i = 0; i < Children.Count; i++)
        {
            input = Children[i].Forward(input);
        }

        return input;
    }
}
