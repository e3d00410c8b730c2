using Saturn.Engine;
using Saturn.Kernels;

namespace Saturn.Layers;

/// <summary>
/// A part of a network: it owns parameters and smaller modules, all registered by name in its constructor. Full names are the path of registered names, joined
/// by dots, as in <c>layer1.0.conv1.weight</c>; registering a module puts its name in front of everything inside it.
/// </summary>
public abstract class Module : IDisposable
{
    private readonly List<Module> children = [];
    private readonly List<Parameter> ownParameters = [];
    private readonly List<ChannelActivity> ownActivities = [];
    private readonly List<IDisposable> ownResources = [];

    /// <summary>Creates an empty module.</summary>
    protected Module(Device device) => Device = device;

    /// <summary>Where the parameters live.</summary>
    public Device Device { get; }

    /// <summary>The path of registered names that leads here from the outermost module, such as <c>layer1.0</c>; empty for the outermost.</summary>
    public string Name { get; private set; } = "";

    /// <summary>Whether the module is in training mode: batch statistics and dropout are in use. A new module is.</summary>
    public bool IsTraining { get; private set; } = true;

    /// <summary>Every parameter of this module and the modules in it that has not been removed, running statistics included, in order of registration.</summary>
    public IEnumerable<Parameter> Parameters =>
        ownParameters.Where(parameter => !parameter.IsRemoved).Concat(children.SelectMany(child => child.Parameters));

    /// <summary>
    /// The unit groups: one record for each activation whose channels can die. A group that went with its residual branch is there with 0 channels.
    /// </summary>
    public IEnumerable<ChannelActivity> Activities => ownActivities.Concat(children.SelectMany(child => child.Activities));

    /// <summary>The modules registered directly in this one.</summary>
    public IReadOnlyList<Module> Children => children;

    /// <summary>Computes the module's output and records it on the tape.</summary>
    public abstract Tensor Forward(Tensor input);

    /// <summary>Switches this module and all in it to training mode, or to evaluation mode.</summary>
    public void SetTraining(bool training)
    {
        IsTraining = training;
        foreach (Module child in children)
        {
            child.SetTraining(training);
        }
    }

    /// <summary>Tells all modules which training step comes next; dropout draws its masks from it, and activity records start anew.</summary>
    public virtual void BeginStep(long step)
    {
        foreach (ChannelActivity activity in ownActivities)
        {
            activity.Reset();
        }

        foreach (Module child in children)
        {
            child.BeginStep(step);
        }
    }

    /// <summary>Frees all parameters and activity records.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the module's resources.</summary>
    protected virtual void Dispose(bool disposing)
    {
        foreach (Module child in children)
        {
            child.Dispose();
        }

        foreach (Parameter parameter in ownParameters)
        {
            parameter.Dispose();
        }

        foreach (ChannelActivity activity in ownActivities)
        {
            activity.Dispose();
        }

        foreach (IDisposable resource in ownResources)
        {
            resource.Dispose();
        }
    }

    /// <summary>Registers a module under a name; an empty name adds nothing to the path.</summary>
    /// <returns>The module.</returns>
    protected T Register<T>(string name, T module)
        where T : Module
    {
        children.Add(module);
        module.Prefix(name);
        return module;
    }

    /// <summary>Registers a parameter; its <see cref="Parameter.Name"/> is the name inside this module.</summary>
    /// <returns>The parameter.</returns>
    protected Parameter Register(Parameter parameter)
    {
        ownParameters.Add(parameter);
        return parameter;
    }

    /// <summary>Registers a unit group under a name.</summary>
    /// <returns>The record.</returns>
    protected ChannelActivity Register(string name, ChannelActivity activity)
    {
        activity.Name = name;
        ownActivities.Add(activity);
        return activity;
    }

    /// <summary>Takes something over that is freed with the module.</summary>
    /// <returns>The same thing.</returns>
    protected T Own<T>(T resource)
        where T : IDisposable
    {
        ownResources.Add(resource);
        return resource;
    }

    private void Prefix(string name)
    {
        if (name.Length == 0)
        {
            return;
        }

        Name = Name.Length == 0 ? name : name + "." + Name;
        foreach (Parameter parameter in ownParameters)
        {
            parameter.Name = name + "." + parameter.Name;
        }

        foreach (ChannelActivity activity in ownActivities)
        {
            activity.Name = activity.Name.Length == 0 ? name : name + "." + activity.Name;
        }

        foreach (Module child in children)
        {
            child.Prefix(name);
        }
    }
}
