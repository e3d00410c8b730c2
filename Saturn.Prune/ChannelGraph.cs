using Saturn.Engine;
using Saturn.Engine.Autograd;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers;

namespace Saturn.Prune;

/// <summary>
/// Who produces and who reads the channels of every unit group, found by tracing one forward pass on the tape; layer names play no part. Where the graph does not
/// know what a removal would do, it pins the channels, so that an unknown operation costs sparsity and never correctness.
/// </summary>
public sealed class ChannelGraph
{
    private readonly List<UnitGroup> groups = [];
    private readonly List<LayerCost> layers = [];
    private readonly Dictionary<Parameter, LayerCost> layerOf = [];
    private readonly Dictionary<long, ChannelFlow> flows = [];
    private readonly Dictionary<long, int> timesRead = [];
    private readonly Dictionary<Parameter, int> timesUsed = [];
    private long inputId;

    private ChannelGraph()
    {
    }

    /// <summary>The unit groups, in the order in which the forward pass reaches them.</summary>
    public IReadOnlyList<UnitGroup> Groups => groups;

    /// <summary>The convolutions and linear layers with their arithmetic, in the order of the forward pass.</summary>
    public IReadOnlyList<LayerCost> Layers => layers;

    /// <summary>The layer that a weight belongs to, or null.</summary>
    public LayerCost? LayerOf(Parameter weight) => layerOf.GetValueOrDefault(weight);

    /// <summary>
    /// Traces a model in evaluation mode on one blank image, and links every producer to its group's activity record, by which the noise is masked. Modes and activity
    /// records stay as they are.
    /// </summary>
    /// <param name="model">The model.</param>
    /// <param name="inputShape">The shape of a batch; the batch extent is not used.</param>
    /// <exception cref="InvalidOperationException">Nothing was recorded on the tape.</exception>
    public static ChannelGraph Trace(Module model, Shape inputShape)
    {
        ChannelGraph graph = new();
        ChannelActivity[] activities = [.. model.Activities];
        using EvaluationMode evaluation = new(model);
        using TensorScope scope = new();
        int first = Tape.Current.Count;
        SetPaused(activities, true);
        try
        {
            // The input asks for a gradient, so that whatever is computed from it stands on the tape, even before the first parameter.
            Tensor input = Tensor.Zeros(model.Device, inputShape.With(0, 1)).RequireGradient();
            graph.inputId = input.Id;
            model.Forward(input);
        }
        finally
        {
            SetPaused(activities, false);
        }

        if (Tape.Current.Count == first)
        {
            throw new InvalidOperationException("The forward pass recorded nothing, so there is no graph to trace: close the InferenceScope first.");
        }

        graph.VisitFrom(first);
        foreach (UnitGroup group in graph.groups)
        {
            foreach (Parameter producer in group.Producers)
            {
                producer.RowActivity = group.Activity;
            }
        }

        return graph;
    }

    private static void SetPaused(ChannelActivity[] activities, bool paused)
    {
        foreach (ChannelActivity activity in activities)
        {
            activity.IsPaused = paused;
        }
    }

    private void VisitFrom(int first)
    {
        Tape tape = Tape.Current;
        for (int i = first; i < tape.Count; i++)
        {
            CountUses(tape[i]);
        }

        for (int i = first; i < tape.Count; i++)
        {
            Visit(tape[i]);
        }

        for (int i = first; i < tape.Count; i++)
        {
            long id = tape[i].Output.Id;
            if (!timesRead.ContainsKey(id))
            {
                flows[id].Pin("it is an output of the network");
            }
        }

        foreach (UnitGroup group in groups)
        {
            PinIfShared(group);
        }
    }

    private void CountUses(Node node)
    {
        for (int i = 0; i < node.InputCount; i++)
        {
            TapeValue value = node.Input(i);
            timesRead[value.Id] = timesRead.GetValueOrDefault(value.Id) + 1;
            if (value.Parameter is { } parameter)
            {
                timesUsed[parameter] = timesUsed.GetValueOrDefault(parameter) + 1;
            }
        }
    }

    private bool IsShared(Parameter? parameter) => parameter is not null && timesUsed.GetValueOrDefault(parameter) > 1;

