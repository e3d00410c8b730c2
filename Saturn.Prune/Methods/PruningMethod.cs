using System.Reflection;
using Saturn.Engine.Optimizers;

namespace Saturn.Prune.Methods;

/// <summary>
/// A way to prune a network while it trains. A method overrides the moments of a step that it needs; <see cref="PruningRun"/> calls them in this order: <see cref="Begin"/>, <see cref="AtStart"/>
/// (not when a run is resumed), and then for every step <see cref="BeforeStep"/>, <see cref="BeforeUpdate"/>, the optimizer's update, <see cref="AfterUpdate"/> and <see cref="AfterStep"/>. With a
/// <see cref="MethodAttribute"/> and a public constructor without parameters, <c>saturn train --method NAME</c> finds it.
/// </summary>
public abstract class PruningMethod : IDisposable
{
    private bool? actsInUpdate;

    /// <summary>As after <c>--method</c>; the class's name where it has no <see cref="MethodAttribute"/>.</summary>
    public string Name => GetType().GetCustomAttribute<MethodAttribute>()?.Name ?? GetType().Name;

    /// <summary>λ of the step that was last prepared; 0 for methods without pressure.</summary>
    public virtual double Lambda => 0;

    /// <summary>σ of the noise of the step that was last prepared; 0 for methods without noise.</summary>
    public virtual double NoiseStandardDeviation => 0;

    /// <summary>Whether single weights come and go, so that the stability of their set is worth a log.</summary>
    public virtual bool ChangesSingleWeights => false;

    /// <summary>Whether the method does something between the backward pass and the end of the update, so that its steps cannot be repeated from a recording.</summary>
    public bool ActsInUpdate => actsInUpdate ??= IsOverridden(BeforeUpdate) || IsOverridden(AfterUpdate);

    private static bool IsOverridden(Action<PruningRun, long> moment) => moment.Method.DeclaringType != typeof(PruningMethod);

    /// <summary>Checks the settings on their own.</summary>
    /// <exception cref="ArgumentException">One sentence: the setting, what it must be, what came.</exception>
    public virtual void Validate()
    {
    }

    /// <summary>An update rule that the method brings along; null where it works with any.</summary>
    /// <param name="groups">The parameter groups.</param>
    /// <param name="momentum">Momentum asked for.</param>
    /// <param name="nesterov">Whether Nesterov's rule is asked for.</param>
    public virtual Optimizer? CreateOptimizer(IReadOnlyList<ParameterGroup> groups, double momentum, bool nesterov) => null;

    /// <summary>The model, its graph and its optimizer are ready.</summary>
    /// <exception cref="ArgumentException">The method does not fit this network, or a target cannot be met on it.</exception>
    public virtual void Begin(PruningRun run)
    {
    }

    /// <summary>Before the first step of a run.</summary>
    public virtual void AtStart(PruningRun run)
    {
    }

    /// <summary>Before the forward pass: sets pressure and noise of the optimizer's groups.</summary>
    /// <param name="run">The run.</param>
    /// <param name="step">The step, from 0.</param>
    public virtual void BeforeStep(PruningRun run, long step)
    {
    }

    /// <summary>The gradients are complete; the optimizer has not used them.</summary>
    /// <param name="run">The run.</param>
    /// <param name="step">The step, from 0.</param>
    public virtual void BeforeUpdate(PruningRun run, long step)
    {
    }

    /// <summary>The parameters are updated.</summary>
    /// <param name="run">The run.</param>
    /// <param name="step">The step, from 0.</param>
    public virtual void AfterUpdate(PruningRun run, long step)
    {
    }

    /// <summary>The step is over and counted; units may be removed now.</summary>
    /// <param name="run">The run.</param>
    /// <param name="stepsTaken">Steps taken, this one included.</param>
    public virtual void AfterStep(PruningRun run, long stepsTaken)
    {
    }

    /// <summary>Writes what the method must know again when the run is resumed.</summary>
    public virtual void Save(MethodState state)
    {
    }

    /// <summary>Takes back what <see cref="Save"/> wrote; called before <see cref="Begin"/>.</summary>
    public virtual void Load(MethodState state)
    {
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees what the method holds on the device.</summary>
    protected virtual void Dispose(bool disposing)
    {
    }

    /// <summary>Throws unless a setting fits.</summary>
    protected static void Require(bool condition, string setting, string expected, object? actual)
    {
        if (!condition)
        {
            throw new ArgumentException($"The setting {setting} must be {expected}, but is {actual}.");
        }
    }
}

/// <summary>Names a method for the command line.</summary>
/// <param name="name">Lower case, as after <c>--method</c>.</param>
/// <param name="summary">One sentence.</param>
/// <param name="source">The paper.</param>
[AttributeUsage(AttributeTargets.Class, Inherited = false)]
public sealed class MethodAttribute(string name, string summary, string source) : Attribute
{
    /// <summary>Lower case, as after <c>--method</c>.</summary>
    public string Name { get; } = name;

    /// <summary>One sentence.</summary>
    public string Summary { get; } = summary;

    /// <summary>The paper.</summary>
    public string Source { get; } = source;
}

/// <summary>Makes a property of a method a setting: <c>--set NAME=VALUE</c>. Numbers, booleans, strings and enumerations may be settings.</summary>
/// <param name="name">Lower case, words joined by hyphens.</param>
/// <param name="description">One sentence: meaning and range.</param>
[AttributeUsage(AttributeTargets.Property)]
public sealed class SettingAttribute(string name, string description) : Attribute
{
    /// <summary>Lower case, words joined by hyphens.</summary>
    public string Name { get; } = name;

    /// <summary>One sentence: meaning and range.</summary>
    public string Description { get; } = description;
}
