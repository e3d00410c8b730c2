using Saturn.Engine;
using Saturn.Engine.Optimizers;
using Saturn.Kernels.Families;
using Saturn.Layers;

namespace Saturn.Prune;

/// <summary>
/// Masks on single weights of convolutions and linear layers, 1 for a weight that is there and 0 for one that is not. Masked weights are zero, their gradients are made zero before each update and
/// their moments when they are masked, so every update rule leaves them at zero. Surgery gathers the masks with their weights. They save no time: they say what a sparse format could save.
/// </summary>
public sealed class WeightMasks : IDisposable
{
    private readonly Dictionary<Parameter, Tensor> masks = [];
    private readonly Dictionary<Parameter, long> absent = [];

    internal WeightMasks(Module model)
    {
        foreach (Parameter parameter in model.Parameters.Where(parameter => parameter.Role == ParameterRole.Weight && parameter.Shape.Rank >= 2))
        {
            Tensor mask = Tensor.AllocateUnscoped(parameter.Value.Device, parameter.Shape);
            parameter.Value.Device.Elementwise.Fill(parameter.Shape, mask.Buffer, 1);
            masks[parameter] = mask;
            absent[parameter] = 0;
        }
    }

    /// <summary>Changes with every change of a mask.</summary>
    public long Version { get; private set; }

    /// <summary>The weights that can be masked, in the order of the model.</summary>
    public IReadOnlyCollection<Parameter> Weights => masks.Keys;

    /// <summary>Masked weights of each tensor.</summary>
    public IReadOnlyDictionary<Parameter, long> Absent => absent;

    /// <summary>The mask of a weight: 0 or 1, of the weight's shape.</summary>
    public Tensor this[Parameter parameter] => masks[parameter];

    /// <summary>The mask of a weight on the host, in row-major order without padding.</summary>
    public bool[] Read(Parameter parameter) => [.. masks[parameter].ToArray().Select(value => value != 0)];

    /// <summary>Sets a mask, and clears weights and moments where it is closed. Weights that come back start at zero.</summary>
    /// <param name="parameter">The weight.</param>
    /// <param name="open">One flag a weight in row-major order without padding.</param>
    /// <param name="optimizer">Whose moments are cleared; null for none.</param>
    /// <exception cref="ArgumentException">The number of flags is not that of the weights.</exception>
    public void Set(Parameter parameter, ReadOnlySpan<bool> open, Optimizer? optimizer)
    {
        float[] values = new float[open.Length];
        long closed = 0;
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = open[i] ? 1 : 0;
            closed += open[i] ? 0 : 1;
        }

        Version++;
        masks[parameter].CopyFrom(values);
        absent[parameter] = closed;
        Apply(parameter, parameter.Value);
        parameter.ValueChanged();
        foreach (Tensor moment in optimizer?.MomentsOf(parameter) ?? [])
        {
            Apply(parameter, moment);
        }
    }

    /// <summary>Makes the gradients of masked weights zero.</summary>
    public void ApplyToGradients()
    {
        foreach (var (parameter, closed) in absent)
        {
            if (closed > 0 && !parameter.IsRemoved && parameter.HasGradient)
            {
                Apply(parameter, parameter.Gradient);
            }
        }
    }

    /// <summary>Frees the masks.</summary>
    public void Dispose()
    {
        foreach (Tensor mask in masks.Values)
        {
            mask.Dispose();
        }

        masks.Clear();
        absent.Clear();
    }

    /// <summary>Puts a gathered mask in the place of the old one.</summary>
    internal void Replace(Parameter parameter, Tensor mask)
    {
        Version++;
        masks[parameter].Dispose();
        masks[parameter] = mask;
        absent[parameter] = mask.ToArray().LongCount(value => value == 0);
    }

    /// <summary>Frees the masks of weights that went with their branch.</summary>
    internal void ForgetRemoved()
    {
        Version++;
        foreach (Parameter parameter in masks.Keys.Where(parameter => parameter.IsRemoved).ToArray())
        {
            masks[parameter].Dispose();
            masks.Remove(parameter);
            absent.Remove(parameter);
        }
    }

    private void Apply(Parameter parameter, Tensor target) => target.Device.Elementwise.Binary(
        BinaryOperation.Multiply, target.Shape, target.Buffer, target.Shape, masks[parameter].Buffer, target.Shape, target.Buffer);
}