    private void PinIfShared(UnitGroup group)
    {
        Parameter? shared = group.Producers.FirstOrDefault(IsShared) ?? group.Readers.Select(reader => reader.Weight).FirstOrDefault(IsShared);
        if (shared is not null)
        {
            group.PinnedBecause ??= $"{shared.Name} is used more than once";
        }

        foreach (ShortcutEdge edge in group.Incoming)
        {
            if (IsShared(edge.Beta) || groups.SelectMany(other => other.Incoming).Count(other => other.Link == edge.Link) > 1)
            {
                edge.Source.PinnedBecause ??= $"a residual sum before {group.Name} reads it, which runs more than once";
                group.PinnedBecause ??= "the residual sum before it runs more than once";
            }
        }
    }

    private void Visit(Node node)
    {
        ChannelFlow output = new();
        switch (node)
        {
            case ConvolutionNode convolution:
                VisitConvolution(convolution, output);
                break;
            case BatchNormNode norm:
                VisitBatchNorm(norm, output);
                break;
            case ActivationNode { Activity: { } activity }:
                output.TakePreActivation(FlowOf(node, 0));
                output.Group = CreateGroup(activity, output);
                break;
            case ResidualAddNode sum:
                output.TakePreActivation(FlowOf(node, 0));
                AddShortcut(FlowOf(node, 1), sum.Shortcut, FlowOf(node, 0).Shift, output);
                output.Shift = FlowOf(node, 0).Shift;
                break;
            case BinaryNode { Kind: BinaryOperation.Add } when IsShift(node, out Parameter? shift):
                if (!IsMadeInForward(node.Input(0).Id))
                {
                    output.TakePreActivation(FlowOf(node, 0));
                }

                output.Producers.Add(shift);
                output.Shift = shift;
                break;
            case AttentionNode attention:
                FlowOf(node, 0).Pin("attention reads it");
                output.PinnedBecause = "attention produces it";

                // Two products without a weight; a network's inputs come one image at a time.
                layers.Add(new LayerCost($"attention{layers.Count(layer => layer.Parameters == 0)}", [], 0, 2 * attention.Shape.MultiplyAdds / attention.Shape.Batch));
                break;
            case PoolingNode or DropoutNode or ConversionNode:
                output = FlowOf(node, 0);
                break;
            case ReshapeNode when node.Input(0).Shape.Rank == 4 && node.Output.Shape.Rank == 2 && node.Input(0).Shape[0] == node.Output.Shape[0]:
                output = FlowOf(node, 0).Flattened(node.Input(0).Shape[1] * node.Input(0).Shape[2]);
                break;
            case ConcatenationNode:
                VisitConcatenation(node, output);
                break;
            default:
                for (int i = 0; i < node.InputCount; i++)
                {
                    FlowOf(node, i).Pin($"{node.GetType().Name} reads it, which the channel graph does not know");
                }

                output.PinnedBecause = $"{node.GetType().Name} produces it, which the channel graph does not know";
                break;
        }

        if (!output.IsUnits && timesRead.GetValueOrDefault(node.Output.Id) > 1)
        {
            output.PinnedBecause ??= "several operations read it before its activation";
        }

        flows[node.Output.Id] = output;
    }

    private static bool IsShift(Node node, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Parameter? shift)
    {
        shift = node.Input(1).Parameter;
        return shift is not null && shift.Shape.Rank == 1 && shift.Rows == node.Output.Shape.Channels && node.Input(0).Shape.Channels == shift.Rows;
    }

    /// <summary>Whether a value is a constant that the forward pass made, in the width it needed, as a block does whose branch is gone.</summary>
    private bool IsMadeInForward(long id) => !flows.ContainsKey(id) && id > inputId;

    private void VisitConvolution(ConvolutionNode node, ChannelFlow output)
    {
        Parameter? weight = node.Input(1).Parameter;
        Parameter? bias = node.InputCount > 2 ? node.Input(2).Parameter : null;
        ChannelFlow input = FlowOf(node, 0);
        ConvolutionShape shape = node.Shape;
        if (weight is null || (node.InputCount > 2 && bias is null))
        {
            input.Pin("it is read by a convolution whose weight is no parameter");
            output.PinnedBecause = "it comes from a convolution whose weight is no parameter";
            return;
        }

        layers.Add(layerOf[weight] = new LayerCost(
            weight.Name.EndsWith(".weight", StringComparison.Ordinal) ? weight.Name[..^7] : weight.Name, weight.Shape.ToArray(), weight.Shape.ElementCount,
            2 * shape.MultiplyAdds / node.Input(0).Shape[0]));
        if (shape.Groups > 1)
        {
            input.Pin($"{weight.Name} convolves it in {shape.Groups} groups");
            output.PinnedBecause = $"{weight.Name} convolves in {shape.Groups} groups";
        }

        output.Producers.Add(weight);
        if (bias is not null)
        {
            output.Producers.Add(bias);
            output.Shift = bias;
        }

        foreach (ChannelSegment segment in input.Segments())
        {
            Reader reader = new(weight, bias, input.Positions, segment.Offset, input.Channels(segment));
            segment.Group.ReaderList.Add(reader);
            output.Readers.Add(reader);
        }
    }

