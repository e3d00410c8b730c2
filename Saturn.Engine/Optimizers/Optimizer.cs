using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Optimizers;

/// <summary>
/// Updates parameters from their gradients, all in one kernel launch. The order of one step: scale and clip the gradient, weight decay, regulariser, update
/// rule, noise. A step allocates nothing once every parameter has its moments.
/// </summary>
public abstract partial class Optimizer : IDisposable
{
    private readonly Dictionary<Parameter, Moments> moments = [];
    private readonly int momentsPerParameter;
    private readonly Device device;
    private OptimizerTensor[] tensors = new OptimizerTensor[64];
    private Parameter[] updated = new Parameter[64];
    private int count;
    private Tensor clip;

    /// <summary>Creates an optimizer.</summary>
    /// <param name="groups">The parameter groups; a parameter is in at most one.</param>
    /// <param name="momentsPerParameter">Tensors of state a parameter: 0, 1 or 2.</param>
    /// <exception cref="ArgumentException">No parameters, or one in two groups.</exception>
    protected Optimizer(IEnumerable<ParameterGroup> groups, int momentsPerParameter)
    {
        Groups = [.. groups];
        this.momentsPerParameter = momentsPerParameter;
        HashSet<Parameter> seen = [];
        foreach (Parameter parameter in Groups.SelectMany(group => group.Parameters))
        {
            if (!seen.Add(parameter))
            {
                throw new ArgumentException($"Parameter {parameter.Name} is in two groups of one optimizer.", nameof(groups));
            }

            if (!parameter.IsTrained)
            {
                throw new ArgumentException($"Parameter {parameter.Name} is a running statistic and is not trained.", nameof(groups));
            }
        }

        device = seen.FirstOrDefault()?.Value.Device ?? throw new ArgumentException("An optimizer needs at least one parameter.", nameof(groups));
    }

    /// <summary>The parameter groups.</summary>
    public IReadOnlyList<ParameterGroup> Groups { get; }

    /// <summary>The parameters of all groups that have not been removed.</summary>
    public IEnumerable<Parameter> Parameters => Groups.SelectMany(group => group.Parameters).Where(parameter => !parameter.IsRemoved);

    /// <summary>Steps taken.</summary>
    public long StepCount { get; set; }

    /// <summary>Limits the global norm of the gradient to this; null for no limit.</summary>
    public double? MaximumGradientNorm { get; set; }

    /// <summary>Seed of the noise.</summary>
    public ulong NoiseSeed { get; set; }

    /// <summary>Takes one step and clears the gradients. Parameters that no backward pass reached stay as they are.</summary>
    /// <param name="gradientScale">Multiplies every gradient first: 1/n after n accumulated batches.</param>
    public void Step(double gradientScale = 1)
    {
        StepCount++;
        BeginStep();
        UpdateReached(gradientScale);
    }

    /// <summary>Forgets all gradients.</summary>
    public void ClearGradients()
    {
        for (int g = 0; g < Groups.Count; g++)
        {
            for (int i = 0; i < Groups[g].Parameters.Count; i++)
            {
                Groups[g].Parameters[i].ClearGradient();
            }
        }
    }

    /// <summary>The state of a parameter: momentum, Adam's first and second moment, directional pruning's accumulator after its momentum. Empty before its first step.</summary>
    public IReadOnlyList<Tensor> MomentsOf(Parameter parameter)
    {
        if (!moments.TryGetValue(parameter, out Moments? state))
        {
            return [];
        }

        return state.Second.IsNone ? [state.First] : [state.First, state.Second];
    }

    /// <summary>Puts other tensors in the place of a parameter's state, as after a compaction or from a checkpoint, and frees the old ones.</summary>
    /// <param name="parameter">The parameter.</param>
    /// <param name="state">As many unscoped tensors as the rule keeps, of the parameter's shape.</param>
    public void ReplaceMoments(Parameter parameter, params ReadOnlySpan<Tensor> state)
    {
        if (state.Length != momentsPerParameter)
        {
            throw new ArgumentException($"{GetType().Name} keeps {momentsPerParameter} moments of a parameter, but {state.Length} were given for {parameter.Name}.", nameof(state));
        }

        if (state.Length == 0)
        {
            return;
        }

        float? threshold = moments.GetValueOrDefault(parameter)?.Threshold;
        DropMoments(parameter);
        moments[parameter] = new Moments { First = state[0], Second = state.Length > 1 ? state[1] : default, Threshold = threshold };
    }

    /// <summary>Frees the state of a parameter that was removed from the model.</summary>
    public void DropMoments(Parameter parameter)
    {
        if (moments.Remove(parameter, out Moments? state))
        {
            state.First.Dispose();
            state.Second.Dispose();
        }
    }

