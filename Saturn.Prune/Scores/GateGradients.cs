using Saturn.Engine;
using Saturn.Engine.Operations;

namespace Saturn.Prune.Scores;

/// <summary>
/// Puts a gate on every unit and takes the gradient of the loss with respect to the gates, summed over batches. The network runs in training mode, because running statistics mean nothing before training;
/// they are put back afterwards bit for bit. The parameters are frozen meanwhile: their gradients are neither computed nor left behind, so that a batch costs a forward pass and the gradient of the data.
/// </summary>
internal sealed class GateGradients : IDisposable
{
    private readonly PruningRun run;
    private readonly int batches;
    private readonly UnitGroup[] groups;
    private readonly List<(Parameter Parameter, float[] Values)> statistics;
    private readonly EvaluationMode modes;
    private readonly Parameter[] frozen;

    /// <summary>Prepares the gates, all 1.</summary>
    /// <exception cref="InvalidOperationException">The run has no labelled images.</exception>
    public GateGradients(PruningRun run, int batches)
    {
        this.run = run;
        this.batches = batches;
        groups = [.. run.Graph.Groups.Where(group => group.Channels > 0)];
        statistics = [.. run.Model.Parameters.Where(parameter => !parameter.IsTrained).Select(parameter => (parameter, parameter.Value.ToArray()))];
        if (run.LabelledImages is null)
        {
            throw new InvalidOperationException($"{run.Method.GetType().Name} needs gradients, but PruningRun.LabelledImages is not set.");
        }

        // Remembers every module's mode; for the gradients all of them train.
        modes = new EvaluationMode(run.Model);
        run.Model.SetTraining(true);
        foreach (UnitGroup group in groups)
        {
            group.Activity.Gates = new ChannelGates(run.Model.Device, group.Channels);
            group.Activity.IsPaused = true;
        }

        frozen = [.. run.Model.Parameters.Where(parameter => parameter.IsTrained && !parameter.IsFrozen)];
        SetFrozen(true);
    }

    /// <summary>Sets the gates to 1 + step·direction.</summary>
    public void Move(IReadOnlyDictionary<UnitGroup, double[]> direction, double step)
    {
        foreach (UnitGroup group in groups)
        {
            group.Activity.Gates!.Set([.. direction[group].Select(value => (float)(1 + step * value))]);
        }
    }

    /// <summary>Σ over the batches of ∂L/∂g at the present gates.</summary>
    public Dictionary<UnitGroup, double[]> Take()
    {
        foreach (UnitGroup group in groups)
        {
            group.Activity.Gates!.ClearGradient();
        }

        run.LabelledImages!(batches, (images, labels) =>
        {
            using TensorScope scope = new();
            run.Model.BeginStep(0);
            Operation.SoftmaxCrossEntropy(run.Model.Forward(images), labels).Backward();

            // Two passes: forward, and the data's gradient.
            run.Accounting.CountForward(images.Shape[0], 2);
        });
        return groups.ToDictionary(group => group, group => Array.ConvertAll(group.Activity.Gates!.ReadGradient(), value => (double)value));
    }

    /// <summary>Takes the gates away and puts the running statistics back.</summary>
    public void Dispose()
    {
        foreach (UnitGroup group in groups)
        {
            group.Activity.Gates?.Dispose();
            group.Activity.Gates = null;
            group.Activity.IsPaused = false;
        }

        SetFrozen(false);
        modes.Dispose();
        foreach (var (parameter, values) in statistics)
        {
            parameter.Value.CopyFrom(values);
        }
    }

    private void SetFrozen(bool value)
    {
        foreach (Parameter parameter in frozen)
        {
            parameter.IsFrozen = value;
        }
    }
}