    private void VisitBatchNorm(BatchNormNode node, ChannelFlow output)
    {
        output.TakePreActivation(FlowOf(node, 0));
        var (gamma, beta, runningMean, runningVariance) = node.Parameters;
        foreach (Parameter? parameter in (Parameter?[])[gamma, beta, runningMean, runningVariance])
        {
            if (parameter is not null)
            {
                output.Producers.Add(parameter);
            }
        }

        output.Shift = beta;
        foreach (Reader reader in FlowOf(node, 0).Readers)
        {
            reader.RunningMean = runningMean;
        }

        if (node.ResidualInput >= 0)
        {
            AddShortcut(FlowOf(node, node.ResidualInput), node.Shortcut, beta, output);
        }

        if (node.Activity is not null)
        {
            output.Group = CreateGroup(node.Activity, output);
        }
        else if (node.Activation.Kind != ActivationKind.Identity)
        {
            output.Shift = null;
        }
    }

    private static void AddShortcut(ChannelFlow source, Shortcut? link, Parameter? beta, ChannelFlow output)
    {
        if (source.Group is { } group)
        {
            if (link is null || source.Positions != 1)
            {
                group.PinnedBecause ??= "a sum reads it without a shortcut object, so its channels cannot be renumbered";
                output.PinnedBecause ??= "a sum without a shortcut object produces it";
                return;
            }

            output.Shortcuts.Add(new ShortcutEdge(link, group, beta));
            return;
        }

        if (source.Concatenated is not null)
        {
            source.Pin("a sum reads a concatenation");
            output.PinnedBecause ??= "a sum reads a concatenation";
            return;
        }

        if (link?.Map is not null)
        {
            output.PinnedBecause ??= "its sum reads channels that are no units through a map";
        }

        output.TakePreActivation(source);
    }

    private void VisitConcatenation(Node node, ChannelFlow output)
    {
        output.Concatenated = [];
        int offset = 0;
        for (int i = 0; i < node.InputCount; i++)
        {
            ChannelFlow part = FlowOf(node, i);
            if (part.Group is { } group && part.Positions == 1)
            {
                output.Concatenated.Add(new ChannelSegment(group, offset));
            }
            else
            {
                part.Pin("a concatenation reads it flattened or concatenated already");
            }

            offset += node.Input(i).Shape.Channels;
        }

        output.Width = offset;
    }

    private UnitGroup CreateGroup(ChannelActivity activity, ChannelFlow flow)
    {
        UnitGroup? group = groups.Find(known => known.Activity == activity);
        if (group is null)
        {
            groups.Add(group = new UnitGroup(activity));
            group.ProducerList.AddRange(flow.Producers);
        }
        else
        {
            group.PinnedBecause ??= "its activation runs more than once";
        }

        group.PinnedBecause ??= flow.PinnedBecause
            ?? (flow.Producers.Find(producer => producer.Rows != activity.Channels) is { } other ? $"{other.Name} produces {other.Rows} channels of it" : null);
        foreach (ShortcutEdge edge in flow.Shortcuts)
        {
            edge.Target = group;
            edge.Source.OutgoingList.Add(edge);
            group.IncomingList.Add(edge);
        }

        return group;
    }

    private ChannelFlow FlowOf(Node node, int input)
    {
        long id = node.Input(input).Id;
        if (!flows.TryGetValue(id, out ChannelFlow? flow))
        {
            flows[id] = flow = new ChannelFlow { PinnedBecause = "it holds the network's input or a constant, whose channels are fixed" };
        }

        return flow;
    }
}

/// <summary>One convolution or linear layer.</summary>
/// <param name="Name">The layer's name.</param>
/// <param name="WeightShape">[out, kernelHeight, kernelWidth, in] or [out, in].</param>
/// <param name="Parameters">Weights, without the bias.</param>
/// <param name="Flops">Forward floating-point operations an image, two a multiply-add.</param>
public sealed record LayerCost(string Name, int[] WeightShape, long Parameters, long Flops);