    /// <summary>Frees all state.</summary>
    public void Dispose()
    {
        foreach (Moments state in moments.Values)
        {
            state.First.Dispose();
            state.Second.Dispose();
        }

        moments.Clear();
        clip.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>The rule with its constants; step, scale and noise are filled in by <see cref="Step"/>.</summary>
    protected abstract OptimizerStep Rule();

    /// <summary>Called at the start of every step, once <see cref="StepCount"/> has its number.</summary>
    protected virtual void BeginStep()
    {
    }

    /// <summary>The soft thresholds of the group with this index in the step before and in the step that has begun, for rules that have one.</summary>
    protected virtual (double Last, double Now) ThresholdsOf(int group) => default;

    private void UpdateReached(double gradientScale)
    {
        if (Clips(gradientScale))
        {
            FinishGradients();
        }

        List(repeated: false);
        if (count == 0)
        {
            return;
        }

        if (clip.IsNone && Clips(gradientScale))
        {
            clip = Tensor.AllocateUnscoped(device, new Shape(2));
        }

        Launch(gradientScale, DeviceBuffer.None);
        ClearGradients();
    }

    /// <summary>Lists the tensors to update: those with a gradient, or, of a step that is repeated, those that it updates.</summary>
    private void List(bool repeated)
    {
        count = 0;
        for (int g = 0; g < Groups.Count; g++)
        {
            ParameterGroup group = Groups[g];
            (double last, double threshold) = ThresholdsOf(g);
            for (int i = 0; i < group.Parameters.Count; i++)
            {
                Parameter parameter = group.Parameters[i];
                if (!parameter.IsRemoved && (repeated ? IsRepeated(parameter, count) : parameter.HasGradient))
                {
                    if (count == tensors.Length)
                    {
                        Array.Resize(ref tensors, count * 2);
                        Array.Resize(ref updated, count * 2);
                    }

                    Moments? state = StateOf(parameter);
                    updated[count] = parameter;
                    tensors[count++] = Describe(parameter, group, state, (float)last, (float)threshold);
                    if (state is not null)
                    {
                        state.Threshold = (float)threshold;
                    }
                }
            }
        }
    }

    /// <summary>Adds up gradients that are in parts: who reads them twice reads less this way.</summary>
    private void FinishGradients()
    {
        for (int g = 0; g < Groups.Count; g++)
        {
            for (int i = 0; i < Groups[g].Parameters.Count; i++)
            {
                Parameter parameter = Groups[g].Parameters[i];
                if (!parameter.IsRemoved && parameter.HasGradient)
                {
                    parameter.FinishGradient();
                }
            }
        }
    }

    private bool Clips(double gradientScale) => MaximumGradientNorm is not null || gradientScale != 1;

    private void Launch(double gradientScale, DeviceBuffer scalars)
    {
        ReadOnlySpan<OptimizerTensor> list = tensors.AsSpan(0, count);
        if (Clips(gradientScale))
        {
            device.Optimizer.ClipScale(list, (float)gradientScale, (float)(MaximumGradientNorm ?? double.PositiveInfinity), clip.Buffer);
        }

        device.Optimizer.Update(Current(gradientScale) with { Scalars = scalars }, list);
        for (int i = 0; i < count; i++)
        {
            updated[i].ValueUpdatedWithCopy();
        }
    }

    private OptimizerStep Current(double gradientScale) => Rule() with
    {
        Step = StepCount,
        GradientScale = Clips(gradientScale) ? clip.Buffer : DeviceBuffer.None,
        NoiseSeed = NoiseSeed,
        NoiseStep = (ulong)(StepCount - 1),
    };

    private Moments? StateOf(Parameter parameter)
    {
        if (momentsPerParameter == 0)
        {
            return null;
        }

        if (!moments.TryGetValue(parameter, out Moments? state))
        {
            state = new Moments { First = ZeroState(parameter), Second = momentsPerParameter > 1 ? ZeroState(parameter) : default, Threshold = 0 };
            moments[parameter] = state;
        }

        return state;
    }

    private OptimizerTensor Describe(Parameter parameter, ParameterGroup group, Moments? state, float lastThreshold, float threshold)
    {
        // A parameter may have missed steps, so that its last one is not the group's; what came from a checkpoint has none of its own.
        lastThreshold = state?.Threshold ?? lastThreshold;
        bool vector = parameter.Shape.Rank == 1;
        DeviceBuffer live = group.NoiseOnLiveOnly && parameter.RowActivity is { } activity ? activity.LiveFlags : DeviceBuffer.None;
        DeviceBuffer originalRows = parameter.OriginalRows?.On(device) ?? DeviceBuffer.None;
        DeviceBuffer originalColumns = parameter.OriginalColumns?.On(device) ?? DeviceBuffer.None;
        return new OptimizerTensor(
            parameter.Value.Buffer, parameter.GradientStorage, state is null ? DeviceBuffer.None : state.First.Buffer,
            state is null || state.Second.IsNone ? DeviceBuffer.None : state.Second.Buffer, vector ? 1 : parameter.Rows, parameter.Taps,
            vector ? parameter.Rows : parameter.Columns, (float)group.LearningRate, (float)group.WeightDecay, (float)group.L1, (float)group.L2,
            (float)group.NoiseStandardDeviation, parameter.TensorId, live, vector ? DeviceBuffer.None : originalRows, vector ? originalRows : originalColumns,
            (float)group.NoiseGradientThreshold, vector, threshold, lastThreshold, parameter.ReducedForUpdate, parameter.GradientParts,
            parameter.GradientParts > 1 ? parameter.Shape.StorageCount : 0);
    }

    private Tensor ZeroState(Parameter parameter)
    {
        Tensor tensor = Tensor.AllocateUnscoped(device, parameter.Shape);
        device.Clear(tensor.Buffer);
        return tensor;
    }

    private sealed class Moments
    {
        public Tensor First;
        public Tensor Second;
        public float? Threshold;
    }
}
