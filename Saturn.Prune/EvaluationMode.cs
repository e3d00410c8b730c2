using Saturn.Layers;

namespace Saturn.Prune;

/// <summary>Holds a model in evaluation mode, and gives every module its own mode back when it is disposed, so that frozen layers stay frozen.</summary>
internal sealed class EvaluationMode : IDisposable
{
    private readonly List<(Module Module, bool Training)> modes = [];

    public EvaluationMode(Module model)
    {
        Remember(model);
        model.SetTraining(false);
    }

    public void Dispose()
    {
        // A module's mode is set with that of all inside it, so the inner ones are restored after it.
        foreach (var (module, training) in modes)
        {
            module.SetTraining(training);
        }
    }

    private void Remember(Module module)
    {
        modes.Add((module, module.IsTraining));
        foreach (Module child in module.Children)
        {
            Remember(child);
        }
    }
}
